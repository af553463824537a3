"""Nothing that is due is forgotten while a worker is alive."""

from outcomes.invariant_rules.sql import Rule, a_worker_was_there

WAITING = (
    Rule(
        # a long queue that is being worked off, oldest first, is not a signal that was forgotten
        "no signal that is due was passed over",
        f"""
        SELECT signal.signal_id, signal.received_at, signal.attempts, signal.lock_expires_at, signal.next_attempt_at
          FROM (SELECT *, GREATEST(received_at, next_attempt_at, lock_expires_at) AS due FROM signals
                 WHERE NOT processed AND parked_at IS NULL) AS signal
         CROSS JOIN (SELECT max(received_at) AS received_at FROM signals
                      WHERE processed_at > now() - make_interval(secs => %(grace)s)) AS newest_processed
         WHERE signal.due + make_interval(secs => %(grace)s) < now()
           AND (newest_processed.received_at IS NULL OR newest_processed.received_at > signal.received_at)
           AND {a_worker_was_there("signal.due")}
        """,
    ),
    Rule(
        # while an engine works on other calls, the next ones wait for it; nothing waits beyond its deadline
        "no engine call was left lying",
        f"""
        SELECT call.id, call.experiment_id, call.engine, call.kind, call.state, call.next_attempt_at, call.deadline_at
          FROM (SELECT *, GREATEST(deadline_at, lease_expires_at) AS over,
                       GREATEST(next_attempt_at, lease_expires_at) AS due
                  FROM engine_calls WHERE state IN ('PENDING', 'SENT', 'ACCEPTED')) AS call
         WHERE (call.over + make_interval(secs => %(grace)s) < now() AND {a_worker_was_there("call.over")})
            OR (call.due + make_interval(secs => %(grace)s) < now() AND {a_worker_was_there("call.due")}
                AND NOT EXISTS (SELECT FROM engine_calls AS busy
                                 WHERE busy.engine = call.engine AND busy.lease_expires_at > now())
                AND NOT (call.kind = 'SHADOW_EXIT' AND EXISTS (
                    SELECT FROM engine_calls AS told
                     WHERE told.experiment_id = call.experiment_id AND told.engine = call.engine
                       AND told.kind = 'SHADOW_TRADE' AND told.state IN ('PENDING', 'SENT', 'ACCEPTED'))))
        """,
    ),
    Rule(
        "no permit was left lying: sent or void by not_after, known or UNKNOWN after it was sent",
        f"""
        SELECT permit.permit_id, permit.experiment_id, permit.engine, permit.state, permit.not_after, permit.lease_expires_at
          FROM (SELECT *, CASE WHEN state = 'ARMED' AND accepted_at IS NULL THEN lease_expires_at
                               ELSE GREATEST(not_after, lease_expires_at) END AS over
                  FROM execution_permits WHERE state IN ('GRANTED', 'ARMED')) AS permit
         WHERE permit.over + make_interval(secs => %(grace)s) < now() AND {a_worker_was_there("permit.over")}
        """,
    ),
    Rule(
        "no event was left lying",
        f"""
        SELECT event.id, event.engine, event.type, event.message_id, event.received_at FROM engine_events AS event
         WHERE event.verdict IS NULL AND event.received_at + make_interval(secs => %(grace)s) < now()
           AND {a_worker_was_there("event.received_at")}
        """,
    ),
)
