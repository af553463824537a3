"""Made-up experiments with their outcomes, many at once, so that reports can be measured on a database of any size.

Nothing is left to chance: every number follows from a hash of the seed and the experiment's number, so the same request
makes the same rows. Hashes, ids, variants and P&L recompute; market contexts and what decisions saw are left out, no report reads them. The
newest revision is SHADOW_ONLY, so that a worker that is started on such a database trades nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.backends.utils import CursorWrapper

from outcomes import recounting, summaries
from outcomes.invariant_rules.sql import bucket, derived, sha256

AT_ONCE = 100_000
OUTCOMES_PER_EXPERIMENT = (
    2.33  # about: nine tenths of A's and eight of B's answers are orders, two thirds of them execute
)
SHARE = 50


class NotEmpty(Exception):
    """There are signals in the database: made-up ones would stand among them for good."""


@dataclass(frozen=True, slots=True)
class Loaded:
    experiments: int
    outcomes: int


def _key(what: str) -> str:
    """Return the expression for a UUIDv7 of the signal's time: ids that grow as fast as the index likes it."""
    digest = f"md5('{what}:' || seed || ':' || number)"
    return (
        "(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'"
        f" || substr({digest}, 1, 3) || '8' || substr({digest}, 4, 15))::uuid"
    )


def _fraction(place: int) -> str:
    """Return the expression for a number from 0 to 1, the ``place``-th (0 to 7) of an experiment."""
    return f"(('x' || substr(digest, {1 + 8 * place}, 8))::bit(32)::bigint / 4294967296.0)"


# Each step stands for itself (MATERIALIZED), else a hash would be computed again wherever it is named.
# A working day has its experiments in four hours, in the order of their numbers.
_SIGNALS = f"""
    CREATE TEMPORARY TABLE made ON COMMIT DROP AS
    WITH numbered AS MATERIALIZED (
        SELECT number, %(seed)s::text AS seed, encode(sha256(convert_to(%(seed)s || ':' || number, 'UTF8')), 'hex') AS digest,
               floor(number / %(per_day)s::float8)::int AS day, number / %(per_day)s::float8 AS place
          FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS number
    ), placed AS MATERIALIZED (
        SELECT *, (date '2016-01-04' + day / 5 * 7 + day %% 5)::timestamp AT TIME ZONE 'UTC'
                  + interval '14 hours 30 minutes' + (place - day) * interval '4 hours' AS at,
               1 + least(2, day * 3 / %(days)s) AS third
          FROM numbered
    ), signals AS MATERIALIZED (
        SELECT *, {_key("signal")} AS signal_id, (ARRAY['SPY','QQQ','IWM','AAPL','NVDA','TSLA'])[1 + floor({
    _fraction(0)
} * 6)] AS symbol,
               (ARRAY['5','15','60'])[1 + floor({_fraction(1)} * 3)] AS timeframe,
               (ARRAY['long','short'])[1 + floor({_fraction(2)} * 2)] AS direction,
               to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at_text
          FROM placed
    ), hashed AS MATERIALIZED (
        SELECT *, {
    sha256('''format('{"direction":"%%s","payload":{"number":%%s},"source":"generated","symbol":"%%s","timeframe":"%%s","timestamp":"%%s"}',
                                     direction, number, symbol, timeframe, at_text)''')
} AS signal_hash
          FROM signals
    ), assigned AS MATERIALIZED (
        SELECT *, {sha256("signal_id || ':' || signal_hash")} AS assignment_hash FROM hashed
    ), varied AS MATERIALIZED (
        SELECT *, {derived("signal_id", "assignment_hash")} AS experiment_id,
               CASE WHEN {bucket("assignment_hash")} < {SHARE} THEN 'A' ELSE 'B' END AS variant,
               (ARRAY['ENGINE_A_PRIMARY','SPLIT_CAPITAL','SHADOW_ONLY'])[third] AS mode,
               'v1.0-r' || (%(revision)s + third - 1) AS policy_version,
               {_fraction(3)} > 0.1 AS a_opens, {_fraction(4)} > 0.2 AS b_opens,
               -- two engines that see the same market: what they share, and what is their own
               {_fraction(5)} + {_fraction(6)} - 1 AS market, {_fraction(7)} - 0.5 AS a_luck,
               ('x' || substr(md5(digest), 1, 8))::bit(32)::bigint / 4294967296.0 - 0.5 AS b_luck,
               ('x' || substr(md5(digest), 9, 8))::bit(32)::bigint / 4294967296.0 AS patience
          FROM assigned
    ), decided AS MATERIALIZED (
        SELECT *, CASE mode WHEN 'ENGINE_A_PRIMARY' THEN 'A' WHEN 'SPLIT_CAPITAL' THEN variant END AS executed,
               at + interval '5 minutes' + patience * interval '4 hours' AS left_at,
               -- a premium of 5 that is lost, or won several times over
               round((5 * greatest(0, 1 + 0.9 * market + 1.2 * a_luck + CASE WHEN a_luck > 0.45 THEN 2 ELSE 0 END))::numeric, 2) AS a_exit,
               round((5 * greatest(0, 1 + 0.9 * market + 1.2 * b_luck + CASE WHEN b_luck > 0.45 THEN 2 ELSE 0 END))::numeric, 2) AS b_exit
          FROM varied
    ), led AS MATERIALIZED (
        SELECT *, coalesce(CASE executed WHEN 'A' THEN a_opens WHEN 'B' THEN b_opens END, false) AS executes FROM decided
    ), counted AS MATERIALIZED (
        SELECT *, CASE WHEN executes THEN executed WHEN variant = 'A' AND a_opens OR variant = 'B' AND NOT b_opens AND a_opens THEN 'A'
                       WHEN b_opens THEN 'B' END AS lead_engine,
               a_opens::int + b_opens::int + executes::int AS outcomes
          FROM led
    )
    SELECT *, sum(outcomes) OVER (ORDER BY number) AS so_far FROM counted
"""
_TERMS = """jsonb_build_object('action', 'OPEN', 'symbol', symbol, 'direction', direction, 'side', 'BUY', 'quantity', '1',
    'entry_price', '5', 'max_loss', '500', 'instrument', jsonb_build_object('type', 'option', 'right', 'CALL', 'strike', '590',
    'option_symbol', symbol || '991217C00590000', 'expiration', '2099-12-17', 'multiplier', '100'))"""


def _of_engine(engine: str) -> list[str]:
    x = engine.lower()
    answered = "at + interval '2 seconds'" if engine == "A" else "at + interval '40 seconds'"
    call, trade = _key(f"call{engine}"), _key(f"trade{engine}")
    return [
        f"""
        INSERT INTO engine_calls (id, experiment_id, engine, kind, state, attempts, lease, fence, next_attempt_at,
                                  deadline_at, request, error, response, sent_at, answered_at, latency, created_at)
        SELECT {call}, experiment_id, '{engine}', 'RECOMMENDATION', 'ANSWERED', 1, '', 1, at, at + interval '5 minutes', '',
               '', '', at, {answered}, extract(epoch FROM {answered} - at), at FROM made
        """,
        f"""
        INSERT INTO recommendations (id, call_id, experiment_id, engine, action, raw, terms, reason, received_at)
        SELECT {_key(f"said{engine}")}, {call}, experiment_id, '{engine}', CASE WHEN {x}_opens THEN 'OPEN' ELSE 'PASS' END,
               '', CASE WHEN {x}_opens THEN {_TERMS} END, CASE WHEN {x}_opens THEN '' ELSE 'made up' END, {answered}
          FROM made
        """,
        f"""
        INSERT INTO shadow_trades (trade_id, experiment_id, engine, purpose, terms, entry_price, entry_time, quantity, status,
                                   own_exit_price, own_exit_time, own_exit_reason, created_at)
        SELECT {trade}, experiment_id, '{engine}', CASE WHEN executed = '{engine}' THEN 'TWIN' ELSE 'SHADOW' END, {_TERMS}, 5,
               {answered}, 1, 'CLOSED', CASE WHEN tells THEN {x}_exit + 0.05 END,
               CASE WHEN tells THEN left_at + interval '10 minutes' END, CASE WHEN tells THEN 'target' END, {answered}
          FROM (SELECT *, lead_engine <> '{engine}' AND number % 5 < 3 AS tells FROM made) AS made WHERE {x}_opens
        """,
        f"""
        INSERT INTO shadow_trade_outcomes (outcome_id, trade_id, experiment_id, engine, side, entry_price, exit_price,
                                           quantity, multiplier, fees, pnl, exit_reason, entry_time, exit_time,
                                           market_conditions, recorded_at)
        SELECT {_key(f"outcome{engine}")}, {trade}, experiment_id, '{engine}', 'BUY', 5, {x}_exit, 1, 100, 0,
               ({x}_exit - 5) * 100, 'target', {answered}, left_at, '{{}}', left_at FROM made WHERE {x}_opens
        """,
    ]


_PERMIT = derived("experiment_id", sha256("'permit:' || experiment_id"))
_REAL = _key("real")
_REAL_EXIT = "(CASE executed WHEN 'A' THEN a_exit ELSE b_exit END)"
_ROWS = (
    """
    INSERT INTO signals (signal_id, source, symbol, direction, timeframe, timestamp, timestamp_origin, signal_hash, raw_payload,
                         raw_body, received_at, processed, processed_at, experiment_id, attempts)
    SELECT signal_id, 'generated', symbol, direction, timeframe, at, 'payload', signal_hash,
           jsonb_build_object('number', number), format('{"number":%s}', number), at, true, at, experiment_id, 1 FROM made
    """,
    f"""
    INSERT INTO experiments (experiment_id, signal_id, variant, assignment_hash, split_percentage, policy_version, created_at)
    SELECT experiment_id, signal_id, variant, assignment_hash, {SHARE}, policy_version, at FROM made
    """,
    f"""
    INSERT INTO execution_policies (id, experiment_id, execution_mode, executed_engine, shadow_engine, reason, reason_code,
                                    policy_version, inputs, created_at)
    SELECT {_key("policy")}, experiment_id, mode, executed,
           CASE executed WHEN 'A' THEN 'B' WHEN 'B' THEN 'A' ELSE 'BOTH' END, 'made up',
           CASE mode WHEN 'SPLIT_CAPITAL' THEN 'SPLIT' ELSE 'CONFIGURED' END, policy_version, '{{}}', at FROM made
    """,
    *_of_engine("A"),
    *_of_engine("B"),
    f"""
    INSERT INTO execution_permits (permit_id, experiment_id, engine, state, not_after, attempts, lease, fence,
                                   next_attempt_at, granted_at, armed_at, resolved_at, resolved_by, detail)
    SELECT {_PERMIT}, experiment_id, executed, 'EXECUTED', at + interval '30 seconds', 1, '', 1, at, at, at, at, 'engine', ''
      FROM made WHERE executes
    """,
    f"""
    INSERT INTO real_trades (trade_id, experiment_id, permit_id, engine, authorised, terms, entry_price, entry_time, quantity,
                             fees, external_id, status, created_at)
    SELECT {_REAL}, experiment_id, {_PERMIT}, executed, true, {_TERMS}, 5.02, at + interval '41 seconds', 1, 1.3,
           'generated-' || number, 'CLOSED', at FROM made WHERE executes
    """,
    f"""
    INSERT INTO real_trade_outcomes (outcome_id, trade_id, experiment_id, engine, side, entry_price, exit_price, quantity,
                                     multiplier, fees, pnl, exit_reason, entry_time, exit_time, market_conditions, recorded_at)
    SELECT {_key("realoutcome")}, {_REAL}, experiment_id, executed, 'BUY', 5.02, {_REAL_EXIT}, 1, 100, 1.3,
           ({_REAL_EXIT} - 5.02) * 100 - 1.3, 'target', at + interval '41 seconds', left_at, '{{}}', left_at
      FROM made WHERE executes
    """,
    f"""
    INSERT INTO exit_syncs (id, experiment_id, lead_trade_id, lead_engine, lead_is_real, state, attempts, exit_price,
                            exit_time, exit_reason, market_conditions, created_at)
    SELECT {_key("sync")}, experiment_id, CASE WHEN executes THEN {_REAL} WHEN lead_engine = 'A' THEN {_key("tradeA")}
           ELSE {_key("tradeB")} END, lead_engine, executes, 'DONE', 0,
           CASE lead_engine WHEN 'A' THEN a_exit ELSE b_exit END, left_at, 'target', '{{}}', left_at
      FROM made WHERE lead_engine IS NOT NULL
    """,
)
_REVISIONS = """
    INSERT INTO policy_revisions (id, number, execution_mode, split_percentage, trading_halted, max_signal_age_seconds,
                                  app_mode, changed_by, created_at)
    SELECT gen_random_uuid(), %s + place - 1, mode, %s, false, 300, 'PAPER', 'generated', now()
      FROM unnest(ARRAY['ENGINE_A_PRIMARY','SPLIT_CAPITAL','SHADOW_ONLY']) WITH ORDINALITY AS wanted (mode, place)
"""


def generate_outcomes(wanted: int, *, days: int, seed: str, tell: Callable[[int], None] = lambda _: None) -> Loaded:
    """Fill an empty database with ``wanted`` outcomes (or one or two fewer) on ``days`` working days, and count them.

    :param tell: is told after each batch how many outcomes there are.
    :raises NotEmpty: when there are signals already.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE signals IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute("SELECT EXISTS (SELECT FROM signals)")
        if cursor.fetchone()[0]:
            raise NotEmpty("The database holds signals; generated ones would stand among them for good.")
        _without_triggers(cursor)
        cursor.execute("SELECT coalesce(max(number), 0) + 1 FROM policy_revisions")
        revision = cursor.fetchone()[0]
        cursor.execute(_REVISIONS, [revision, SHARE])
        loaded = _load(cursor, wanted, days=days, seed=seed, revision=revision, tell=tell)
    _analyze()
    summaries.rebuild_daily_results()
    recounting.count_from_nothing()
    _analyze(
        "pairs", "daily_trades", "daily_pairs", "daily_experiments", "report_slices", "changed_pairs", "changed_days"
    )
    return loaded


def _without_triggers(cursor: CursorWrapper) -> None:
    """Pass over foreign keys and notes in this transaction where the role may; CHECK and UNIQUE hold in any case.

    The rows refer to each other by construction, and what would be noted is counted as a whole at the end.
    """
    try:
        with transaction.atomic():
            cursor.execute("SET LOCAL session_replication_role = replica")
    except DatabaseError:  # not a superuser: the same rows, more slowly
        return


def _load(
    cursor: CursorWrapper, wanted: int, *, days: int, seed: str, revision: int, tell: Callable[[int], None]
) -> Loaded:
    per_day = max(1.0, wanted / OUTCOMES_PER_EXPERIMENT / days)
    experiments = outcomes = 0
    while outcomes < wanted - 2:
        batch = min(AT_ONCE, int((wanted - outcomes) / OUTCOMES_PER_EXPERIMENT * 1.1) + 10)
        values: dict[str, Any] = {
            "first": experiments,
            "last": experiments + batch - 1,
            "seed": seed,
            "days": days,
            "per_day": per_day,
        }
        cursor.execute(_SIGNALS, {**values, "revision": revision})
        cursor.execute("DELETE FROM made WHERE so_far > %s", [wanted - outcomes])
        cursor.execute("ANALYZE made")
        for statement in _ROWS:
            cursor.execute(statement)
        cursor.execute("SELECT count(*), sum(outcomes) FROM made")
        more_experiments, more_outcomes = cursor.fetchone()
        cursor.execute("DROP TABLE made")
        experiments, outcomes = experiments + more_experiments, outcomes + int(more_outcomes)
        tell(outcomes)
    return Loaded(experiments, outcomes)


def _analyze(*tables: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join(tables)}")
