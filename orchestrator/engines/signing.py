"""Signatures after the Standard Webhooks specification, for what we send and for what we receive."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class BadSignature(ValueError):
    """The message was not signed with a secret that we know, or too long ago."""


def sign(secret: str, *, message_id: str, body: str, at: datetime) -> dict[str, str]:
    """Return the three webhook headers; a GET is signed over an empty body."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at.astimezone(UTC), body),
    }


def verify(secrets: Sequence[str], *, headers: Mapping[str, str], body: bytes) -> None:
    """Check a message against each of ``secrets`` (two while one is being rotated); five minutes of age are allowed.

    :raises BadSignature: saying what is wrong, never what would be right.
    """
    problem = "No secret is configured for this engine"
    found = {name: headers.get(name, "") for name in HEADERS}
    for secret in secrets:
        try:
            Webhook(secret).verify(body, found, json_parse=False)
        except WebhookVerificationError as error:
            problem = str(error)
        except UnicodeDecodeError:
            problem = "The body is not UTF-8 text"
        except ValueError:  # not base64, no version: the library lets these through
            problem = "The signature header cannot be read"
        else:
            return
    raise BadSignature(problem)
