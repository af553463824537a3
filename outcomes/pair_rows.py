"""Pairs one by one, a page at a time, and how they are spread, put into bins by the database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from outcomes import pair_sql
from outcomes.domain.vocabulary import Basis
from outcomes.filters import ReportFilters
from outcomes.queries import conditions_of, fetch, moved, values_of

PAGE = 5000
MOST_BINS = 200
NEWEST = 2000
LOOKED_AT = 20_000  # of the newest pairs, for those that filters choose: what bounds the cost
_NEVER = UUID(int=0)


@dataclass(frozen=True, slots=True)
class PairRow:
    """One complete pair: both results in currency and, where the capital at risk is known, in R; a PASS is 0 in both."""

    experiment_id: UUID
    completed_at: datetime
    symbol: str
    timeframe: str
    mode: str
    policy_version: str
    variant: str
    executed_engine: str | None
    a_action: str
    b_action: str
    a_pnl: Decimal
    b_pnl: Decimal
    difference: Decimal
    a_r: Decimal | None
    b_r: Decimal | None
    difference_in_r: Decimal | None


@dataclass(frozen=True, slots=True)
class Place:
    """The last pair of a page: the next one begins after it."""

    completed_at: datetime
    experiment_id: UUID


@dataclass(frozen=True, slots=True)
class Bin:
    """``pairs`` whose A lies in the ``a``-th and whose B in the ``b``-th of equal steps from ``lowest`` to ``highest``, in R.

    What lies beyond an end is in the bin at that end.
    """

    a: int
    b: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How pairs with an R on both sides are spread; ``differences`` are counts per bin of A minus B.

    ``lowest`` and ``highest`` are where the bins of results begin and end, ``widest`` that of differences on both sides.
    """

    lowest: float
    highest: float
    widest: float
    results: Sequence[Bin]
    differences: Sequence[int]


def pair_rows(
    filters: ReportFilters, *, basis: Basis = Basis.SYNCHRONISED, after: Place | None = None, limit: int = PAGE
) -> list[PairRow]:
    """Return complete pairs in the order of completion, at most ``limit`` after a place."""
    moment = pair_sql.moment_of(basis)
    rows = fetch(
        f"""
        WITH {_single(filters, f"ORDER BY {moment}, experiment_id LIMIT %(limit)s", moment)}
        SELECT experiment_id, at, symbol, timeframe, mode, policy_version, variant, executed_engine, a_action, b_action,
               first, second, difference, first_r, second_r, difference_in_r
          FROM ({pair_sql.differences("single", basis)}) AS complete
         ORDER BY at, experiment_id LIMIT %(limit)s
        """,
        {
            **values_of(filters),
            "after": after and after.completed_at,
            "after_id": after.experiment_id if after else _NEVER,
            "limit": limit,
        },
    )
    return [PairRow(*row) for row in rows]


def all_pair_rows(filters: ReportFilters, *, basis: Basis = Basis.SYNCHRONISED) -> Iterator[PairRow]:
    """Yield every complete pair, read page by page."""
    after = None
    while page := pair_rows(filters, basis=basis, after=after):
        yield from page
        after = Place(page[-1].completed_at, page[-1].experiment_id)


def newest_pair_rows(filters: ReportFilters, *, limit: int = NEWEST) -> list[PairRow]:
    """Return the newest complete pairs of the period, newest first, at most ``limit``; filters choose among ``LOOKED_AT``."""
    within = """
        (%(since)s::timestamptz IS NULL OR completed_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR completed_at <= %(until)s)
    """
    rows = fetch(
        f"""
        WITH {pair_sql.CHANGED}, {moved()}, newest AS (
            SELECT experiment_id FROM pairs
             WHERE completed_at IS NOT NULL AND {within} AND experiment_id NOT IN (SELECT experiment_id FROM changed)
             ORDER BY completed_at DESC, experiment_id DESC LIMIT {LOOKED_AT}
        ), single AS (
            SELECT 1 AS times, kept.* FROM ({pair_sql.KEPT} WHERE experiment_id IN (SELECT experiment_id FROM newest)) AS kept
             WHERE {conditions_of(filters)}
            UNION ALL
            SELECT * FROM moved WHERE times = 1 AND {conditions_of(filters)} AND {within}
        )
        SELECT experiment_id, at, symbol, timeframe, mode, policy_version, variant, executed_engine, a_action, b_action,
               first, second, difference, first_r, second_r, difference_in_r
          FROM ({pair_sql.differences("single", Basis.SYNCHRONISED)}) AS complete
         ORDER BY at DESC, experiment_id DESC LIMIT %(limit)s
        """,
        {**values_of(filters), "limit": limit},
    )
    return [PairRow(*row) for row in rows]


def spread_of_pairs(filters: ReportFilters, *, basis: Basis = Basis.SYNCHRONISED, bins: int = 40) -> Spread | None:
    """Return how the results are spread, in ``bins`` (2 to 200) steps; None without a pair that has an R on both sides.

    The bins reach four standard deviations from the mean, or to the last pair where that is nearer. Reads every pair once.
    """
    if not 2 <= bins <= MOST_BINS:  # noqa: PLR2004 - said above
        raise ValueError(f"bins is {bins}; accepted is 2 to {MOST_BINS}")
    moment = pair_sql.moment_of(basis)
    rows: list[Any] = fetch(
        f"""
        WITH {_single(filters, "", moment)},
        results AS MATERIALIZED (
            SELECT first_r::float8 AS a, second_r::float8 AS b, difference_in_r::float8 AS difference
              FROM ({pair_sql.differences("single", basis)}) AS complete WHERE difference_in_r IS NOT NULL
        ), ends AS (
            SELECT greatest(least(min(a), min(b)), least(avg(a) - 4 * stddev_pop(a), avg(b) - 4 * stddev_pop(b))) AS lowest,
                   least(greatest(max(a), max(b)), greatest(avg(a) + 4 * stddev_pop(a), avg(b) + 4 * stddev_pop(b))) AS highest,
                   greatest(least(max(abs(difference)), abs(avg(difference)) + 4 * stddev_pop(difference)), 1e-9) AS widest
              FROM results
        )
        SELECT lowest, highest, widest, {_bin("a", "lowest", "highest")}, {_bin("b", "lowest", "highest")},
               {_bin("difference", "-widest", "widest")}, count(*)
          FROM results, ends GROUP BY GROUPING SETS ((1, 2, 3, 4, 5), (1, 2, 3, 6)) ORDER BY 4, 5, 6
        """,
        {**values_of(filters), "after": None, "after_id": _NEVER, "bins": bins},
    )
    if not rows:
        return None
    differences = [0] * bins
    for row in rows:
        if row[5] is not None:
            differences[row[5]] = row[6]
    lowest, highest, widest = rows[0][:3]
    results = [Bin(a, b, pairs) for _, _, _, a, b, difference, pairs in rows if difference is None]
    return Spread(lowest, highest, widest, results, differences)


def _single(filters: ReportFilters, page: str, moment: str) -> str:
    """Return the part of a query with the pairs of the filters after a place, each with ``times`` 1."""
    restricted = f"""
        {conditions_of(filters)} AND {moment} IS NOT NULL
        AND (%(since)s::timestamptz IS NULL OR {moment} >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR {moment} <= %(until)s)
        AND (%(after)s::timestamptz IS NULL OR ({moment}, experiment_id) > (%(after)s, %(after_id)s))
    """
    return f"""
        {pair_sql.CHANGED}, {moved()}, single AS (
            (SELECT 1 AS times, kept.* FROM ({pair_sql.KEPT}) AS kept
              WHERE {restricted} AND experiment_id NOT IN (SELECT experiment_id FROM changed) {page})
            UNION ALL
            SELECT * FROM moved WHERE times = 1 AND {restricted}
        )
    """


def _bin(value: str, lowest: str, highest: str) -> str:
    """Return the expression for the bin, from 0, that a value lies in."""
    return (
        f"CASE WHEN {highest} > {lowest} THEN"
        f" least(%(bins)s, greatest(1, width_bucket({value}, {lowest}, {highest}, %(bins)s))) - 1 ELSE 0 END"
    )
