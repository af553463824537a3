"""Policy revisions: the one place where the settings that operators edit are changed, each change one numbered row."""

import time
from collections.abc import Mapping
from typing import Any

from constance import settings as constance_settings
from constance.codecs import dumps
from constance.models import Constance
from django.conf import settings
from django.db import connection

from config.fault_points import Commit
from config.faults import committed
from config.panel import CONSTANCE_KEYS
from orchestrator.domain.operator_settings import read_settings
from orchestrator.models import PolicyRevision

# "policy" as a number. A save holds this advisory lock exclusively, the arming of permits holds it shared: after a halt
# has been saved no permit can be armed any more.
#
# It comes last: who holds it waits for no other lock. The arming of permits passes over rows that are locked; a halt that
# follows from a fact (``halt_trading``) is saved when the locks of its experiments are held already. So nobody waits in
# a circle.
POLICY_LOCK = 0x706F6C696379

# A worker begins to send an order within SEND_WITHIN_SECONDS of arming it, by its own clock from before the arming, or not
# at all; until SEND_WITHIN_SECONDS + LEAVING_MARGIN_SECONDS after it, by the clock of the database, a halt waits for it.
SEND_WITHIN_SECONDS = 2.0
LEAVING_MARGIN_SECONDS = 0.5
LOOK_AGAIN_SECONDS = 0.05
# a process that stops with this lock in its hands loses its connection, and the lock with it
HELD_AT_MOST = "5s"

BY_DEFAULTS = "defaults"
BY_ENVIRONMENT = "environment"
BY_ITSELF = "orchestrator"


class ChangedMeanwhile(Exception):
    """Somebody else saved other settings since these were shown; look at them before saving."""


def current_revision() -> PolicyRevision:
    """Return the newest revision, which is the one that the next decisions use (requirement 12.2).

    Number 1 is made from the defaults; when APP_MODE is another than that of the newest revision, a new one says so.
    """
    newest = _newest()
    if newest is not None and newest.app_mode == settings.APP_MODE:
        return newest
    with committed(Commit.FIRST_REVISION):
        _lock()
        return _settled()


def record_revision(
    changes: Mapping[str, Any], *, changed_by: str, seen: Mapping[str, Any] | None = None
) -> PolicyRevision | None:
    """Apply ``changes`` (panel keys with their values) as one revision; None when they change nothing.

    After the commit of a halt no order leaves any worker: nothing is armed any more, and this waits, 2.5 seconds at most,
    until no order that was armed before can still begin to leave. Neither an engine nor a worker, slow, stopped, dead or
    cut off, can make it longer, because the worker judges by its own clock whether it may still send.

    :param changed_by: who asked: a user's name, or ``cli``.
    :param seen: the values of all keys that the author looked at, or None to change them whatever they are.
    :raises SenselessSetting: when a key or a value is refused; nothing is changed then.
    :raises ChangedMeanwhile: when the values are no longer those that the author saw.
    """
    wanted = read_settings(changes)
    with committed(Commit.SAVE_REVISION):
        _lock()
        revision = _settled()
        before = settings_of(revision)
        if seen is not None and dict(seen) != before:
            raise ChangedMeanwhile(
                "The settings have been changed by someone else since this page was shown; nothing was saved. "
                "Reload the page and look at the new values first."
            )
        after = read_settings({**before, **wanted})
        if after == before:
            return None
        if after["TRADING_HALTED"] and not before["TRADING_HALTED"]:
            _wait_for_orders_that_may_leave()
        return _write(after, number=revision.number + 1, changed_by=changed_by)


def halt_trading() -> None:
    """Halt because of a fact that only an operator can judge; who saves the panel without the halt lifts it.

    In the transaction that records the fact, and after all its other locks.
    """
    record_revision({"TRADING_HALTED": True}, changed_by=BY_ITSELF)


def settings_of(revision: PolicyRevision) -> dict[str, Any]:
    """Return the values of all panel keys in ``revision``."""
    return {key: getattr(revision, key.lower()) for key in CONSTANCE_KEYS}


def _newest() -> PolicyRevision | None:
    return PolicyRevision.objects.order_by("-number").first()


def _lock() -> None:
    """Wait for other savers and for permits that are just being armed; released by the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s), set_config('idle_in_transaction_session_timeout', %s, TRUE)",
            [POLICY_LOCK, HELD_AT_MOST],
        )


def _wait_for_orders_that_may_leave() -> None:
    """Wait until what was armed is answered, or too old to be sent; the lock is held, so that nothing is added."""
    give_up = time.monotonic() + SEND_WITHIN_SECONDS + LEAVING_MARGIN_SECONDS
    with connection.cursor() as cursor:
        while (left := give_up - time.monotonic()) > 0:
            cursor.execute(
                """
                SELECT EXTRACT(EPOCH FROM max(may_send_until) - clock_timestamp())::float
                  FROM execution_permits WHERE may_send_until > clock_timestamp()
                """
            )
            (seconds,) = cursor.fetchone()
            if seconds is None:
                return
            time.sleep(max(0.0, min(seconds, left, LOOK_AGAIN_SECONDS)))


def _settled() -> PolicyRevision:
    """Return the newest revision, made first where none is or where it names another APP_MODE; the lock is held."""
    newest = _newest()
    if newest is None:
        defaults = {key: options[0] for key, options in CONSTANCE_KEYS.items()}
        return _write(defaults, number=1, changed_by=BY_DEFAULTS)
    if newest.app_mode != settings.APP_MODE:
        return _write(settings_of(newest), number=newest.number + 1, changed_by=BY_ENVIRONMENT)
    return newest


def _write(values: Mapping[str, Any], *, number: int, changed_by: str) -> PolicyRevision:
    """Write the revision and the rows that constance shows, in the transaction that holds the lock."""
    Constance.objects.bulk_create(
        [
            Constance(key=f"{constance_settings.DATABASE_PREFIX}{key}", value=dumps(value))
            for key, value in values.items()
        ],
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=["value"],
    )
    return PolicyRevision.objects.create(
        number=number,
        app_mode=settings.APP_MODE,
        changed_by=changed_by,
        **{key.lower(): value for key, value in values.items()},
    )
