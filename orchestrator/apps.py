"""The app that turns a signal into an experiment."""

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class OrchestratorConfig(AppConfig):
    name = "orchestrator"
    verbose_name = "Orchestrator"

    def ready(self) -> None:
        """Have the roles made after the last app, when the permissions of all are there."""
        from orchestrator.roles import make_roles  # noqa: PLC0415 - models can be imported only now

        post_migrate.connect(make_roles, sender=apps.get_app_config("constance"), dispatch_uid="roles")
