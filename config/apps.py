"""The app that owns the set-up: quickstart, the embedded database's commands."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
    label = "config"
    verbose_name = "Set-up"
