"""What the reference engines decide: A's rules, B's votes, and the plan that is read back as it was written."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.recommendation import read_terms
from orchestrator.engines.reference.alerts import Alert, SeenPrice, UnreadableBody, read_alert
from orchestrator.engines.reference.plans import Pass, Plan, read_plan
from orchestrator.engines.reference.profiles import PROFILES
from orchestrator.engines.reference.rules import decide_by_rules
from orchestrator.engines.reference.voting import cast_votes, decide_by_vote

TODAY = date(2026, 3, 2)
BAR = datetime(2008, 9, 15, 13, 30, tzinfo=UTC)


def make_alert(**overrides: Any) -> Alert:
    members: dict[str, Any] = {
        "experiment_id": str(UUID(int=1)),
        "symbol": "SPX",
        "direction": "long",
        "timeframe": "1D",
        "at": BAR,
        "price": Decimal("1250.00"),
        "indicators": {},
    }
    return Alert(**members | overrides)


def seen(*prices: float) -> list[SeenPrice]:
    count = len(prices)
    return [SeenPrice(BAR - timedelta(days=count - n), Decimal(str(price))) for n, price in enumerate(prices)]


def test_a_follows_the_alert_and_buys_nearest_to_the_money() -> None:
    call = decide_by_rules(make_alert(), [], today=TODAY)
    put = decide_by_rules(make_alert(direction="short"), [], today=TODAY)
    assert isinstance(call, Plan)
    assert isinstance(put, Plan)
    assert (call.contract.option_symbol, put.contract.option_symbol) == ("SPX260417C01250000", "SPX260417P01250000")
    assert call.stop_loss < call.entry_price < call.take_profit
    assert call.volatility == 0.20


@pytest.mark.parametrize(
    ("direction", "rsi", "passes"),
    [
        ("long", "41.99", True),
        ("long", "42", False),
        ("long", "70", False),
        ("long", "70.01", True),
        ("short", "29.99", True),
        ("short", "30", False),
        ("short", "58", False),
        ("short", "58.01", True),
    ],
)
def test_a_passes_outside_its_window_of_rsi(direction: str, rsi: str, *, passes: bool) -> None:
    decision = decide_by_rules(make_alert(direction=direction, indicators={"RSI_14": Decimal(rsi)}), [], today=TODAY)
    assert isinstance(decision, Pass) == passes


def test_a_passes_when_the_market_is_too_quiet() -> None:
    quiet = decide_by_rules(make_alert(indicators={"atr": Decimal("11.24")}), [], today=TODAY)
    lively = decide_by_rules(make_alert(indicators={"atr": Decimal("11.25")}), [], today=TODAY)
    assert isinstance(quiet, Pass)
    assert "quiet" in quiet.reason
    assert isinstance(lively, Plan)


@pytest.mark.parametrize("engine", ["A", "B"])
@pytest.mark.parametrize("impossible", [{"price": None}, {"symbol": "BTCUSDT"}, {"price": Decimal("0.0001")}])
def test_what_cannot_be_priced_is_a_pass_with_a_reason(engine: str, impossible: dict[str, Any]) -> None:
    decision = PROFILES[engine].decide(make_alert(**impossible), [], today=TODAY)
    assert isinstance(decision, Pass)
    assert decision.reason


def test_each_agent_of_b_votes_by_its_own_rule() -> None:
    def opinions(price: float, *history: float, **overrides: Any) -> dict[str, int]:
        votes = cast_votes(make_alert(**overrides), Decimal(str(price)), list(history))
        return {vote.agent: vote.opinion for vote in votes}

    assert opinions(100) == {"messenger": 1, "momentum": 0, "mean reversion": 0, "trend": 0}
    assert opinions(100, direction="short")["messenger"] == -1
    assert opinions(100, 90, 95, 101)["momentum"] == 1
    assert opinions(100, 101, 95, 90)["momentum"] == -1
    assert opinions(99, 101, 102, 100, 101, 102)["mean reversion"] == 1
    assert opinions(105, 101, 102, 100, 101, 102)["mean reversion"] == -1
    assert opinions(101.5, 101, 102, 100, 101, 102)["mean reversion"] == 0
    assert opinions(100, indicators={"sma_slow": Decimal(99)})["trend"] == 1
    assert opinions(100, indicators={"sma": Decimal(101)})["trend"] == -1
    assert opinions(100, 99, 99, 99, 99, 99)["trend"] == 1


def test_b_passes_without_a_majority_and_says_how_they_voted() -> None:
    decision = decide_by_vote(make_alert(indicators={"sma_slow": Decimal(1300)}), [], today=TODAY)
    assert decision == Pass(
        "No majority for long: messenger long, momentum abstains, mean reversion abstains, trend short."
    )


def test_a_strong_majority_of_b_goes_one_strike_out_of_the_money() -> None:
    trend = {"sma_slow": Decimal(1200)}
    weak = decide_by_vote(make_alert(indicators=trend), [], today=TODAY)
    strong = decide_by_vote(make_alert(indicators=trend), seen(1240, 1230, 1220), today=TODAY)
    assert isinstance(weak, Plan)
    assert isinstance(strong, Plan)
    assert (weak.contract.strike, strong.contract.strike) == (Decimal(1250), Decimal(1275))
    assert strong.confidence > weak.confidence


@given(
    engine=st.sampled_from(["A", "B"]),
    direction=st.sampled_from(["long", "short"]),
    price=st.decimals("1", "90000", places=2),
    history=st.lists(st.floats(1, 90_000), max_size=30),
    atr=st.none() | st.decimals("0.01", "5000", places=2),
    today=st.dates(date(2020, 1, 1), date(2100, 1, 1)),
)
def test_every_plan_is_one_that_the_contract_accepts_and_reads_back_the_same(
    *, engine: str, direction: str, price: Decimal, history: list[float], atr: Decimal | None, today: date
) -> None:
    alert = make_alert(direction=direction, price=price, indicators={} if atr is None else {"atr": atr})
    decision = PROFILES[engine].decide(alert, seen(*history), today=today)
    assert decision == PROFILES[engine].decide(alert, seen(*history), today=today)
    if isinstance(decision, Plan):
        written = decision.as_json()
        terms = read_terms(written)
        assert read_plan(written) == decision
        assert terms.quantity >= 1
        assert terms.contract.expiration is not None
        assert terms.contract.expiration >= today + timedelta(days=30)
        assert Decimal(written["max_loss"]) == decision.entry_price * decision.quantity * 100
        assert 0 <= decision.confidence <= 1
        assert decision.entry_price == decision.value(spot=price, elapsed=timedelta(0))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"a":NaN}',
        b'{"schema":"engine-input/1","schema":"engine-input/1"}',
        b'{"schema":"engine-input/2"}',
        b'{"schema":"engine-input/1","signal":1}',
        b"[" * 100_000,
    ],
)
def test_a_question_that_is_none_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(UnreadableBody):
        read_alert(body)
