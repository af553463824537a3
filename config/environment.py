"""What the environment may say, read once and refused with a sentence where it makes no sense."""

import os
import re
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from environ import Env

APP_MODES = ("PAPER", "LIVE")
LARGEST_SECONDS = 86_400
TOKEN = re.compile(r"[A-Za-z0-9_~.\-]*")
SECRET_KEY_SHORTEST = 50
SECRET_KEY_FEWEST_CHARACTERS = 5  # different ones; Django's own check asks for the same
SIGNING_SECRET_BYTES = range(24, 65)  # Standard Webhooks
PYTHON_URL_PARTS = 3
ENGINE_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")


class PlainEnv(Env):  # type: ignore[misc]  # environ has no types
    """The environment, taken at its word: a password that begins with a dollar sign is no reference to another variable."""

    def str(self, var: Any, default: Any = Env.NOTSET, multiline: Any = False) -> Any:
        """Return the value of ``var`` to the letter, or ``default``."""
        if var not in self.ENVIRON and default is Env.NOTSET:
            raise ImproperlyConfigured(f"{var} is not set.")
        return self.ENVIRON.get(var, default)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How one engine is reached and what it is configured to be able to do.

    ``url`` is ``http(s)://…``, ``python:package.module:factory`` or empty (the engine is then unavailable);
    ``secrets`` are Standard Webhooks secrets, the first signs, all of them verify; ``timeout_seconds`` bounds one whole
    call; ``concurrency`` is the number of calls in flight per worker.
    """

    name: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    timeout_seconds: float
    concurrency: int
    idempotent: bool
    queryable: bool
    honours_not_after: bool


def read_engine(env: Env, name: str, *, app_mode: str = "PAPER", allowed_hosts: tuple[str, ...] = ()) -> EngineSettings:
    """Read the ``ENGINE_<name>_…`` settings.

    :param allowed_hosts: where an engine may be, as ``read_engine_hosts`` returns them; none: anywhere.
    :raises ImproperlyConfigured: naming the setting, what was found and what is accepted.
    """
    prefix = f"ENGINE_{name}_"
    url = env.str(f"{prefix}URL", default="").strip().rstrip("/")
    secrets = tuple(env.str(f"{prefix}SECRET", default="").split())
    _check_url(f"{prefix}URL", url)
    _check_place(f"{prefix}URL", url, app_mode=app_mode, allowed_hosts=allowed_hosts)
    for secret in secrets:
        _check_secret(f"{prefix}SECRET", secret)
    if url.startswith("http") and not secrets:
        raise ImproperlyConfigured(
            f"{prefix}SECRET is not set, but {prefix}URL is: requests to an engine are signed. "
            "Accepted: whsec_ followed by base64 of 24 to 64 bytes."
        )
    return EngineSettings(
        name=name,
        url=url,
        secrets=secrets,
        timeout_seconds=read_seconds(env, f"{prefix}TIMEOUT_SECONDS", default=30 if name == "A" else 120),
        concurrency=read_int(env, f"{prefix}CONCURRENCY", default=16, lowest=1, highest=1000),
        idempotent=read_bool(env, f"{prefix}IDEMPOTENT"),
        queryable=read_bool(env, f"{prefix}QUERYABLE"),
        honours_not_after=read_bool(env, f"{prefix}HONOURS_NOT_AFTER"),
    )


def read_engine_hosts(env: Env) -> tuple[str, ...]:
    """Read ENGINE_ALLOWED_HOSTS: names or addresses, each alone or with its scheme (``https://engine.example.com``).

    :raises ImproperlyConfigured: when one of them is something else.
    """
    found = tuple(entry.strip().lower().rstrip("/") for entry in env.list("ENGINE_ALLOWED_HOSTS", default=[]))
    for entry in found:
        scheme, _, host = entry.rpartition("://")
        if scheme not in {"", "http", "https"} or not ENGINE_HOST.fullmatch(host):
            raise ImproperlyConfigured(
                f"ENGINE_ALLOWED_HOSTS names {entry!r}. Accepted: host names or addresses without a port, separated by "
                "commas, each alone or with http:// or https:// before it."
            )
    return tuple(entry.replace("[", "").replace("]", "") for entry in found)


def read_networks(env: Env, key: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read addresses and networks (``10.0.0.0/8``), separated by commas.

    :raises ImproperlyConfigured: when one of them is neither.
    """
    found = []
    for entry in env.list(key, default=[]):
        try:
            found.append(ip_network(entry.strip(), strict=False))
        except ValueError:
            raise ImproperlyConfigured(
                f"{key} names {entry!r}. Accepted: IP addresses or networks such as 10.0.0.0/8, separated by commas."
            ) from None
    return tuple(found)


def read_seconds(env: Env, key: str, *, default: float, highest: float = LARGEST_SECONDS) -> float:
    """Read a number of seconds, above 0 and at most ``highest``.

    :raises ImproperlyConfigured: when it is not such a number.
    """
    found = env.str(key, default=str(default))
    try:
        seconds = float(found)
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds <= highest:
        raise ImproperlyConfigured(f"{key} is {found!r}. Accepted: a number of seconds above 0, at most {highest:g}.")
    return seconds


def read_int(env: Env, key: str, *, default: int, lowest: int, highest: int) -> int:
    """Read a whole number between ``lowest`` and ``highest``.

    :raises ImproperlyConfigured: when it is not such a number.
    """
    found = env.str(key, default=str(default)).strip()
    if not (found.isascii() and found.isdigit() and lowest <= int(found) <= highest):
        raise ImproperlyConfigured(f"{key} is {found!r}. Accepted: a whole number from {lowest} to {highest}.")
    return int(found)


def read_number(env: Env, key: str, *, default: float, lowest: float, highest: float) -> float:
    """Read a number between ``lowest`` and ``highest``.

    :raises ImproperlyConfigured: when it is not such a number.
    """
    found = env.str(key, default=str(default))
    try:
        number = float(found)
    except ValueError:
        number = float("nan")
    if not lowest <= number <= highest:
        raise ImproperlyConfigured(f"{key} is {found!r}. Accepted: a number from {lowest:g} to {highest:g}.")
    return number


def read_bool(env: Env, key: str, *, default: bool = False) -> bool:
    """Read a yes or no; anything that is neither is refused, never read as no.

    :raises ImproperlyConfigured: when it is neither.
    """
    found = env.str(key, default=str(default)).strip().lower()
    if found in {"true", "1", "yes", "on"}:
        return True
    if found in {"false", "0", "no", "off", ""}:
        return False
    raise ImproperlyConfigured(f"{key} is {found!r}. Accepted: true or false.")


def read_choice(env: Env, key: str, *, choices: tuple[str, ...], default: str) -> str:
    """Read one of ``choices``.

    :raises ImproperlyConfigured: when it is none of them.
    """
    found = str(env.str(key, default=default))
    if found not in choices:
        raise ImproperlyConfigured(f"{key} is {found!r}. Accepted: {' or '.join(choices)}.")
    return found


def read_token(env: Env, key: str, *, shortest: int, longest: int) -> str:
    """Read a token that fits a URL and a header, empty when unset.

    :param shortest: characters; likewise ``longest``.
    :raises ImproperlyConfigured: when it has other characters or another length; its value is not repeated.
    """
    found = str(env.str(key, default="")).strip()
    if found and not (shortest <= len(found) <= longest and TOKEN.fullmatch(found)):
        raise ImproperlyConfigured(
            f"{key} cannot be used. Accepted: {shortest} to {longest} letters, digits, - _ . and ~."
        )
    return found


def read_secret_key(env: Env, *, app_mode: str, kept_in: Path) -> str:
    """Return SECRET_KEY; when unset, one made for this machine and kept in the file ``kept_in``, unless APP_MODE is LIVE.

    :raises ImproperlyConfigured: when real money would depend on a missing or weak key.
    """
    key = env.str("SECRET_KEY", default="")
    if app_mode == "LIVE" and (
        len(key) < SECRET_KEY_SHORTEST
        or len(set(key)) < SECRET_KEY_FEWEST_CHARACTERS
        or key.startswith("django-insecure-")
    ):
        raise ImproperlyConfigured(
            f"APP_MODE is LIVE and SECRET_KEY is {'too weak' if key else 'not set'}. Accepted: a random value of at "
            "least 50 characters that does not start with django-insecure-."
        )
    return key or _kept_secret(kept_in)


def _kept_secret(path: Path) -> str:
    """Return the secret in ``path``, made at first use; two processes that start at once agree on one."""
    made = token_urlsafe(64)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip() or made
    except OSError:  # a read-only installation: this process has a key of its own, sessions end with it
        return made
    with os.fdopen(descriptor, "w") as file:
        file.write(made)
    return made


def _check_url(key: str, url: str) -> None:
    if not url:
        return
    if url.startswith("python:"):
        if len(url.split(":")) == PYTHON_URL_PARTS and all(url.split(":")):
            return
        raise ImproperlyConfigured(f"{key} is {url!r}. Accepted after python: is package.module:factory.")
    try:
        parts = urlsplit(url)
        acceptable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        acceptable = False
    if not acceptable or parts.username or parts.query or parts.fragment:
        raise ImproperlyConfigured(
            f"{key} is not a usable address. Accepted: http://host:port, https://host/path "
            "(no user, query or fragment), or python:package.module:factory."
        )


def _check_place(key: str, url: str, *, app_mode: str, allowed_hosts: tuple[str, ...]) -> None:
    """Refuse an engine outside the allowed hosts, and with real money one that is reached over a readable wire.

    Orders are signed, not encrypted: over plain http anybody on the way reads them, and answers in the engine's place, since
    answers carry no signature. A loopback address has nobody on the way; other plain http must be allowed by name.
    """
    if not url.startswith("http"):
        return
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    named = f"{parts.scheme}://{host}" in allowed_hosts
    if allowed_hosts and not named and host not in allowed_hosts:
        raise ImproperlyConfigured(f"{key} leads to {host}, which ENGINE_ALLOWED_HOSTS does not name.")
    if app_mode == "LIVE" and parts.scheme == "http" and not _is_loopback(host) and not named:
        raise ImproperlyConfigured(
            f"APP_MODE is LIVE and {key} is plain http to {host}. Accepted: https, http to this machine itself, or "
            f"http://{host} named in ENGINE_ALLOWED_HOSTS (scheme included)."
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_secret(key: str, secret: str) -> None:
    try:
        raw = b64decode(secret.removeprefix("whsec_"), validate=True)
    except (Base64Error, ValueError):
        raw = b""
    if not secret.startswith("whsec_") or len(raw) not in SIGNING_SECRET_BYTES:
        raise ImproperlyConfigured(
            f"{key} is not a signing secret. Accepted: whsec_ followed by base64 of 24 to 64 bytes "
            "(two of them, separated by a space, while one is being rotated)."
        )
