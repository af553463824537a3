"""One permit per experiment, for the engine of its policy; real trades only under it; nothing unknown without an incident."""

from outcomes.invariant_rules.sql import Rule, derived, sha256

PERMITS = (
    Rule(
        "a permit is the policy's engine's, and there is none under SHADOW_ONLY",
        """
        SELECT permit.permit_id, permit.experiment_id, permit.engine, policy.execution_mode, policy.executed_engine
          FROM execution_permits AS permit LEFT JOIN execution_policies AS policy USING (experiment_id)
         WHERE permit.engine IS DISTINCT FROM policy.executed_engine
        """,
    ),
    Rule(
        "an experiment has at most one permit, and its id recomputes",
        f"""
        SELECT permit_id, experiment_id, engine, state
          FROM (SELECT *, count(*) OVER (PARTITION BY experiment_id) AS permits,
                       {sha256("'permit:' || experiment_id::text")} AS digest FROM execution_permits) AS permit
         WHERE permits > 1 OR permit_id <> {derived("experiment_id", "digest")}
        """,
    ),
    Rule(
        "a permit is EXECUTED exactly when its real trade is recorded",
        """
        SELECT permit.permit_id, permit.experiment_id, permit.state, trade.trade_id
          FROM execution_permits AS permit LEFT JOIN real_trades AS trade USING (permit_id)
         WHERE (permit.state = 'EXECUTED') <> (trade.trade_id IS NOT NULL)
        """,
    ),
    Rule(
        "an experiment has at most one authorised real trade, and it is its permit's",
        """
        SELECT trade.trade_id, trade.experiment_id, trade.engine, trade.permit_id
          FROM (SELECT *, count(*) FILTER (WHERE authorised) OVER (PARTITION BY experiment_id) AS authorised_trades
                  FROM real_trades) AS trade
          LEFT JOIN execution_permits AS permit USING (permit_id)
         WHERE trade.authorised <> (trade.permit_id IS NOT NULL)
            OR (trade.authorised AND (trade.authorised_trades > 1
                OR (permit.experiment_id, permit.engine) IS DISTINCT FROM (trade.experiment_id, trade.engine)))
        """,
    ),
    Rule(
        "an unauthorised real trade has its incident",
        """
        SELECT trade_id, experiment_id, engine, external_id FROM real_trades AS trade
         WHERE NOT authorised
           AND NOT EXISTS (SELECT FROM incidents WHERE kind = 'UNAUTHORISED_EXECUTION'
                              AND subject = left(trade.engine || ':' || trade.external_id, 200))
        """,
    ),
    Rule(
        "an UNKNOWN permit has an open incident",
        """
        SELECT permit_id, experiment_id, engine, armed_at FROM execution_permits AS permit
         WHERE state = 'UNKNOWN'
           AND NOT EXISTS (SELECT FROM incidents WHERE kind = 'UNKNOWN_EXECUTION' AND resolved_at IS NULL
                              AND subject = permit.permit_id::text)
        """,
    ),
    Rule(
        # settling the incident does not change the event's verdict
        "an UNMATCHED event has an incident, open until an operator settled it",
        """
        SELECT id, engine, message_id, type, received_at FROM engine_events AS event
         WHERE verdict = 'UNMATCHED'
           AND NOT EXISTS (SELECT FROM incidents WHERE kind = 'UNMATCHED_EVENT' AND subject = 'event:' || event.id::text
                              AND (resolved_at IS NULL OR resolved_by <> ''))
        """,
    ),
)
