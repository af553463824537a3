"""Trying a message for a source: what would be read of it, and sending it as a test alert, past the network but nothing else."""

import time

from django.utils import timezone

from webhooks.alerts.linting import Lint, lint
from webhooks.models import AlertSource
from webhooks.services import DATABASE_SECONDS, Delivery, Outcome, receive_as, rules_of

NO_TOKEN = "a-token-that-nobody-has"  # noqa: S105 - there is none in the body to redact


def lint_for(source: AlertSource, text: str) -> Lint:
    """Return what this source would make of a message template or a body, received now."""
    return lint(text, rules=rules_of(source), received_at=timezone.now())


def send_test_alert(source: AlertSource, body: str) -> Outcome:
    """Send a body as if it had come to the source's address: it becomes a signal like any other, or a rejected alert.

    :raises psycopg.Error: when the database does not take it and the spool cannot keep it.
    """
    delivery = Delivery(raw=body.encode(), token=NO_TOKEN, content_type="text/plain", sent_from="the admin")
    return receive_as(source, delivery, until=time.monotonic() + DATABASE_SECONDS)
