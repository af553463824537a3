"""The judgement, pure: what the ledgers of engines, sender and operator say, against what the orchestrator recorded."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]

# What must be 0, in the order of the report.
MEASURES = (
    "double executions",
    "lost signals",
    "lost executions",
    "phantom executions",
    "wrongly closed",
    "told and not recorded",
    "lost events",
    "orders after a halt",
    "stuck",
    "not healed",
    "broken invariants",
)

ARRIVES_WITHIN_SECONDS = 0.5
CLOSED = {"NOT_EXECUTED", "VOID"}


@dataclass(frozen=True, slots=True)
class Ledgers:
    """What the others wrote down: per engine its placements, orders and acknowledged events; the sender's accepted alerts."""

    engines: Mapping[str, Sequence[Row]]
    accepted: Sequence[Row]

    def of(self, kind: str) -> list[tuple[str, Row]]:
        return [(engine, line) for engine, lines in self.engines.items() for line in lines if line["kind"] == kind]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the orchestrator's tables say, as plain rows; ``halts`` are the times from a halt to its lifting."""

    signals: Sequence[Row]
    permits: Sequence[Row]
    real_trades: Sequence[Row]
    incidents: Sequence[Row]
    events: Sequence[Row]
    halts: Sequence[tuple[float, float]]
    unfinished: Sequence[Row]
    settling_engines: frozenset[str]


@dataclass(slots=True)
class Judgement:
    """Per measure the rows that break it; ``counts`` of how many it could have been broken by."""

    found: dict[str, list[Row]] = field(default_factory=lambda: {measure: [] for measure in MEASURES})
    counts: Counter[str] = field(default_factory=Counter)
    waited: list[Row] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not any(self.found.values())


def judge(ledgers: Ledgers, recorded: Recorded) -> Judgement:
    """Compare; nothing in the result is a matter of opinion, every row is a fact of one side that the other contradicts."""
    verdict = Judgement()
    placed = ledgers.of("placed")
    ordered = [(engine, line) for engine, line in placed if line["cause"] == "order"]
    trades = Counter((trade["engine"], trade["external_id"]) for trade in recorded.real_trades)
    authorised = {(trade["engine"], trade["external_id"]) for trade in recorded.real_trades if trade["authorised"]}
    permits = {str(permit["permit_id"]): permit for permit in recorded.permits}
    is_open = {(one["kind"], one["subject"]) for one in recorded.incidents if one["resolved_at"] is None}
    was_opened = {(one["kind"], one["subject"]) for one in recorded.incidents}

    _double(verdict, ordered)
    _signals(verdict, ledgers, recorded)
    told = _told(ledgers)
    for engine, line in placed:
        if line["cause"] == "unasked" and (engine, line["external_id"]) not in told:
            continue  # nobody has heard of it yet
        key, permit = (engine, line["external_id"]), permits.get(str(line["permit_id"]), {})
        is_visible = trades[key] > 0 and (
            key in authorised or ("UNAUTHORISED_EXECUTION", f"{engine}:{key[1]}"[:200]) in was_opened
        )
        is_asked_about = permit.get("state") == "UNKNOWN" and ("UNKNOWN_EXECUTION", str(line["permit_id"])) in is_open
        if not (is_visible or is_asked_about):
            verdict.found["lost executions"].append({"engine": engine, **line, "state": permit.get("state")})
    _phantoms(verdict, placed, trades, permits)
    _misjudged(verdict, ledgers, ordered, permits, authorised)
    _events(verdict, ledgers, recorded)
    _halts(verdict, ledgers, recorded)
    for row in recorded.unfinished:
        verdict.found["stuck"].append(row)
    for permit in recorded.permits:
        if permit["state"] == "UNKNOWN" and permit["engine"] in recorded.settling_engines:
            verdict.found["not healed"].append(permit)
    verdict.counts |= Counter(
        {"signals": len(ledgers.accepted), "orders": len(ledgers.of("order")), "real executions": len(ordered)}
    )
    verdict.counts["unasked executions"] = len(placed) - len(ordered)
    return verdict


def _told(ledgers: Ledgers) -> set[tuple[str, str]]:
    """Return the fills whose event was acknowledged."""
    return {(engine, line["external_id"]) for engine, line in ledgers.of("told") if line["event"] == "execution.filled"}


def _double(verdict: Judgement, ordered: Sequence[tuple[str, Row]]) -> None:
    """Every execution that an order of ours caused beyond the first of its signal, whichever engine it was."""
    per_experiment: dict[str, list[Row]] = defaultdict(list)
    for engine, line in ordered:
        per_experiment[line["experiment_id"]].append({"engine": engine, **line})
    for lines in per_experiment.values():
        verdict.found["double executions"] += sorted(lines, key=lambda line: line["at"])[1:]


def _signals(verdict: Judgement, ledgers: Ledgers, recorded: Recorded) -> None:
    """An accepted alert is a signal, once, and became an experiment or waits for an operator."""
    stored = {signal["signal_hash"]: signal for signal in recorded.signals}
    for line in ledgers.accepted:
        signal = stored.get(line["signal_hash"])
        if signal is None or not (signal["processed"] or signal["parked_at"]):
            verdict.found["lost signals"].append(line)


def _phantoms(
    verdict: Judgement, placed: Sequence[tuple[str, Row]], trades: Counter[tuple[str, str]], permits: Mapping[str, Row]
) -> None:
    real = Counter((engine, line["external_id"]) for engine, line in placed)
    for (engine, external_id), count in (trades - real).items():
        verdict.found["phantom executions"].append({"engine": engine, "external_id": external_id, "too_many": count})
    executed = {str(line["permit_id"]) for _, line in placed}
    for permit_id, permit in permits.items():
        if permit["state"] == "EXECUTED" and permit_id not in executed:
            verdict.found["phantom executions"].append(permit)


def _misjudged(
    verdict: Judgement,
    ledgers: Ledgers,
    ordered: Sequence[tuple[str, Row]],
    permits: Mapping[str, Row],
    authorised: set[tuple[str, str]],
) -> None:
    """The first execution of a permit is never closed as none, and once its event was acknowledged it is the real trade."""
    told = _told(ledgers)
    seen: set[str] = set()
    for engine, line in sorted(ordered, key=lambda pair: pair[1]["at"]):
        permit_id = str(line["permit_id"])
        if permit_id in seen:
            continue
        seen.add(permit_id)
        permit, key = permits.get(permit_id, {}), (engine, line["external_id"])
        if permit.get("state") in CLOSED:
            verdict.found["wrongly closed"].append({"engine": engine, **line, "state": permit["state"]})
        elif key in told and key not in authorised:
            verdict.found["told and not recorded"].append({"engine": engine, **line, "state": permit.get("state")})


def _events(verdict: Judgement, ledgers: Ledgers, recorded: Recorded) -> None:
    stored = Counter((event["engine"], event["message_id"]) for event in recorded.events)
    told = {(engine, line["message_id"]) for engine, line in ledgers.of("told")}
    verdict.counts["acknowledged events"] = len(told)
    for engine, message_id in sorted(told - stored.keys()):
        verdict.found["lost events"].append({"engine": engine, "message_id": message_id})


def _halts(verdict: Judgement, ledgers: Ledgers, recorded: Recorded) -> None:
    """No order leaves while trading is halted; one that left before needs a moment to arrive."""
    verdict.counts["halts"] = len(recorded.halts)
    for engine, line in ledgers.of("order"):
        for halted_at, lifted_at in recorded.halts:
            if halted_at + ARRIVES_WITHIN_SECONDS < line["at"] < lifted_at:
                verdict.found["orders after a halt"].append({"engine": engine, **line, "halted_at": halted_at})
