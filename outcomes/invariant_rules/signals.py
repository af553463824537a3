"""One experiment, context and policy per signal; hashes and ids that recompute."""

from outcomes.invariant_rules.sql import Rule, bucket, derived, sha256

SIGNALS = (
    Rule(
        "a processed signal has its experiment, its context and its policy",
        """
        SELECT signal.signal_id, signal.experiment_id, experiment.experiment_id AS has_experiment,
               context.id AS has_context, policy.id AS has_policy
          FROM signals AS signal
          LEFT JOIN experiments AS experiment USING (signal_id)
          LEFT JOIN market_contexts AS context USING (signal_id)
          LEFT JOIN execution_policies AS policy ON policy.experiment_id = experiment.experiment_id
         WHERE signal.processed
           AND (experiment.experiment_id IS NULL OR context.id IS NULL OR policy.id IS NULL
                OR signal.experiment_id IS DISTINCT FROM experiment.experiment_id)
        """,
    ),
    Rule(
        "a signal has at most one experiment and one context, an experiment at most one policy",
        """
        SELECT 'experiments' AS kept_in, signal_id AS of, count(*) FROM experiments GROUP BY signal_id HAVING count(*) > 1
        UNION ALL
        SELECT 'market_contexts', signal_id, count(*) FROM market_contexts GROUP BY signal_id HAVING count(*) > 1
        UNION ALL
        SELECT 'execution_policies', experiment_id, count(*) FROM execution_policies
         GROUP BY experiment_id HAVING count(*) > 1
        """,
    ),
    Rule(
        "an experiment belongs to a processed signal",
        """
        SELECT experiment.experiment_id, experiment.signal_id, signal.processed
          FROM experiments AS experiment LEFT JOIN signals AS signal USING (signal_id)
         WHERE signal.processed IS NOT TRUE
        """,
    ),
    Rule(
        "a parked signal has its incident",
        """
        SELECT signal_id, parked_at, last_error FROM signals AS signal
         WHERE parked_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM incidents WHERE kind = 'POISON_SIGNAL' AND subject = signal.signal_id::text)
        """,
    ),
)

HASHES = (
    Rule(
        "assignment_hash, variant and experiment_id recompute",
        f"""
        SELECT experiment.experiment_id, experiment.variant, experiment.assignment_hash, again.assigned AS recomputed
          FROM experiments AS experiment JOIN signals AS signal USING (signal_id)
         CROSS JOIN LATERAL (SELECT {sha256("signal.signal_id::text || ':' || signal.signal_hash")} AS assigned) AS again
         WHERE experiment.assignment_hash <> again.assigned
            OR experiment.experiment_id <> {derived("signal.signal_id", "again.assigned")}
            OR experiment.variant <> CASE WHEN {bucket("again.assigned")} < experiment.split_percentage
                                          THEN 'A' ELSE 'B' END
        """,
    ),
    Rule(
        "context_hash recomputes, and the context is its signal's",
        f"""
        SELECT context.signal_id, context.context_hash, {sha256("context.engine_input")} AS recomputed
          FROM market_contexts AS context JOIN signals AS signal USING (signal_id)
         WHERE context.context_hash <> {sha256("context.engine_input")}
            OR (context.symbol, context.timestamp) <> (signal.symbol, signal.timestamp)
            OR strpos(context.engine_input, '"signal_hash":"' || signal.signal_hash || '"') = 0
            OR strpos(context.engine_input, '"experiment_id":"' || signal.experiment_id::text || '"') = 0
        """,
    ),
    Rule(
        "both engines are asked, with the hash of the context",
        """
        SELECT experiment.experiment_id, context.context_hash,
               jsonb_object_agg(call.engine, call.input_hash) FILTER (WHERE call.engine IS NOT NULL) AS calls
          FROM experiments AS experiment
          JOIN market_contexts AS context USING (signal_id)
          LEFT JOIN engine_calls AS call
            ON call.experiment_id = experiment.experiment_id AND call.kind = 'RECOMMENDATION'
         GROUP BY experiment.experiment_id, context.context_hash
        HAVING count(DISTINCT call.engine) <> 2 OR count(*) <> 2
            OR NOT bool_and(call.input_hash IS NOT DISTINCT FROM context.context_hash)
        """,
    ),
)
