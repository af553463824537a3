"""Chains of positions: where a strategy's alerts do not fit together, one never arrived."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.alert_chains import ChainKey, Link, breaks
from webhooks.alerts.positions import Position, PositionReport, read_place, read_position
from webhooks.alerts.reading import SourceRules

AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
KEY = ChainKey("default", "SPY", "5", "")
LONG, SHORT, FLAT = Position.LONG, Position.SHORT, Position.FLAT


def link(number: int, before: Position, now: Position, **overrides: object) -> Link:
    at = AT + timedelta(minutes=number)
    fields = {
        "id": UUID(int=number + 1),
        "key": KEY,
        "at": at,
        "received_at": at,
        "report": PositionReport(before, now),
        "body_hash": str(number),
    }
    return Link(**(fields | overrides))  # type: ignore[arg-type]


def found(*links: Link) -> list[tuple[int, int]]:
    return [(one.earlier.id.int - 1, one.later.id.int - 1) for one in breaks(links)]


@given(st.lists(st.sampled_from(Position), min_size=2, max_size=30), st.data())
def test_a_chain_breaks_exactly_where_a_link_is_taken_out(positions: list[Position], data: st.DataObject) -> None:
    links = [link(number, before, now) for number, (before, now) in enumerate(itertools.pairwise(positions))]
    assert found(*data.draw(st.permutations(links))) == []
    if len(links) < 3:
        return
    gone = data.draw(st.integers(1, len(links) - 2))
    moved = links[gone].report.before is not links[gone].report.now
    assert found(*links[:gone], *links[gone + 1 :]) == ([(gone - 1, gone + 1)] if moved else [])


def test_alerts_of_one_bar_may_arrive_in_either_order() -> None:
    close = link(1, LONG, FLAT, at=AT)
    entry = link(0, FLAT, SHORT, at=AT)
    assert found(link(-1, FLAT, LONG), close, entry) == []


def test_a_body_that_came_twice_in_a_row_is_a_redelivery() -> None:
    assert found(link(0, FLAT, LONG), link(1, LONG, FLAT, body_hash="x"), link(2, LONG, FLAT, body_hash="x")) == []


def test_sizes_count_where_both_alerts_have_them() -> None:
    def sized(before: int | None, now: int | None) -> PositionReport:
        old, new = (None if size is None else Decimal(size) for size in (before, now))
        return PositionReport(LONG, LONG, size_before=old, size_now=new)

    assert found(link(0, LONG, LONG, report=sized(1, 2)), link(1, LONG, LONG, report=sized(2, 3))) == []
    assert found(link(0, LONG, LONG, report=sized(1, 2)), link(1, LONG, LONG, report=sized(3, 4))) == [(0, 1)]
    assert found(link(0, LONG, LONG, report=sized(1, None)), link(1, LONG, LONG, report=sized(3, 4))) == []


def test_chains_of_other_charts_and_strategies_are_apart() -> None:
    for key in (
        ChainKey("default", "QQQ", "5", ""),
        ChainKey("default", "SPY", "15", ""),
        ChainKey("default", "SPY", "5", "other"),
        ChainKey("second", "SPY", "5", ""),
    ):
        assert found(link(0, FLAT, LONG), link(1, FLAT, SHORT, key=key), link(2, LONG, FLAT)) == []


@pytest.mark.parametrize(
    ("text", "report"),
    [
        (
            '{"market_position": "long", "prev_market_position": "flat"}',
            PositionReport(FLAT, LONG),
        ),
        (
            '{"strategy": {"market_position": "Flat", "prev_market_position": "SHORT", "market_position_size": 0,'
            ' "prev_market_position_size": "1.50"}, "strategy_name": "MACD"}',
            PositionReport(SHORT, FLAT, Decimal("1.50"), Decimal(0), "MACD"),
        ),
        ('{"marketPosition": "long", "prevMarketPosition": "{{strategy.prev_market_position}}"}', None),
        ('{"market_position": "long"}', None),
        ('{"market_position": "long", "prev_market_position": 1}', None),
        ("buy SPY", None),
    ],
)
def test_both_ends_of_a_step_are_read(text: str, report: PositionReport | None) -> None:
    assert read_position(text) == report


def test_an_exit_alert_says_where_it_belongs() -> None:
    rules = SourceRules(default_timeframe="15")
    place = read_place('{"ticker": "NASDAQ:AAPL", "time": "2026-03-02T14:30:00Z"}', rules=rules, received_at=AT)
    assert place is not None
    assert (place.symbol, place.timeframe, place.at) == ("AAPL", "15", AT)
    assert read_place('{"action": "close"}', rules=rules, received_at=AT) is None
