"""Every claim of work: SKIP LOCKED, oldest first, with a lease by the database clock and a fence that only grows.

A claim counts the attempt before the work, so that work which kills its worker is counted too. What is due again is
told by one column: a claim sets ``next_attempt_at`` to the end of its lease, so an expired lease is simply due.

Claims of signals and of calls do not wait for the disk: one that a crash of the database server forgets is claimed again,
and what it leads to has no effect outside. The arming of a permit does wait.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from config.fault_points import Commit
from config.faults import autocommitted, committed
from config.keys import new_key
from orchestrator.database_facts import check_database_before_arming
from orchestrator.domain.vocabulary import CallState, Engine, EventType, Verdict
from orchestrator.models import EngineCall, EngineEvent, ExecutionPermit
from orchestrator.revisions import HELD_AT_MOST, LEAVING_MARGIN_SECONDS, POLICY_LOCK, SEND_WITHIN_SECONDS
from webhooks.models import Signal

DEATHS_TOGETHER = 2
BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
MAY_SEND_SECONDS = SEND_WITHIN_SECONDS + LEAVING_MARGIN_SECONDS


def back_off(attempts: int) -> float:
    """Return the seconds to wait after the ``attempts``-th failure: doubling from half a second to half a minute."""
    return min(BACK_OFF_SECONDS * 2.0 ** min(attempts - 1, 10), LONGEST_BACK_OFF_SECONDS)


def claim_signals(*, limit: int, lease_seconds: float) -> list[Signal]:
    """Take up to ``limit`` signals that nobody holds, oldest first, and after them one that is doubtful.

    Each comes back with its lock, its counted attempt and ``is_doubtful``. What a worker had in hand when it died is taken
    over with the new ones, once. What failed before, or was in hand when two workers died, may be why: it is claimed by
    ones, for with others it would use up their attempts as well. Served by the partial index over unprocessed signals.
    """
    with autocommitted(Commit.CLAIM_SIGNALS):
        claimed = Signal.objects.raw(
            """
            WITH due AS MATERIALIZED (
                   SELECT signal_id FROM signals
                    WHERE NOT processed AND parked_at IS NULL
                      AND (attempts = 0 OR (%(at_once)s AND attempts = 1 AND processing_lock IS NOT NULL))
                      AND (next_attempt_at IS NULL OR next_attempt_at <= clock_timestamp())
                      AND (lock_expires_at IS NULL OR lock_expires_at <= clock_timestamp())
                    ORDER BY received_at, signal_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
                 again AS MATERIALIZED (
                   SELECT signal_id FROM signals
                    WHERE NOT processed AND parked_at IS NULL
                      AND (attempts > 1 OR (attempts = 1 AND (processing_lock IS NULL OR NOT %(at_once)s)))
                      AND (next_attempt_at IS NULL OR next_attempt_at <= clock_timestamp())
                      AND (lock_expires_at IS NULL OR lock_expires_at <= clock_timestamp())
                    ORDER BY received_at, signal_id LIMIT 1 FOR UPDATE SKIP LOCKED)
            UPDATE signals SET processing_lock = %(lock)s, attempts = attempts + 1,
                   lock_expires_at = clock_timestamp() + make_interval(secs => %(lease)s)
              FROM (SELECT signal_id, FALSE AS is_doubtful FROM due
                    UNION ALL SELECT signal_id, TRUE FROM again) AS mine
             WHERE signals.signal_id = mine.signal_id
               AND (SELECT set_config('synchronous_commit', 'off', TRUE)) IS NOT NULL
            RETURNING signals.*, mine.is_doubtful
            """,
            {"lock": new_key(), "lease": lease_seconds, "limit": limit, "at_once": _may_die_twice()},
        )
        return sorted(claimed, key=lambda signal: (is_doubtful(signal), signal.received_at, signal.signal_id))


def is_doubtful(signal: Signal) -> bool:
    """Tell whether a claimed signal failed before, or was in hand when two workers died; the claim says so."""
    return bool(getattr(signal, "is_doubtful", signal.attempts > 1))


def _may_die_twice() -> bool:
    """Tell whether work has attempts left, alone, after two deaths that it may have had no part in."""
    return bool(settings.MAX_SIGNAL_ATTEMPTS > DEATHS_TOGETHER)


def release_signal(signal: Signal, *, error: str, park: bool) -> bool:
    """Give a signal back after a failure, to be tried later, or park it for an operator; False when the lease was lost."""
    with autocommitted(Commit.RELEASE_SIGNAL), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE signals SET processing_lock = NULL, lock_expires_at = NULL, last_error = %(error)s,
                   next_attempt_at = clock_timestamp() + make_interval(secs => %(wait)s),
                   parked_at = CASE WHEN %(park)s THEN clock_timestamp() END
             WHERE signal_id = %(signal_id)s AND processing_lock = %(lock)s AND NOT processed
            """,
            {
                "error": error,
                "wait": back_off(signal.attempts),
                "park": park,
                "signal_id": signal.signal_id,
                "lock": signal.processing_lock,
            },
        )
        return bool(cursor.rowcount == 1)


def claim_calls(
    engine: Engine, *, limit: int, lease: str, lease_seconds: float, with_doubtful: bool = True
) -> list[EngineCall]:
    """Take up to ``limit`` calls to one engine that are due; an accepted one stays accepted and is asked about.

    Each comes back with ``seconds_left`` until its deadline. A trade's exit is told only after the trade itself was.
    One whose worker has died is taken over with all others. One that was in hand when two workers died is doubtful, for it
    may be what killed them: it is claimed by ones, and first what was tried least, because claimed with all that it died
    with, it would take them along again. Served by the index ``calls_to_make``.

    :param with_doubtful: whether one of those may be taken; each says ``was_doubtful``.
    """
    with autocommitted(Commit.CLAIM_CALLS):
        claimed = EngineCall.objects.raw(
            """
            WITH due AS MATERIALIZED (
                   SELECT id, lease <> '' AND (attempts > 1 OR NOT %(at_once)s) AS was_doubtful FROM engine_calls AS call
                    WHERE engine = %(engine)s AND state IN ('PENDING', 'SENT', 'ACCEPTED')
                      AND next_attempt_at <= clock_timestamp() AND deadline_at > clock_timestamp()
                      AND (lease = '' OR (%(at_once)s AND attempts <= 1) OR %(with_doubtful)s AND id = (
                          SELECT id FROM engine_calls
                           WHERE engine = %(engine)s AND state IN ('PENDING', 'SENT', 'ACCEPTED') AND lease <> ''
                             AND (attempts > 1 OR NOT %(at_once)s)
                             AND next_attempt_at <= clock_timestamp() AND deadline_at > clock_timestamp()
                             AND (error <> '' OR attempts < %(most_attempts)s)
                           ORDER BY attempts, next_attempt_at, id LIMIT 1))
                      AND NOT (kind = 'SHADOW_EXIT' AND EXISTS (
                          SELECT FROM engine_calls AS told
                           WHERE told.experiment_id = call.experiment_id AND told.engine = call.engine
                             AND told.kind = 'SHADOW_TRADE' AND told.state IN ('PENDING', 'SENT', 'ACCEPTED')))
                    ORDER BY next_attempt_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
            UPDATE engine_calls AS call SET attempts = attempts + 1, fence = fence + 1, lease = %(lease)s,
                   state = CASE WHEN state = 'ACCEPTED' THEN state ELSE 'SENT' END,
                   sent_at = COALESCE(sent_at, clock_timestamp()),
                   lease_expires_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s),
                   next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
              FROM due
             WHERE call.id = due.id
               AND (SELECT set_config('synchronous_commit', 'off', TRUE)) IS NOT NULL
            RETURNING call.*, due.was_doubtful, EXTRACT(EPOCH FROM deadline_at - clock_timestamp())::float AS seconds_left
            """,
            {
                "engine": engine.value,
                "limit": limit,
                "lease": lease,
                "lease_seconds": lease_seconds,
                "with_doubtful": with_doubtful,
                "most_attempts": settings.MAX_SIGNAL_ATTEMPTS,
                "at_once": _may_die_twice(),
            },
        )
        return sorted(claimed, key=lambda call: call.id)


def put_back_call(
    call: EngineCall, *, state: CallState, wait_seconds: float, error: str = "", latency: float | None = None
) -> bool:
    """Give a call that this worker holds back for later; False when its lease was lost."""
    with autocommitted(Commit.PUT_BACK_CALL), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE engine_calls SET state = %(state)s, error = %(error)s, latency = COALESCE(%(latency)s, latency),
                   lease = '', lease_expires_at = NULL,
                   next_attempt_at = clock_timestamp() + make_interval(secs => %(wait)s)
             WHERE id = %(id)s AND fence = %(fence)s AND state IN ('SENT', 'ACCEPTED')
            """,
            {
                "state": state.value,
                "error": error[:2000],
                "latency": latency,
                "wait": wait_seconds,
                "id": call.id,
                "fence": call.fence,
            },
        )
        return bool(cursor.rowcount == 1)


def overdue_calls(*, limit: int = 500) -> list[EngineCall]:
    """Return the calls whose deadline has passed and that no worker has in hand."""
    return list(
        EngineCall.objects.raw(
            """
            SELECT * FROM engine_calls
             WHERE state IN ('PENDING', 'SENT', 'ACCEPTED') AND deadline_at <= clock_timestamp()
               AND (lease_expires_at IS NULL OR lease_expires_at <= clock_timestamp())
             ORDER BY engine, next_attempt_at, id LIMIT %s
            """,
            [limit],
        )
    )


def deadly_calls(*, limit: int = 500) -> list[EngineCall]:
    """Return the calls that were taken up as often as is allowed, and each time by a worker that never came back."""
    return list(
        EngineCall.objects.raw(
            """
            SELECT * FROM engine_calls
             WHERE state = 'SENT' AND lease <> '' AND lease_expires_at <= clock_timestamp()
               AND error = '' AND attempts >= %s AND deadline_at > clock_timestamp()
             ORDER BY engine, next_attempt_at, id LIMIT %s
            """,
            [settings.MAX_SIGNAL_ATTEMPTS, limit],
        )
    )


def fail_calls(calls: Sequence[EngineCall], *, error: str) -> set[UUID]:
    """End calls for good, unless they moved on since they were read; return the ids of those that ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE engine_calls SET state = 'FAILED', lease = '', lease_expires_at = NULL, fence = engine_calls.fence + 1,
                   answered_at = clock_timestamp(),
                   error = %s || CASE WHEN error = '' THEN '' ELSE '; last: ' || error END
              FROM unnest(%s::uuid[], %s::bigint[]) AS held (id, fence)
             WHERE engine_calls.id = held.id AND engine_calls.fence = held.fence
               AND state IN ('PENDING', 'SENT', 'ACCEPTED')
            RETURNING engine_calls.id
            """,
            [error[:2000], [call.id for call in calls], [call.fence for call in calls]],
        )
        return {call_id for (call_id,) in cursor.fetchall()}


def end_call(call: EngineCall, *, response: str, latency: float | None) -> bool:
    """End a call about a shadow trade with its answer; a fact, so no fence is asked; False when it had ended."""
    with autocommitted(Commit.END_CALL), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE engine_calls SET state = 'ANSWERED', response = %s, latency = %s, error = '', fence = fence + 1,
                   answered_at = clock_timestamp(), lease = '', lease_expires_at = NULL
             WHERE id = %s AND state IN ('PENDING', 'SENT', 'ACCEPTED')
            """,
            [response, latency, call.id],
        )
        return bool(cursor.rowcount == 1)


def arm_permits(engine: Engine, *, limit: int, lease: str, lease_seconds: float) -> list[ExecutionPermit]:
    """Move up to ``limit`` permits from GRANTED to ARMED, unless trading is halted; committed when this returns.

    Each comes back with ``seconds_left`` until its not_after. Beside a real trade that is recorded already, whoever
    placed it, nothing is armed: that permit ends at its not_after.

    :raises UnsafeDatabase, ChangedDatabase: with real money, when this database must not be relied on; nothing is armed.

    The shared lock puts this in one order with the saving of the panel: who arms after a halt was saved sees it, and a
    halt that is saved after this waits until ``may_send_until``.
    """
    with committed(Commit.ARM_PERMITS), connection.cursor() as cursor:
        check_database_before_arming()
        _share_policy(cursor)
        return list(
            ExecutionPermit.objects.raw(
                """
                WITH due AS MATERIALIZED (
                       SELECT permit_id FROM execution_permits
                        WHERE state = 'GRANTED' AND engine = %(engine)s
                          AND next_attempt_at <= clock_timestamp() AND not_after > clock_timestamp()
                          AND NOT EXISTS (SELECT FROM real_trades
                                           WHERE real_trades.experiment_id = execution_permits.experiment_id)
                        ORDER BY next_attempt_at, permit_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
                UPDATE execution_permits AS permit
                   SET state = 'ARMED', armed_at = clock_timestamp(), attempts = attempts + 1, fence = fence + 1,
                       lease = %(lease)s, may_send_until = clock_timestamp() + make_interval(secs => %(may_send)s),
                       lease_expires_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s),
                       next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
                  FROM due
                 WHERE permit.permit_id = due.permit_id AND state = 'GRANTED' AND not_after > clock_timestamp()
                   AND NOT (SELECT trading_halted FROM policy_revisions ORDER BY number DESC LIMIT 1)
                   AND NOT EXISTS (SELECT FROM real_trades WHERE real_trades.experiment_id = permit.experiment_id)
                RETURNING permit.*, EXTRACT(EPOCH FROM not_after - clock_timestamp())::float AS seconds_left
                """,
                {
                    "engine": engine.value,
                    "limit": limit,
                    "lease": lease,
                    "lease_seconds": lease_seconds,
                    "may_send": MAY_SEND_SECONDS,
                },
            )
        )


def claim_unsettled(
    engine: Engine, *, limit: int, lease: str, lease_seconds: float, queryable: bool, idempotent: bool
) -> list[ExecutionPermit]:
    """Take permits whose execution is not known yet, to ask about them or, where the engine deduplicates, to send again.

    Each comes back with ``asked_at`` (the database clock before anything is asked), ``resend`` and ``seconds_left``
    until its not_after. What the engine has accepted, and what a real trade is recorded beside, is not sent again.
    """
    with committed(Commit.CLAIM_UNSETTLED), connection.cursor() as cursor:
        _share_policy(cursor)
        return list(
            ExecutionPermit.objects.raw(
                """
                WITH due AS MATERIALIZED (
                       SELECT permit_id,
                              (%(idempotent)s AND state = 'UNKNOWN' AND accepted_at IS NULL
                               AND not_after > clock_timestamp()
                               AND NOT (SELECT trading_halted FROM policy_revisions ORDER BY number DESC LIMIT 1)
                               AND NOT EXISTS (SELECT FROM real_trades
                                                WHERE real_trades.experiment_id = execution_permits.experiment_id)
                              ) AS resend
                         FROM execution_permits
                        WHERE engine = %(engine)s AND next_attempt_at <= clock_timestamp()
                          AND (state = 'UNKNOWN' OR (state = 'ARMED' AND accepted_at IS NOT NULL))
                          AND (%(queryable)s
                               OR (state = 'UNKNOWN' AND accepted_at IS NULL AND not_after > clock_timestamp()))
                        ORDER BY next_attempt_at, permit_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
                UPDATE execution_permits AS permit
                   SET fence = fence + 1, attempts = attempts + due.resend::int, lease = %(lease)s,
                       may_send_until = CASE WHEN due.resend THEN clock_timestamp() + make_interval(secs => %(may_send)s)
                                             ELSE may_send_until END,
                       lease_expires_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s),
                       next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
                  FROM due
                 WHERE permit.permit_id = due.permit_id AND (due.resend OR %(queryable)s)
                RETURNING permit.*, due.resend, clock_timestamp() AS asked_at,
                          EXTRACT(EPOCH FROM not_after - clock_timestamp())::float AS seconds_left
                """,
                {
                    "engine": engine.value,
                    "limit": limit,
                    "lease": lease,
                    "lease_seconds": lease_seconds,
                    "queryable": queryable,
                    "idempotent": idempotent,
                    "may_send": MAY_SEND_SECONDS,
                },
            )
        )


def _share_policy(cursor: CursorWrapper) -> None:
    """Arm before a save or after it, never meanwhile; a worker that stops in between does not hold up the save for long."""
    cursor.execute(
        """
        SELECT pg_advisory_xact_lock_shared(%s), set_config('synchronous_commit', 'on', TRUE),
               set_config('idle_in_transaction_session_timeout', %s, TRUE)
        """,
        [POLICY_LOCK, HELD_AT_MOST],
    )


def put_back_permit(permit: ExecutionPermit, *, wait_seconds: float, detail: str) -> bool:
    """Give a permit that this worker holds back as it is, to be looked at later; False when its lease was lost."""
    with autocommitted(Commit.PUT_BACK_PERMIT):
        return bool(
            ExecutionPermit.objects.filter(pk=permit.pk, fence=permit.fence, state=permit.state).update(
                lease="", lease_expires_at=None, next_attempt_at=in_seconds(wait_seconds), detail=detail[:2000]
            )
        )


def reconsider_events(experiment_ids: Sequence[UUID]) -> None:
    """Something changed: look again at the facts that waited for it."""
    EngineEvent.objects.filter(experiment_id__in=experiment_ids, verdict=Verdict.WAITING).update(
        verdict=None, applied_at=None
    )


def reconsider_unmatched_exits(experiment_id: UUID, *, engine: str) -> None:
    """A real trade of this engine turned up that nobody expected: look again at the exits that found no trade."""
    EngineEvent.objects.filter(
        experiment_id=experiment_id, engine=engine, type=EventType.TRADE_EXITED, verdict=Verdict.UNMATCHED
    ).update(verdict=None, applied_at=None)


def lock_experiments(experiment_ids: Sequence[UUID]) -> None:
    """Put everything that happens to these experiments in one order, until the transaction ends.

    The one lock of the protocol: always taken first, always in the order of the ids, so that it cannot deadlock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM experiments WHERE experiment_id = ANY(%s) ORDER BY experiment_id FOR NO KEY UPDATE",
            [sorted(set(experiment_ids))],
        )


def database_clock() -> datetime:
    """Return the database's time; the one clock of leases, ages and deadlines."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        clock: datetime = cursor.fetchone()[0]
        return clock


def in_seconds(seconds: float) -> Combinable:
    """Return an expression: the database clock plus ``seconds``."""
    return ExpressionWrapper(Now() + Value(timedelta(seconds=seconds)), output_field=DateTimeField())
