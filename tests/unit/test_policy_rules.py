"""Policies in words: what they decide, and what is refused with which sentence."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.vocabulary import RequestedMode
from outcomes.domain.policy_rules import Asked, KnownBefore, UnreadablePolicy, read_policy


def signal(*, symbol: str = "SPY", timeframe: str = "15", direction: str = "long", hour: int = 15) -> KnownBefore:
    return KnownBefore(symbol, timeframe, direction, datetime(2026, 3, 2, hour, 59, 59, 999999, tzinfo=UTC))


@pytest.mark.parametrize("mode", [mode for mode in RequestedMode if mode is not RequestedMode.AUTO])
def test_a_mode_alone_is_a_policy(mode: RequestedMode) -> None:
    assert read_policy(mode.value).asks(signal()) == Asked(mode)


def test_a_split_names_its_percentage() -> None:
    assert read_policy("SPLIT_CAPITAL:30").asks(signal()) == Asked(RequestedMode.SPLIT_CAPITAL, 30)


def test_the_first_rule_whose_conditions_all_hold_decides() -> None:
    policy = read_policy(
        "symbol=SPY|NASDAQ:QQQ & hour=14-20 -> ENGINE_B_PRIMARY; timeframe=1h -> SPLIT_CAPITAL:10; ENGINE_A_PRIMARY"
    )
    assert policy.asks(signal()).mode is RequestedMode.ENGINE_B_PRIMARY
    assert policy.asks(signal(symbol="QQQ")).mode is RequestedMode.ENGINE_B_PRIMARY
    assert policy.asks(signal(hour=20)).mode is RequestedMode.ENGINE_A_PRIMARY
    assert policy.asks(signal(symbol="IWM", timeframe="60")) == Asked(RequestedMode.SPLIT_CAPITAL, 10)


def test_what_no_rule_decides_is_executed_by_nobody() -> None:
    assert read_policy("direction=short -> ENGINE_A_PRIMARY").asks(signal()).mode is RequestedMode.SHADOW_ONLY


@given(st.integers(0, 23), st.integers(0, 24), st.integers(0, 23))
def test_hours_go_from_the_first_up_to_the_second_and_over_midnight(first: int, last: int, hour: int) -> None:
    asked = read_policy(f"hour={first}-{last} -> ENGINE_A_PRIMARY").asks(signal(hour=hour)).mode
    inside = first <= hour < last if last > first else hour >= first or hour < last
    assert (asked is RequestedMode.ENGINE_A_PRIMARY) is inside


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("AUTO", "depends on the house"),
        ("BOTH", "is no mode"),
        ("SPLIT_CAPITAL:101", "more than everything"),
        ("SPLIT_CAPITAL:0.5", "is no mode"),
        ("pnl=5 -> ENGINE_A_PRIMARY", "is no condition"),
        ("symbol= -> ENGINE_A_PRIMARY", "is no condition"),
        ("hour=25 -> ENGINE_A_PRIMARY", "hour is '25'"),
        ("direction=up -> ENGINE_A_PRIMARY", "direction is 'up'"),
        ("timeframe=soon -> ENGINE_A_PRIMARY", "timeframe:"),
        ("ENGINE_A_PRIMARY; symbol=SPY -> ENGINE_B_PRIMARY", "write it last"),
        ("x" * 1001, "too long"),
        ("; ".join(["hour=1 -> ENGINE_A_PRIMARY"] * 21), "21 rules"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, told: str) -> None:
    with pytest.raises(UnreadablePolicy, match=told):
        read_policy(text)
