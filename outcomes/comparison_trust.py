"""The trust panel of the comparison: what would have to be wrong for the verdict to be wrong, each with where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.agreement import ANOTHER_DECISION
from orchestrator.domain.vocabulary import Engine
from outcomes.charts.shapes import counted
from outcomes.comparison_reading import Shown
from outcomes.comparison_words import between, duration, percent, probability, signed

ROLES = (("shadow", "as shadow"), ("real", "to execute"))


@dataclass(frozen=True, slots=True)
class Ground:
    """One reason to believe the verdict or not; ``badge`` is one word for it, empty without a judgement."""

    title: str
    badge: str
    sentences: tuple[str, ...]


def trust(shown: Shown) -> list[Ground]:
    report = shown.comparison
    grounds = [
        _assignment(report["assignment"]),
        _open_pairs(report["pairs"]),
        _passes(report["pairs"], shown.performance["engines"]),
        _execution(report["execution_cost"]),
        _calibration(report["calibration"]),
        _days(report["autocorrelation"], report["method"]["cluster"].lower()),
        _wins(report["wins_more_often"]),
        _noise(shown),
    ]
    return [ground for ground in grounds if ground is not None]


def _assignment(found: Mapping[str, Any]) -> Ground:
    left_to_chance = found["variant_a"] + found["variant_b"]
    if not left_to_chance and not found["certain"]:
        return Ground("Assignment", "", ("No experiment in this choice.",))
    sentences = [found["sentence"]]
    if left_to_chance:
        share, expected = found["variant_a"] / left_to_chance, found["expected_a"] / left_to_chance
        sentences.append(
            f"A's share is {percent(share)} of {left_to_chance:,}, its policies give it {percent(expected)}; any-time p-value "
            f"{probability(found['p_value'])}."
        )
    return Ground("Assignment", found["code"], tuple(sentences))


def _open_pairs(found: Mapping[str, Any]) -> Ground:
    oldest = found["oldest_open_seconds"]
    waiting = (
        f"{counted(found['open'], 'open pair')}, the oldest for {duration(oldest)}" if found["open"] else "No open pair"
    )
    return Ground(
        "Pairs",
        "",
        (
            f"{counted(found['complete'], 'complete pair')} of {found['total']:,}. {waiting}.",
            f"Not comparable: {found['not_comparable']['void']:,} void, {found['not_comparable']['no_answer']:,} without an "
            f"answer. Without a result in R: {found['complete_without_r']:,}.",
        ),
    )


def _passes(found: Mapping[str, Any], engines: Mapping[str, Any]) -> Ground:
    passes = found["passes"]
    rates = []
    for engine in Engine:
        for kind, role in ROLES:
            of_role = engines[engine.value][kind]
            if of_role["answers"]:
                low, high = of_role["pass_rate_interval"]
                rates.append(
                    f"Engine {engine} {role}: {percent(of_role['pass_rate'])} of {counted(of_role['answers'], 'answer')} "
                    f"({percent(low)} to {percent(high)})."
                )
    counts = f"In complete pairs A passed {passes['A']:,}, B {passes['B']:,}, both {passes['both']:,} times; a pass counts 0."
    return Ground("Pass rates", "", (*rates, counts) if rates else ("No answer in this choice.",))


def _execution(found: Mapping[str, Any]) -> Ground:
    costs = [_cost(engine.value, found["engines"][engine.value]) for engine in Engine]
    told = [cost for cost in costs if cost]
    return Ground(
        "Slippage and execution",
        "",
        (found["sentence"], *told, *(("Real minus its own twin; below 0 is a cost.",) if told else ())),
    )


def _cost(engine: str, found: Mapping[str, Any]) -> str:
    in_r, in_currency = found["R"], found["currency"]
    if not in_currency["pairs"]:
        return ""
    orders = counted(in_currency["pairs"], "order")
    told = f"Engine {engine}, {orders}: {signed(in_currency['mean'], 2)} in currency"
    if not in_r["pairs"]:
        return f"{told}; without capital at risk no result in R."
    known = f"95 % {between(in_r['interval'], 3)}" if in_r["interval"] else in_r["reason"].rstrip(".").lower()
    return f"{told}, {signed(in_r['mean'], 3)} R ({known})."


def _calibration(found: Mapping[str, Any]) -> Ground:
    worst = found["worst"]
    return Ground(
        "Calibration",
        "calibrated" if found["held"] else "not calibrated",
        (
            f"Of two equal engines the method called one better in at most {percent(worst['rate'])} of {found['paths']:,} "
            f"simulated series under daily looks (limit {percent(found['limit'])}); a daily t-test did in {percent(worst['naive'])}.",
            f"Worst case: {worst['scenario']}. Measured on {found['measured_on']}.",
        ),
    )


def _days(found: Mapping[str, Any], noun: str) -> Ground:
    if found["lag_1"] is None:
        return Ground("Independent days", "", (found["reason"],))
    fits = f"The sums of {noun}s show no sign that one resembles the next"
    return Ground(
        "Independent days",
        "",
        (
            found["advice"] or f"{fits}.",
            f"Lag-1 autocorrelation {signed(found['lag_1'], 3)}; unsuspicious up to {found['threshold']:.3f}.",
        ),
    )


def _wins(found: Mapping[str, Any]) -> Ground:
    only_a, only_b = found["only_a_won"], found["only_b_won"]
    if not only_a and not only_b:
        return Ground("Wins more often", "", ("No pair in which only one engine made money.",))
    who = f"Engine {found['engine']} wins more often" if found["engine"] else "Neither wins clearly more often"
    return Ground(
        "Wins more often",
        "",
        (
            f"{who}: only A made money in {counted(only_a, 'pair')}, only B in {only_b:,}; any-time p-value {probability(found['p_value'])}.",
            found["note"],
        ),
    )


def _noise(shown: Shown) -> Ground | None:
    """Return how often each engine decided otherwise when it was asked again; None when none has been."""
    told = []
    for engine, levels in shown.noise.items():
        asked = sum(levels.values())
        if asked:
            other = sum(levels[level] for level in ANOTHER_DECISION)
            told.append(
                f"Engine {engine}, asked {counted(asked, 'question')} again, decided otherwise in {other:,} ({percent(other / asked)})."
            )
    if not told:
        return None
    return Ground(
        "Noise floor", "", (*told, "A difference between the engines that is smaller than this proves nothing.")
    )
