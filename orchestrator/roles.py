"""The three roles of the admin, kept as groups: who may look, who may settle, who may decide how is traded.

They are made again after every migrate, exactly as they stand here; other mixtures are groups of other names. A superuser
may do everything, and manages the users.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

VIEWER, OPERATOR, POLICY_MANAGER = "viewer", "operator", "policy manager"

APPS = ("webhooks", "orchestrator", "outcomes")

# Beyond looking, as app_label.codename. Whoever may change the panel may halt trading, and lift a halt.
MORE = {
    VIEWER: (),
    OPERATOR: (
        "orchestrator.settle_incident",
        "webhooks.add_alertsource",
        "webhooks.change_alertsource",
        "webhooks.read_again",
    ),
    POLICY_MANAGER: ("constance.change_config",),
}


def make_roles(**_signal: Any) -> None:
    """Make the groups, or bring them back to what they should be; called after the permissions have been made."""
    looking = Q(content_type__app_label__in=APPS, codename__startswith="view_")
    looking |= Q(content_type__app_label="constance", codename="view_config")
    for name, more in MORE.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.set(Permission.objects.filter(looking | _any_of(more)))


def _any_of(names: Iterable[str]) -> Q:
    found = Q(pk__in=[])
    for name in names:
        app, codename = name.split(".")
        found |= Q(content_type__app_label=app, codename=codename)
    return found
