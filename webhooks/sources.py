"""Who may send alerts: making sources, and finding the one that a token opens, also while the database is away.

Every web process keeps the sources that it has seen, so that an alert costs no look of its own. What it kept is never the
last word: the statement that stores an alert compares the source's version (a hash of its row) with the row itself, so a source
that was disabled or changed is noticed at once. Only while the database is away is what was kept believed alone, and no
longer than ``TRUSTED_SECONDS``.
"""

import hmac
import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from webhooks.alerts.body_secrets import LONGEST, SHORTEST
from webhooks.canonical import sha256_hex
from webhooks.lines import Cursor
from webhooks.models import AlertSource

TRUSTED_SECONDS = 3_600.0
KEPT_IN = "sources.json"
# What counts requests says nothing about who may send.
_COUNTERS = ("minute_started_at", "minute_requests", "refused_requests", "last_refused_at", "last_refusal")
VERSION = f"md5((to_jsonb(s) - '{{{','.join(_COUNTERS)}}}'::text[])::text)"
# The token of a source, or the one before it for as long as that is to work.
_OPENS = "(token_sha256 = %s OR (previous_token_sha256 = %s AND previous_token_until > statement_timestamp()))"
_BODY_SECRET = re.compile(rf"[A-Za-z0-9_~.\-]{{{SHORTEST},{LONGEST}}}")
_TOKEN = re.compile(r"[A-Za-z0-9_~.\-]{8,200}")

log = structlog.get_logger(__name__)


class UnusableToken(ValueError):
    """A webhook token that cannot stand in an address, or is too short to be a secret."""


class UnusableSecret(ValueError):
    """A secret that cannot stand in the body of an alert, or is too short to be one."""


class SourceExists(ValueError):
    """There is a source with this name or this token already."""


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A source as it was read, and the version by which the database recognises that it still is so.

    ``confirmed_at`` is by ``time.time()``, for it outlives the process.
    """

    source: AlertSource
    version: str
    row: Mapping[str, Any]
    confirmed_at: float

    @property
    def is_trusted(self) -> bool:
        """Whether it may be believed without asking the database, which is away."""
        return abs(time.time() - self.confirmed_at) < TRUSTED_SECONDS

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes of the tokens that open it, or did until lately."""
        return tuple(hashed for hashed in (self.source.token_sha256, self.source.previous_token_sha256) if hashed)

    def opens(self, hashed: str, *, at: datetime) -> bool:
        """Tell whether the token of this hash opens it ``at`` that time."""
        if hmac.compare_digest(hashed, self.source.token_sha256):
            return True
        until = self.source.previous_token_until
        return hashed == self.source.previous_token_sha256 and until is not None and at < until


def new_token() -> str:
    """Return a new webhook token, 43 characters that can stand in an address."""
    return token_urlsafe(32)


def create_source(name: str, token: str, **defaults: Any) -> AlertSource:
    """Create a source; of its token only the hash is kept.

    :raises UnusableToken: when the token is not 8 to 200 letters, digits or any of ``-._~``.
    :raises SourceExists: when the name or the token is taken.
    :raises django.core.exceptions.ValidationError: when a default makes no sense.
    """
    source = AlertSource(name=name, token_sha256=hash_of_token(token), **defaults)
    source.clean_fields()
    source.clean()
    try:
        with transaction.atomic():
            source.save(force_insert=True)
    except IntegrityError as error:
        raise SourceExists(f"There is a source with the name {name!r} or with this token already.") from error
    return source


def replace_token(source: AlertSource, token: str, *, old_works_for: timedelta = timedelta(0)) -> None:
    """Give a source a new token; the old one works for as long as told, and one before that no longer.

    :raises UnusableToken: as ``create_source``.
    """
    hashed = hash_of_token(token)
    keeps_old = old_works_for > timedelta(0)
    source.previous_token_sha256 = source.token_sha256 if keeps_old else None
    source.previous_token_until = timezone.now() + old_works_for if keeps_old else None
    source.token_sha256 = hashed
    source.save(update_fields=["token_sha256", "previous_token_sha256", "previous_token_until"])


def set_body_secret(source: AlertSource, secret: str, *, save: bool = True) -> None:
    """Ask for a secret in every body of a source from now on, or with an empty one for none; only its hash is kept.

    :raises UnusableSecret: when it is not 16 to 200 characters of those that text alerts can carry as one word.
    """
    if secret and not _BODY_SECRET.fullmatch(secret):
        raise UnusableSecret(
            f"A secret in the body has {SHORTEST} to {LONGEST} letters, digits or any of - . _ ~ (it is one word of the alert)."
        )
    source.body_secret_sha256 = sha256_hex(secret) if secret else ""
    if save:
        source.save(update_fields=["body_secret_sha256"])


def hash_of_token(token: str) -> str:
    """Return what is kept of a token.

    :raises UnusableToken: when it is not 8 to 200 letters, digits or any of ``-._~``.
    """
    if not _TOKEN.fullmatch(token):
        raise UnusableToken("A webhook token is 8 to 200 letters, digits or any of - . _ ~ (it stands in an address).")
    return sha256_hex(token)


def find_source(token: str) -> AlertSource | None:
    """Return the enabled source that a token belongs to, as the database says."""
    try:
        hashed = hash_of_token(token)
    except UnusableToken:
        return None
    opens = Q(token_sha256=hashed) | Q(previous_token_sha256=hashed, previous_token_until__gt=Now())
    return AlertSource.objects.filter(opens, enabled=True).first()


def read_source(cursor: Cursor, hashed: str) -> KnownSource | None:
    """Return the enabled source that the hash of a token belongs to, as the database says."""
    cursor.execute(
        f"SELECT to_jsonb(s)::text, {VERSION} FROM alert_sources AS s WHERE {_OPENS} AND enabled",  # noqa: S608
        [hashed, hashed],
    )
    row = cursor.fetchone()
    return _known(json.loads(row[0]), row[1], at=time.time()) if row else None


def read_all_sources(cursor: Cursor) -> list[KnownSource]:
    """Return all enabled sources."""
    cursor.execute(f"SELECT to_jsonb(s)::text, {VERSION} FROM alert_sources AS s WHERE enabled")  # noqa: S608
    now = time.time()
    return [_known(json.loads(text), version, at=now) for text, version in cursor.fetchall()]


class KnownSources:
    """The sources that this process has seen, by the hash of their token; a file keeps them across a restart."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_token: dict[str, KnownSource] = {}

    def get(self, hashed: str) -> KnownSource | None:
        """Return what is known; whoever stores an alert on its word has the database compare its version."""
        known = self._by_token.get(hashed)
        return known if known and known.opens(hashed, at=timezone.now()) else None

    def get_kept(self, hashed: str, *, folder: Path) -> KnownSource | None:
        """Return what the file knows, for a process that has started while the database was away."""
        with self._lock:
            for known in _read_kept(folder):
                for each in known.hashes:
                    self._by_token.setdefault(each, known)
        return self.get(hashed)

    def add(self, known: KnownSource) -> None:
        """Keep a source that the database has just named."""
        with self._lock:
            self._by_token |= dict.fromkeys(known.hashes, known)

    def forget(self, known: KnownSource) -> None:
        """Ask the database again next time."""
        with self._lock:
            for hashed in known.hashes:
                self._by_token.pop(hashed, None)

    def replace(self, every: Sequence[KnownSource], *, folder: Path) -> None:
        """Keep exactly these, here and in the file: hashes and rules, no token."""
        with self._lock:
            self._by_token = {hashed: known for known in every for hashed in known.hashes}
        kept = [[dict(known.row), known.version, known.confirmed_at] for known in every]
        fresh = folder / f"{KEPT_IN}.{os.getpid()}"
        with suppress(OSError):  # without the file, a restart during an outage cannot tell who is who, and says 503
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps(kept))
            fresh.replace(folder / KEPT_IN)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._by_token = {}


def _read_kept(folder: Path) -> list[KnownSource]:
    try:
        return [_known(row, version, at=at) for row, version, at in json.loads((folder / KEPT_IN).read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _known(row: dict[str, Any], version: str, *, at: float) -> KnownSource:
    fields = {field.attname: field for field in AlertSource._meta.concrete_fields}  # noqa: SLF001
    values = {name: fields[name].to_python(value) for name, value in row.items() if name in fields}
    return KnownSource(source=AlertSource(**values), version=version, row=row, confirmed_at=at)


known_sources = KnownSources()
