"""The sums that reports read agree with each other and with the outcomes, but for what is noted and not counted yet.

Each of these reads sums, or walks once along pairs and outcomes; ``manage.py rebuild_summaries`` compares all of it.
"""

from outcomes.invariant_rules.sql import Rule

_WHOLE = "(slice.symbol, slice.timeframe, slice.mode, slice.policy_version) = ('', '', '', '')"
_OWN = "'' NOT IN (slice.symbol, slice.timeframe, slice.mode, slice.policy_version)"
_NOT_NOTED = "NOT EXISTS (SELECT FROM changed_pairs AS noted WHERE noted.experiment_id = {}.experiment_id)"

SUMMARIES = (
    Rule(
        "the sums of days are those of the outcomes",
        f"""
        SELECT engine, kind, day, summed.trades, kept.trades AS expected_trades, summed.total_pnl,
               kept.total_pnl AS expected_pnl
          FROM daily_results AS kept
          FULL JOIN (SELECT daily_trades.* FROM daily_trades JOIN report_slices AS slice ON slice.id = slice_id WHERE {_WHOLE})
               AS summed USING (engine, kind, day)
         WHERE day NOT IN (SELECT day FROM changed_days)
           AND (kept.trades, kept.wins, kept.losses, kept.total_pnl)
               IS DISTINCT FROM (summed.trades, summed.wins, summed.losses, summed.total_pnl)
        """,
    ),
    Rule(
        "the sums of slices add up to the whole",
        f"""
        SELECT engine, kind, day,
               sum(trades) FILTER (WHERE {_WHOLE}) AS whole, sum(trades) FILTER (WHERE {_OWN}) AS in_slices
          FROM daily_trades JOIN report_slices AS slice ON slice.id = daily_trades.slice_id
         GROUP BY engine, kind, day
        HAVING (sum(trades) FILTER (WHERE {_WHOLE}), sum(total_pnl) FILTER (WHERE {_WHOLE}),
                sum(fourths) FILTER (WHERE {_WHOLE}))
               IS DISTINCT FROM
               (sum(trades) FILTER (WHERE {_OWN}), sum(total_pnl) FILTER (WHERE {_OWN}),
                sum(fourths) FILTER (WHERE {_OWN}))
        """,
    ),
    Rule(
        "every experiment is a pair with the results of its trades",
        f"""
        SELECT experiments.experiment_id, outcome.engine, outcome.pnl, pairs.state, pairs.a_pnl, pairs.b_pnl
          FROM experiments
          LEFT JOIN pairs USING (experiment_id)
          LEFT JOIN shadow_trade_outcomes AS outcome USING (experiment_id)
         WHERE (pairs.experiment_id IS NULL
                OR outcome.pnl IS DISTINCT FROM
                   CASE outcome.engine WHEN 'A' THEN pairs.a_pnl WHEN 'B' THEN pairs.b_pnl END)
           AND {_NOT_NOTED.format("experiments")}
        """,
    ),
    Rule(
        "the sums of pairs are those of the pairs",
        f"""
        SELECT day, kept.pairs, summed.pairs AS expected_pairs, kept.difference, summed.difference AS expected_difference
          FROM (SELECT daily_pairs.* FROM daily_pairs JOIN report_slices AS slice ON slice.id = slice_id
                 WHERE basis = 'SYNCHRONISED' AND pairs <> 0 AND {_WHOLE}) AS kept
          FULL JOIN (SELECT (completed_at AT TIME ZONE 'UTC')::date AS day, count(*) AS pairs, sum(a_pnl - b_pnl) AS difference
                       FROM pairs WHERE state = 'COMPLETE' GROUP BY 1) AS summed USING (day)
         WHERE (kept.pairs, kept.difference) IS DISTINCT FROM (summed.pairs, summed.difference)
        """,
    ),
    Rule(
        "every experiment that was counted is in the sums of its day",
        f"""
        SELECT day, kept.experiments, summed.experiments AS expected
          FROM (SELECT day, sum(variant_a + variant_b) AS experiments, sum(open) AS open
                  FROM daily_experiments JOIN report_slices AS slice ON slice.id = slice_id WHERE {_WHOLE} GROUP BY day) AS kept
          FULL JOIN (SELECT (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS experiments,
                            count(*) FILTER (WHERE state = 'OPEN') AS open
                       FROM pairs GROUP BY 1) AS summed USING (day)
         WHERE (kept.experiments, kept.open) IS DISTINCT FROM (summed.experiments, summed.open)
        """,
    ),
)
