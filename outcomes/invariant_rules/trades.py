"""Answers, the trades that follow from them, and the permit of the executed engine."""

from outcomes.invariant_rules.sql import Rule

TRADES = (
    Rule(
        "an ANSWERED call has its recommendation, and a recommendation its call",
        """
        SELECT call.id, call.experiment_id, call.engine, call.state, answer.id AS recommendation_id
          FROM engine_calls AS call FULL JOIN recommendations AS answer ON answer.call_id = call.id
         WHERE (call.kind = 'RECOMMENDATION' AND (call.state = 'ANSWERED') <> (answer.id IS NOT NULL))
            OR (answer.id IS NOT NULL AND (call.kind IS DISTINCT FROM 'RECOMMENDATION'
                OR (call.experiment_id, call.engine) IS DISTINCT FROM (answer.experiment_id, answer.engine)))
        """,
    ),
    Rule(
        "every OPEN has its shadow trade or twin on its own terms, and nothing else has one",
        """
        SELECT COALESCE(answer.experiment_id, trade.experiment_id) AS experiment_id,
               COALESCE(answer.engine, trade.engine) AS engine, answer.action, trade.trade_id, trade.purpose
          FROM recommendations AS answer
          FULL JOIN shadow_trades AS trade
            ON trade.experiment_id = answer.experiment_id AND trade.engine = answer.engine
          LEFT JOIN execution_policies AS policy
            ON policy.experiment_id = COALESCE(answer.experiment_id, trade.experiment_id)
         WHERE (answer.action IS NOT DISTINCT FROM 'OPEN') <> (trade.trade_id IS NOT NULL)
            OR (trade.trade_id IS NOT NULL
                AND (trade.purpose <> CASE WHEN trade.engine = policy.executed_engine THEN 'TWIN' ELSE 'SHADOW' END
                     OR trade.terms <> answer.terms OR trade.entry_time <> answer.received_at))
        """,
    ),
    Rule(
        "every OPEN of the executed engine has its permit, and only it",
        """
        SELECT policy.experiment_id, policy.executed_engine, answer.action, permit.permit_id
          FROM execution_policies AS policy
          LEFT JOIN recommendations AS answer
            ON answer.experiment_id = policy.experiment_id AND answer.engine = policy.executed_engine
          LEFT JOIN execution_permits AS permit ON permit.experiment_id = policy.experiment_id
         WHERE (answer.action IS NOT DISTINCT FROM 'OPEN') <> (permit.permit_id IS NOT NULL)
        """,
    ),
)
