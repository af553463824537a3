"""How operators are told of new incidents: read from the environment, off when unset."""

from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email
from environ import Env


def read_emails(env: Env, key: str) -> list[str]:
    """Read mail addresses, separated by commas.

    :raises ImproperlyConfigured: when one of them is none.
    """
    found = [address.strip() for address in env.list(key, default=[]) if address.strip()]
    for address in found:
        try:
            validate_email(address)
        except ValidationError:
            raise ImproperlyConfigured(
                f"{key} names {address[:60]!r}. Accepted: mail addresses, separated by commas."
            ) from None
    return found


def read_webhook_url(env: Env, key: str) -> str:
    """Read the address of a webhook, empty when unset; it may hold a token, so it is never repeated.

    :raises ImproperlyConfigured: when nothing can be posted there.
    """
    url = str(env.str(key, default="")).strip()
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not url.isascii() or any(character.isspace() for character in url):
        raise ImproperlyConfigured(f"{key} is not a usable address. Accepted: http://… or https://….")
    return url


def check_encryption(*, use_tls: bool, use_ssl: bool) -> None:
    """Refuse two kinds of encryption at once.

    :raises ImproperlyConfigured: when both are asked for.
    """
    if use_tls and use_ssl:
        raise ImproperlyConfigured(
            "EMAIL_USE_TLS and EMAIL_USE_SSL are both true. Accepted: one of them (TLS: STARTTLS, mostly port 587; SSL: "
            "from the first byte, mostly port 465)."
        )
