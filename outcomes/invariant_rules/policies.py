"""Policies agree with their engines and their revision, the panel with the newest revision."""

from outcomes.invariant_rules.sql import Rule

POLICIES = (
    Rule(
        "a policy's mode agrees with its engines",
        """
        SELECT experiment_id, execution_mode, executed_engine, shadow_engine FROM execution_policies
         WHERE (execution_mode = 'SHADOW_ONLY') <> (executed_engine IS NULL)
            OR (executed_engine IS NULL) <> (shadow_engine = 'BOTH')
            OR executed_engine = shadow_engine
            OR (execution_mode = 'ENGINE_A_PRIMARY' AND executed_engine <> 'A')
            OR (execution_mode = 'ENGINE_B_PRIMARY' AND executed_engine <> 'B')
        """,
    ),
    Rule(
        "under SPLIT_CAPITAL the variant executes",
        """
        SELECT experiment_id, variant, executed_engine
          FROM execution_policies JOIN experiments USING (experiment_id)
         WHERE execution_mode = 'SPLIT_CAPITAL' AND executed_engine IS DISTINCT FROM variant
        """,
    ),
    Rule(
        "a policy version leads to the revision that it was decided under",
        """
        SELECT policy.experiment_id, policy.policy_version, experiment.policy_version AS of_experiment,
               policy.inputs #>> '{revision,number}' AS decided_under
          FROM execution_policies AS policy
          JOIN experiments AS experiment USING (experiment_id)
          LEFT JOIN policy_revisions AS revision
            ON revision.number::text = substring(policy.policy_version FROM '^v[0-9.]+-r([0-9]+)$')
         WHERE revision.id IS NULL
            OR policy.policy_version <> experiment.policy_version
            OR policy.inputs #>> '{revision,number}' IS DISTINCT FROM revision.number::text
            OR experiment.split_percentage <> revision.split_percentage
        """,
    ),
    Rule(
        "revisions are numbered without a gap",
        """
        SELECT number, expected FROM (SELECT number, row_number() OVER (ORDER BY number) AS expected
                                        FROM policy_revisions) AS numbered
         WHERE number <> expected
        """,
    ),
    Rule(
        "the panel shows the newest revision",
        """
        SELECT shown.key, stored.value AS in_the_panel, shown.value AS in_the_revision
          FROM (SELECT * FROM policy_revisions ORDER BY number DESC LIMIT 1) AS newest
         CROSS JOIN LATERAL (VALUES ('EXECUTION_MODE', to_jsonb(newest.execution_mode)),
                                    ('SPLIT_PERCENTAGE', to_jsonb(newest.split_percentage)),
                                    ('TRADING_HALTED', to_jsonb(newest.trading_halted)),
                                    ('MAX_SIGNAL_AGE_SECONDS', to_jsonb(newest.max_signal_age_seconds)))
               AS shown (key, value)
          LEFT JOIN constance_constance AS stored ON stored.key = shown.key
         WHERE stored.value::jsonb -> '__value__' IS DISTINCT FROM shown.value
        """,
    ),
)
