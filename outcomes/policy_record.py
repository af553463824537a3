"""The record that policies are tried on: experiments with both sides known, read in one statement, one line each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from orchestrator.domain.policy import Availability, Revision
from orchestrator.domain.vocabulary import AppMode, Engine, RequestedMode
from outcomes import pair_sql
from outcomes.domain.policy_rules import KnownBefore
from outcomes.domain.policy_value import Circumstances, RecordedExperiment
from outcomes.filters import ReportFilters

MOST_EXPERIMENTS = 200_000
EXACT_R = Decimal("1e-12")

_RECORD = f"""
    SELECT pair.state, pair.completed_at, pair.own_completed_at, pair.symbol, pair.timeframe, signal.direction,
           signal.received_at, policy.inputs, pair.executed_engine, pair.a_action, pair.b_action, pair.a_pnl, pair.b_pnl,
           pair.own_a_pnl, pair.own_b_pnl, pair.a_capital, pair.b_capital,
           CASE WHEN pair.executed_engine IS NULL THEN 0
                WHEN (CASE pair.executed_engine WHEN 'A' THEN pair.a_action ELSE pair.b_action END) = 'PASS' THEN 0
                WHEN permit.state IN ('NOT_EXECUTED', 'VOID') THEN 0
                WHEN permit.state = 'EXECUTED' THEN pair.real_pnl END AS real
      FROM ({pair_sql.fresh()}) AS pair
      JOIN experiments ON experiments.experiment_id = pair.experiment_id
      JOIN signals AS signal ON signal.signal_id = experiments.signal_id
      JOIN execution_policies AS policy ON policy.experiment_id = pair.experiment_id
      LEFT JOIN execution_permits AS permit ON permit.experiment_id = pair.experiment_id
     WHERE (%(since)s::timestamptz IS NULL OR coalesce(pair.completed_at, pair.created_at) >= %(since)s)
       AND (%(until)s::timestamptz IS NULL OR coalesce(pair.completed_at, pair.created_at) <= %(until)s)
       AND (%(symbol)s::text IS NULL OR pair.symbol = %(symbol)s)
       AND (%(timeframe)s::text IS NULL OR pair.timeframe = %(timeframe)s)
       AND (%(mode)s::text IS NULL OR pair.mode = %(mode)s)
       AND (%(policy_version)s::text IS NULL OR pair.policy_version = %(policy_version)s)
     ORDER BY pair.completed_at NULLS LAST, pair.experiment_id
     LIMIT {MOST_EXPERIMENTS + 1}
"""  # noqa: S608 - constants


@dataclass(slots=True)
class Record:
    """What the period holds. ``in_r`` leaves out experiments without capital at risk on a side that traded.

    ``own_exits`` is in R as well, of the experiments of which both engines' own exits are known.
    """

    in_currency: list[RecordedExperiment]
    in_r: list[RecordedExperiment]
    own_exits: list[RecordedExperiment]
    not_complete: int = 0
    is_cut: bool = False


def read_record(filters: ReportFilters) -> Record:
    """Return the experiments of a period, by completion, at most 200,000; ``is_cut`` when there were more."""
    found = Record([], [], [])
    for number, row in enumerate(_rows(filters)):
        if number == MOST_EXPERIMENTS:
            found.is_cut = True
        elif row["state"] != "COMPLETE":
            found.not_complete += 1
        else:
            _add(found, row)
    return found


def _add(found: Record, row: dict[str, Any]) -> None:
    results = {Engine.A: row["a_pnl"], Engine.B: row["b_pnl"]}
    capital = {engine: row[f"{engine.lower()}_capital"] for engine in Engine}
    passed = {engine: row[f"{engine.lower()}_action"] == "PASS" for engine in Engine}
    known = _known(row)
    executed = Engine(row["executed_engine"]) if row["executed_engine"] else None

    def recorded(simulated: dict[Engine, Decimal], real: Decimal | None, at: datetime) -> RecordedExperiment:
        return RecordedExperiment(at.astimezone(UTC).date(), *known, executed, simulated, real)

    found.in_currency.append(recorded(results, row["real"], row["completed_at"]))
    if any(not passed[engine] and not capital[engine] for engine in Engine):
        return

    def in_r(result: Decimal | None, engine: Engine) -> Decimal:
        return Decimal(0) if passed[engine] or not result else (result / capital[engine]).quantize(EXACT_R)

    real = row["real"]
    if real and executed is not None:
        real = in_r(real, executed)
    found.in_r.append(recorded({one: in_r(results[one], one) for one in Engine}, real, row["completed_at"]))
    own = {Engine.A: row["own_a_pnl"], Engine.B: row["own_b_pnl"]}
    if row["own_completed_at"] is not None and None not in own.values():
        simulated = {one: in_r(own[one], one) for one in Engine}
        found.own_exits.append(recorded(simulated, None, row["own_completed_at"]))


def _known(row: dict[str, Any]) -> tuple[KnownBefore, Circumstances]:
    inputs = json.loads(row["inputs"])
    asked, availability = inputs["revision"], inputs["availability"]
    return (
        KnownBefore(row["symbol"], row["timeframe"], row["direction"], row["received_at"].astimezone(UTC)),
        Circumstances(
            Revision(
                number=asked["number"],
                execution_mode=RequestedMode(asked["execution_mode"]),
                split_percentage=asked["split_percentage"],
                trading_halted=asked["trading_halted"],
                max_signal_age_seconds=asked["max_signal_age_seconds"],
                app_mode=AppMode(asked["app_mode"]),
            ),
            {engine: Availability(ok=availability[engine.value]["ok"], checked_at=None) for engine in Engine},
            inputs["signal_age_seconds"],
        ),
    )


def _rows(filters: ReportFilters) -> Iterator[dict[str, Any]]:
    values = {
        "since": filters.since,
        "until": filters.until,
        "symbol": filters.symbol,
        "timeframe": filters.timeframe,
        "mode": filters.mode and filters.mode.value,
        "policy_version": filters.policy_version,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, values)
        names = [column.name for column in cursor.description or ()]
        for row in cursor:
            yield dict(zip(names, row, strict=True))
