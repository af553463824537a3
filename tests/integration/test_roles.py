"""The roles of the admin: what each may see and do, and what it may not."""

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse

from orchestrator.models import MarketQuote, PolicyRevision
from orchestrator.revisions import current_revision
from orchestrator.roles import OPERATOR, POLICY_MANAGER, VIEWER, make_roles
from tests.factories import make_incident, make_source
from tests.integration.test_admin import INSPECTED, list_of, page_of, tell_whole_story

pytestmark = pytest.mark.django_db
ROLES = (VIEWER, OPERATOR, POLICY_MANAGER)
PANEL = "/admin/constance/config/"
SETTINGS = {
    "EXECUTION_MODE": "SHADOW_ONLY",
    "SPLIT_PERCENTAGE": "30",
    "MAX_SIGNAL_AGE_SECONDS": "300",
}


def signed_in(*roles: str) -> Client:
    user = User.objects.create_user("-".join(roles) or "nobody", password="x", is_staff=True)
    user.groups.set(Group.objects.filter(name__in=roles))
    client = Client()
    client.force_login(user)
    return client


def save_panel(client: Client) -> int:
    """Save the panel as its page is filled in, and return how many revisions that made."""
    current_revision()
    before = PolicyRevision.objects.count()
    page = client.get(PANEL)
    form = page.context["form"] if page.context and "form" in page.context else None
    values = {name: form[name].value() for name in form.fields if form[name].value() is not None} if form else {}
    client.post(PANEL, {**values, **SETTINGS})
    return PolicyRevision.objects.count() - before


def test_every_permission_that_a_role_names_exists() -> None:
    assert {permission.codename for permission in Group.objects.get(name=OPERATOR).permissions.all()} >= {
        "settle_incident",
        "add_alertsource",
        "change_alertsource",
        "view_realtradeoutcome",
        "view_config",
    }
    assert Group.objects.get(name=POLICY_MANAGER).permissions.filter(codename="change_config").exists()


def test_making_the_roles_again_changes_nothing_and_brings_back_what_was_taken() -> None:
    def now() -> dict[str, set[int]]:
        return {group.name: set(group.permissions.values_list("pk", flat=True)) for group in Group.objects.all()}

    before = now()
    assert set(before) == set(ROLES)
    make_roles()
    assert now() == before
    Group.objects.get(name=VIEWER).permissions.clear()
    Group.objects.get(name=OPERATOR).permissions.add(*Group.objects.get(name=POLICY_MANAGER).permissions.all())
    make_roles()
    assert now() == before


@pytest.mark.parametrize("role", ROLES)
def test_every_role_sees_every_record_and_no_user(role: str) -> None:
    experiment = tell_whole_story()
    client = signed_in(role)
    for path in (reverse("admin:index"), PANEL, *map(list_of, INSPECTED), page_of(experiment), page_of(make_source())):
        assert client.get(path).status_code == 200, path
    for path in ("/admin/auth/user/", "/admin/auth/user/add/", "/admin/auth/group/", "/admin/authtoken/tokenproxy/"):
        assert client.get(path).status_code in (403, 404), path


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_delete_anything_or_manage_users(role: str) -> None:
    names = set(Group.objects.get(name=role).permissions.values_list("codename", "content_type__app_label"))
    assert not [name for name, _ in names if name.startswith("delete_")]
    assert not {app for _, app in names} & {"auth", "authtoken", "sessions", "admin"}
    assert ContentType.objects.filter(app_label="auth").exists()


@pytest.mark.parametrize(("role", "revisions"), [(VIEWER, 0), (OPERATOR, 0), (POLICY_MANAGER, 1)])
def test_only_a_policy_manager_decides_how_is_traded(role: str, revisions: int) -> None:
    current_revision()
    client = signed_in(role)
    assert save_panel(client) == revisions
    assert (current_revision().execution_mode == "SHADOW_ONLY") == bool(revisions)


@pytest.mark.parametrize(("role", "may"), [(VIEWER, False), (OPERATOR, True), (POLICY_MANAGER, False)])
def test_only_an_operator_settles_incidents_and_manages_sources(role: str, may: bool) -> None:
    client = signed_in(role)
    user = User.objects.get()
    assert user.has_perm("orchestrator.settle_incident") == may
    assert (client.get("/admin/webhooks/alertsource/add/").status_code == 200) == may
    incident = make_incident(severity="LOW")
    assert client.get(page_of(incident)).status_code == 200


@pytest.mark.parametrize("role", ROLES)
def test_a_session_of_any_role_pushes_no_quotes(role: str) -> None:
    quote = {"symbol": "SPY", "quoted_at": "2026-03-02T14:30:00Z", "price": "589.12"}
    answer = signed_in(role).post("/api/v1/quotes/", quote, content_type="application/json")
    assert answer.status_code == 401
    assert not MarketQuote.objects.exists()


def test_two_roles_may_do_what_each_may() -> None:
    client = signed_in(OPERATOR, POLICY_MANAGER)
    assert save_panel(client) == 1
    assert User.objects.get().has_perm("orchestrator.settle_incident")


def test_staff_without_a_role_sees_nothing() -> None:
    client = signed_in()
    for path in (PANEL, *map(list_of, INSPECTED)):
        assert client.get(path).status_code == 403, path
