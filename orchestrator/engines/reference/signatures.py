"""Standard Webhooks signatures, both ways, by the library of that name. The first secret signs, every one verifies."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from standardwebhooks import Webhook, WebhookVerificationError


class BadSignature(Exception):
    """A request that is not signed with one of the secrets, or not now."""


def verify_request(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> None:
    """Check the signature of a request; a GET is signed over an empty body.

    :raises BadSignature: saying what is wrong with it.
    """
    problem = "there is no secret to check it with"
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError as error:
            problem = str(error)
        except ValueError:  # headers or a body that the library cannot take apart
            problem = "the signature cannot be read"
        else:
            return
    raise BadSignature(problem)


def signed_headers(secret: str, *, message_id: str, body: str, at: datetime) -> dict[str, str]:
    """Return the headers of a signed JSON message. ``at`` is the time of sending, not older than five minutes there."""
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }
