"""The SQL of pairs: what both engines made of an experiment, and what a pair adds to the sums of its days.

Both sides are shadow trades; the engine that executed contributes the twin of its real trade. A PASS counts 0. A pair is
complete when both sides are known, at the later of the two moments: the exit, or the answer when it was a PASS.
"""

_AMOUNT = r"'^\s*[+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,2})?\s*$'"
_BEYOND = "1e40"  # nothing of this size is meant, and a column could not hold what follows from it

_MULTIPLIER = "coalesce((trade.terms #>> '{instrument,multiplier}')::numeric, 1)"
_COST = (
    "coalesce(outcome.entry_price * outcome.quantity * outcome.multiplier,"
    f" trade.entry_price * trade.quantity * {_MULTIPLIER})"
)
# max_loss, else what a bought contract cost; null when neither is a usable amount
_CAPITAL = f"""
    (SELECT CASE WHEN amount < {_BEYOND} THEN nullif(round(amount, 8), 0) END
       FROM (VALUES (CASE WHEN trade.terms ->> 'max_loss' IS NOT NULL
                          THEN CASE WHEN trade.terms ->> 'max_loss' ~ {_AMOUNT} THEN (trade.terms ->> 'max_loss')::numeric END
                          WHEN trade.terms ->> 'side' = 'BUY' THEN {_COST} END)) AS risk (amount))
"""
_OWN_PNL = f"""
    round((trade.own_exit_price - trade.entry_price) * trade.quantity * {_MULTIPLIER}
          * CASE WHEN trade.terms ->> 'side' = 'SELL' THEN -1 ELSE 1 END, 8)
"""
# At its own exit: the lead's exit is its own, and that of a real trade is its twin's too, unless it told another one.
_SIDE = f"""
    SELECT said.action,
           CASE WHEN said.action = 'PASS' THEN 'passed' WHEN outcome.outcome_id IS NOT NULL THEN 'closed'
                WHEN trade.status = 'VOID' THEN 'void'
                WHEN said.action IS NULL AND asked.state = 'FAILED' THEN 'no_answer' ELSE 'open' END AS state,
           CASE WHEN said.action = 'PASS' THEN 0 ELSE outcome.pnl END AS pnl,
           CASE WHEN said.action = 'PASS' THEN said.received_at ELSE outcome.exit_time END AS at,
           {_CAPITAL} AS capital,
           CASE WHEN said.action = 'PASS' THEN 0 WHEN sync.lead_trade_id = trade.trade_id THEN outcome.pnl
                WHEN trade.own_exit_time IS NOT NULL THEN {_OWN_PNL}
                WHEN sync.lead_engine = asked.engine THEN outcome.pnl END AS own_pnl,
           CASE WHEN said.action = 'PASS' THEN said.received_at WHEN sync.lead_trade_id = trade.trade_id THEN outcome.exit_time
                WHEN trade.own_exit_time IS NOT NULL THEN trade.own_exit_time
                WHEN sync.lead_engine = asked.engine THEN outcome.exit_time END AS own_at
      FROM engine_calls AS asked
      LEFT JOIN recommendations AS said ON said.call_id = asked.id
      LEFT JOIN shadow_trades AS trade ON trade.experiment_id = asked.experiment_id AND trade.engine = asked.engine
      LEFT JOIN shadow_trade_outcomes AS outcome ON outcome.trade_id = trade.trade_id
     WHERE asked.experiment_id = experiments.experiment_id AND asked.kind = 'RECOMMENDATION'
"""


def _sides(experiment: str, one_by_one: str) -> str:
    return f"""
        SELECT experiments.experiment_id, signal.symbol, signal.timeframe, policy.execution_mode AS mode,
               experiments.policy_version, experiments.created_at, experiments.variant,
               experiments.split_percentage AS share, policy.executed_engine,
               a.action AS a_action, b.action AS b_action, a.at AS a_at, b.at AS b_at, a.pnl AS a_pnl, b.pnl AS b_pnl,
               a.capital AS a_capital, b.capital AS b_capital, a.own_pnl AS own_a_pnl, b.own_pnl AS own_b_pnl,
               a.own_at AS own_a_at, b.own_at AS own_b_at, real_left.pnl AS real_pnl, real_left.exit_time AS real_at,
               CASE WHEN 'void' IN (a.state, b.state) THEN 'VOID' WHEN 'no_answer' IN (a.state, b.state) THEN 'NO_ANSWER'
                    WHEN 'open' IN (a.state, b.state) THEN 'OPEN' ELSE 'COMPLETE' END AS state,
               CASE policy.executed_engine WHEN 'A' THEN a.at WHEN 'B' THEN b.at END AS twin_at
          FROM experiments
          JOIN signals AS signal ON signal.signal_id = experiments.signal_id
          JOIN execution_policies AS policy ON policy.experiment_id = experiments.experiment_id
          LEFT JOIN exit_syncs AS sync ON sync.experiment_id = experiments.experiment_id
          JOIN LATERAL ({_SIDE} AND asked.engine = 'A' {one_by_one}) AS a ON true
          JOIN LATERAL ({_SIDE} AND asked.engine = 'B' {one_by_one}) AS b ON true
          LEFT JOIN real_trades ON real_trades.experiment_id = experiments.experiment_id AND real_trades.authorised
          LEFT JOIN real_trade_outcomes AS real_left ON real_left.trade_id = real_trades.trade_id
         WHERE experiments.experiment_id {experiment} {one_by_one}
    """


def fresh(experiment: str = "") -> str:
    """Return the query for pairs as the facts have them now, with the columns of ``KEPT``.

    :param experiment: the one experiment, an expression; empty for all of them. OFFSET 0 keeps it a look-up in each
        table, whatever the planner guesses about how many pairs have changed, and costs it no time to find that out.
    """
    condition, one_by_one = (f"= {experiment}", "OFFSET 0") if experiment else ("IS NOT NULL", "")
    return f"""
        SELECT experiment_id, symbol, timeframe, mode, policy_version, created_at, variant, share, executed_engine, state,
               a_action, b_action, CASE WHEN state = 'COMPLETE' THEN greatest(a_at, b_at) END AS completed_at,
               a_pnl, b_pnl, a_capital, b_capital,
               CASE WHEN state IN ('COMPLETE', 'OPEN') AND own_a_at IS NOT NULL AND own_b_at IS NOT NULL
                    THEN greatest(own_a_at, own_b_at) END AS own_completed_at,
               own_a_pnl, own_b_pnl,
               CASE WHEN real_at IS NOT NULL AND twin_at IS NOT NULL THEN greatest(real_at, twin_at) END AS executed_at,
               real_pnl
          FROM ({_sides(condition, one_by_one)}) AS sides
    """


# Pairs as they were counted; a filter names the columns of the slice.
COLUMNS = (
    "created_at",
    "variant",
    "share",
    "executed_engine",
    "state",
    "a_action",
    "b_action",
    "completed_at",
    "a_pnl",
    "b_pnl",
    "a_capital",
    "b_capital",
    "own_completed_at",
    "own_a_pnl",
    "own_b_pnl",
    "executed_at",
    "real_pnl",
)
KEPT = f"""
SELECT experiment_id, symbol, timeframe, mode, policy_version, {", ".join(COLUMNS)}
  FROM pairs JOIN report_slices AS slice ON slice.id = pairs.slice_id
"""
CHANGED = "changed AS MATERIALIZED (SELECT DISTINCT experiment_id FROM changed_pairs)"
# What the counted sums lack: minus what was counted for a changed pair, plus what it is now.
MOVED = f"""
moved AS MATERIALIZED (
    SELECT -1 AS times, kept.* FROM changed CROSS JOIN LATERAL (
        {KEPT} WHERE pairs.experiment_id = changed.experiment_id OFFSET 0) AS kept
    UNION ALL
    SELECT 1, fresh.* FROM changed CROSS JOIN LATERAL ({fresh("changed.experiment_id")}) AS fresh
)
"""

NOTHING_MOVED = f"moved AS (SELECT 1 AS times, kept.* FROM ({KEPT}) AS kept WHERE false)"

PAIR_SUMS = (
    "pairs",
    "difference",
    "pairs_in_r",
    "difference_in_r",
    "only_a",
    "only_b",
    "passed_a",
    "passed_b",
    "passed_both",
)
EXPERIMENT_SUMS = (
    "variant_a",
    "variant_b",
    "open",
    "void",
    "no_answer",
    *(
        f"{engine}_{role}_{what}"
        for engine in ("a", "b")
        for role in ("executing", "shadow")
        for what in ("answers", "passes")
    ),
)

# On which moment, of what minus what, a basis compares.
BASES = {
    "SYNCHRONISED": ("completed_at", "state = 'COMPLETE'", "a", "b", "a_pnl", "b_pnl"),
    "OWN_EXIT": ("own_completed_at", "own_completed_at IS NOT NULL", "a", "b", "own_a_pnl", "own_b_pnl"),
    "EXECUTION_A": ("executed_at", "executed_at IS NOT NULL AND executed_engine = 'A'", "a", "a", "real_pnl", "a_pnl"),
    "EXECUTION_B": ("executed_at", "executed_at IS NOT NULL AND executed_engine = 'B'", "b", "b", "real_pnl", "b_pnl"),
}


def moment_of(basis: str) -> str:
    """Return the column with the moment at which a pair was complete on a basis."""
    return BASES[basis][0]


def differences(pairs: str, basis: str) -> str:
    """Return the query for the complete pairs of one basis out of ``pairs`` (with ``times``, 1 or -1), A minus B."""
    moment, complete, x, y, first, second = BASES[basis]
    is_execution = basis.startswith("EXECUTION")
    passed = ("false", "false") if is_execution else (f"{x}_action = 'PASS'", f"{y}_action = 'PASS'")
    return f"""
        SELECT *, first - second AS difference, first_r - second_r AS difference_in_r, {moment} AS at,
               ({moment} AT TIME ZONE 'UTC')::date AS day, '{basis}' AS basis,
               {passed[0]} AS a_passed, {passed[1]} AS b_passed, NOT {is_execution} AS is_a_contest
          FROM (SELECT *, {first} AS first, {second} AS second,
                       CASE WHEN {x}_action = 'PASS' THEN 0 ELSE round({first} / {x}_capital, 12) END AS first_r,
                       CASE WHEN {y}_action = 'PASS' THEN 0 ELSE round({second} / {y}_capital, 12) END AS second_r
                  FROM {pairs} AS pairs
                 WHERE {complete}) AS complete
    """


SUM_OF_PAIRS = """
       sum(times)::int AS pairs, coalesce(sum(times * difference), 0) AS difference,
       coalesce(sum(times) FILTER (WHERE difference_in_r IS NOT NULL), 0)::int AS pairs_in_r,
       coalesce(sum(times * difference_in_r), 0) AS difference_in_r,
       coalesce(sum(times) FILTER (WHERE is_a_contest AND first > 0 AND second <= 0), 0)::int AS only_a,
       coalesce(sum(times) FILTER (WHERE is_a_contest AND second > 0 AND first <= 0), 0)::int AS only_b,
       coalesce(sum(times) FILTER (WHERE a_passed), 0)::int AS passed_a,
       coalesce(sum(times) FILTER (WHERE b_passed), 0)::int AS passed_b,
       coalesce(sum(times) FILTER (WHERE a_passed AND b_passed), 0)::int AS passed_both
"""


def _counted(condition: str, name: str) -> str:
    return f"coalesce(sum(times) FILTER (WHERE {condition}), 0)::int AS {name}"


def _answers(engine: str) -> list[str]:
    x = engine.lower()
    roles = {"executing": f"executed_engine = '{engine}'", "shadow": f"executed_engine IS DISTINCT FROM '{engine}'"}
    return [
        _counted(f"{is_in_role} AND {heard}", f"{x}_{role}_{what}")
        for role, is_in_role in roles.items()
        for what, heard in (("answers", f"{x}_action IS NOT NULL"), ("passes", f"{x}_action = 'PASS'"))
    ]


SUM_OF_EXPERIMENTS = ", ".join(
    [
        _counted("variant = 'A'", "variant_a"),
        _counted("variant = 'B'", "variant_b"),
        _counted("state = 'OPEN'", "open"),
        _counted("state = 'VOID'", "void"),
        _counted("state = 'NO_ANSWER'", "no_answer"),
        *_answers("A"),
        *_answers("B"),
    ]
)
