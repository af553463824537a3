"""Registers the intake with Django."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """The intake: alerts in, one signal each."""

    name = "webhooks"
    verbose_name = "Intake"
