"""The app that closes trades and compares the engines."""

from importlib import import_module

from django.apps import AppConfig


class OutcomesConfig(AppConfig):
    name = "outcomes"
    verbose_name = "Outcomes"

    def ready(self) -> None:
        import_module("outcomes.settlement")  # offers the ways to settle incidents about exits
