"""Reading the four fields: what is accepted, as what, and what is said about the rest."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.alerts import Alert, ExitAlert, SourceRules, UnreadableAlert, read_alert
from webhooks.alerts.directions import Direction
from webhooks.message_templates import INDICATOR_ALERT, STRATEGY_ALERT

NOW = datetime(2026, 3, 2, 14, 31, tzinfo=UTC)
STRICT = SourceRules()
LENIENT = SourceRules(default_timeframe="5", accept_missing_timestamp=True)
COMPLETE: dict[str, Any] = {"ticker": "SPY", "action": "buy", "interval": "15", "time": "2026-03-02T14:30:00Z"}


def read(said: object, *, rules: SourceRules = STRICT) -> Alert | ExitAlert:
    return read_alert(json.dumps(said), rules=rules, received_at=NOW)


def alert_of(said: object, *, rules: SourceRules = STRICT) -> Alert:
    alert = read(said, rules=rules)
    assert isinstance(alert, Alert)
    return alert


def problems_of(said: object, *, rules: SourceRules = STRICT) -> dict[str, str]:
    with pytest.raises(UnreadableAlert) as refused:
        read(said, rules=rules)
    problems = refused.value.problems
    assert all(problem.message and problem.accepted and problem.example for problem in problems)
    return {problem.field: problem.code for problem in problems}


@pytest.mark.requirement("property-22", "8.1")
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "ticker": st.sampled_from(["SPY", "NASDAQ:AAPL", "", None]),
            "action": st.sampled_from(["buy", "short", "", None]),
            "interval": st.sampled_from(["15", 60, "1D", "", None]),
            "time": st.sampled_from(["2026-03-02T14:30:00Z", 1772461800, "", None]),
        },
    ),
    st.sampled_from(["", "5"]),
    st.booleans(),
)
def test_an_alert_is_accepted_if_and_only_if_its_fields_are_given_or_supplied_by_the_source(
    said: dict[str, object], default_timeframe: str, accept_missing_timestamp: bool
) -> None:
    rules = SourceRules(default_timeframe=default_timeframe, accept_missing_timestamp=accept_missing_timestamp)
    names = {"symbol": "ticker", "direction": "action", "timeframe": "interval", "timestamp": "time"}
    missing = {field for field, name in names.items() if said.get(name) in (None, "")}
    missing -= {"timeframe"} if default_timeframe else set()
    missing -= {"timestamp"} if accept_missing_timestamp else set()
    if missing:
        assert problems_of(said, rules=rules) == dict.fromkeys(missing, "missing")
    else:
        alert = alert_of(said, rules=rules)
        assert alert.payload == said
        assert (alert.timestamp is None) == (said.get("time") in (None, ""))
        assert said.get("interval") not in (None, "") or alert.timeframe == default_timeframe


@pytest.mark.parametrize(
    "said",
    [
        {"symbol": "SPY", "side": "long", "timeframe": "15", "timestamp": "2026-03-02T14:30:00Z"},
        {"Symbol": "SPY", "SIDE": "Long", "TimeFrame": "15", "TimeStamp": "2026-03-02T14:30:00Z"},
        {"trading_pair": "SPY", "order-action": "BUY", "chart.interval": "15", "bar time": "2026-03-02T14:30:00Z"},
        {"instrument": "SPY", "signal": "Buy", "tf": 15, "timenow": "2026-03-02T14:30:00Z"},
        {
            "data": {"ticker": "SPY", "interval": "15"},
            "order": {"action": "buy"},
            "at": {"time": "2026-03-02T14:30:00Z"},
        },
        {"market": "SPY", "type": "buy", "period": "15", "date": "2026-03-02T14:30:00Z"},
        {"tv_instrument": "SPY", "strategy": {"order": {"action": "buy"}}, "tf": "15m", "fired_at": 1772461800000},
        {"message": "buy SPY", "interval": 15, "time": "2026-03-02 14:30"},
        {
            "order_legs": [{"transactionType": "B", "symbol": "SPY"}],
            "interval": 15,
            "timestamp_utc": "2026-03-02T14:30Z",
        },
        [{"tradingsymbol": "SPY", "transactionType": "BUY", "interval": "15", "time": "2026.03.02 14:30:00"}],
    ],
)
def test_the_common_spellings_of_the_fields_are_read(said: dict[str, object]) -> None:
    alert = alert_of(said)
    assert (alert.symbol, alert.direction, alert.timeframe) == ("SPY", "long", "15")
    assert alert.timestamp == NOW - timedelta(minutes=1)


def test_the_top_level_comes_before_nesting_and_ambiguous_names_come_last() -> None:
    said = {"market": "QQQ", "nested": {"ticker": "IWM"}, **COMPLETE}
    assert alert_of(said).symbol == "SPY"
    del said["ticker"]
    assert alert_of(said).symbol == "IWM"
    del said["nested"]
    assert alert_of(said).symbol == "QQQ"


def test_what_cannot_be_read_yields_to_a_field_that_can() -> None:
    said = {**COMPLETE, "signal": "RSI cross", "order_type": "market", "timestamp": "14:30", "tf": ["15"]}
    alert = alert_of(said)
    assert (alert.direction, alert.timeframe) == ("long", "15")


@pytest.mark.parametrize("title", ["MacdCross", "Trend bot 2"])
def test_what_an_alert_is_called_is_no_symbol(title: str) -> None:
    assert problems_of({**COMPLETE, "ticker": None, "name": title}) == {"symbol": "missing"}
    assert alert_of({**COMPLETE, "ticker": None, "name": "SPY"}).symbol == "SPY"


def test_a_list_of_one_is_read_as_its_object_and_a_longer_one_is_not() -> None:
    legs = [{"symbol": "QQQ", "side": "sell"}]
    assert alert_of({**COMPLETE, "ticker": None, "legs": legs}).paths["symbol"] == "legs.0.symbol"
    assert problems_of({**COMPLETE, "ticker": None, "legs": legs * 2}) == {"symbol": "missing"}


def test_a_pinned_path_decides_alone() -> None:
    said = {**COMPLETE, "order": {"Way": "sell"}, "legs": [{"sym": "QQQ"}]}
    alert = alert_of(said, rules=SourceRules(paths={"direction": "order.way", "symbol": "legs.0.sym"}))
    assert (alert.symbol, alert.direction) == ("QQQ", "short")
    assert problems_of(COMPLETE, rules=SourceRules(paths={"symbol": "order.symbol"})) == {"symbol": "missing"}


@pytest.mark.parametrize("field", ["ticker", "action", "interval", "time"])
def test_an_unfilled_placeholder_is_an_error_never_a_value(field: str) -> None:
    said = {**COMPLETE, field: "{{plot_0}}"}
    everything = SourceRules(default_timeframe="5", accept_missing_timestamp=True)
    assert list(problems_of(said, rules=everything).values()) == ["unfilled_placeholder"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"ticker": "{{ticker}}", "market": "QQQ"}, "unfilled_placeholder"),
        ({"action": "{{strategy.order.action}}", "side": "buy"}, "unfilled_placeholder"),
        ({"time": "2026-03-02T15:30:00Z", "timenow": "2026-03-02T14:30:00Z"}, "in_the_future"),
    ],
)
def test_what_is_plainly_wrong_does_not_yield_to_another_field(said: dict[str, object], code: str) -> None:
    assert list(problems_of({**COMPLETE, **said}).values()) == [code]


def test_every_problem_is_named_at_once_in_the_order_of_the_fields() -> None:
    assert list(problems_of({"ticker": 7, "action": "hold", "interval": "soon", "time": "now"}).items()) == [
        ("symbol", "wrong_type"),
        ("direction", "unknown_direction"),
        ("timeframe", "unknown_timeframe"),
        ("timestamp", "unknown_time"),
    ]


def test_a_problem_says_what_was_found_and_where() -> None:
    with pytest.raises(UnreadableAlert) as refused:
        read({**COMPLETE, "action": None, "order": {"side": "sideways"}})
    (problem,) = refused.value.problems
    assert (problem.path, problem.found) == ("order.side", '"sideways"')


@pytest.mark.parametrize("template", [STRATEGY_ALERT, INDICATOR_ALERT])
def test_the_message_templates_that_we_offer_are_read(template: str) -> None:
    filled = {
        "exchange": "NASDAQ", "ticker": "AAPL", "strategy.order.action": "buy", "strategy.market_position": "long",
        "strategy.prev_market_position": "flat", "interval": "1D", "timenow": "2026-03-02T14:30:00Z", "close": "230.1",
        "volume": "1200",
    }  # fmt: skip
    for name, value in filled.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    alert = read_alert(template, rules=STRICT, received_at=NOW)
    assert isinstance(alert, Alert)
    assert (alert.symbol, alert.exchange, alert.direction, alert.timeframe) == ("AAPL", "NASDAQ", "long", "1D")


# Symbols


@pytest.mark.parametrize(
    ("given_symbol", "symbol", "exchange"),
    [
        ("NASDAQ:AAPL", "AAPL", "NASDAQ"),
        ("MNQ1!", "MNQ1!", None),
        ("BTCUSDT.P", "BTCUSDT.P", None),
        ("005930", "005930", None),
        ("BRK.B", "BRK.B", None),
        ("EUR/USD", "EUR/USD", None),
        (" spy ", "spy", None),
        ("CME_MINI_DL:ES1!", "ES1!", "CME_MINI"),
        ("NASDAQ_DLY:AAPL", "AAPL", "NASDAQ"),
        ("NSE:M&M", "M&M", "NSE"),
        ("^GSPC", "^GSPC", None),
        ("ES 12-26", "ES 12-26", None),
        ("FX_IDC:EURUSD", "EURUSD", "FX_IDC"),
    ],
)
def test_a_symbol_is_kept_as_given_without_its_exchange(given_symbol: str, symbol: str, exchange: str | None) -> None:
    alert = alert_of({**COMPLETE, "ticker": given_symbol})
    assert (alert.symbol, alert.exchange) == (symbol, exchange)


def test_an_exchange_may_stand_in_a_field_of_its_own() -> None:
    assert alert_of({**COMPLETE, "exchange": "AMEX"}).exchange == "AMEX"
    assert alert_of({**COMPLETE, "exchange": "AMEX", "ticker": "ARCA:SPY"}).exchange == "ARCA"


@pytest.mark.parametrize(
    ("symbol", "code"),
    [
        ("S" * 65, "too_long"),
        ("<script>alert(1)</script>", "unknown_symbol"),
        ("SPY'; DROP TABLE signals; --", "unknown_symbol"),
        ("SPY\u200b", "unknown_symbol"),
        ("\u202eYPS", "unknown_symbol"),
        ("ЅРY", "unknown_symbol"),  # noqa: RUF001 - Cyrillic look-alikes
        ("NASDAQ:", "unknown_symbol"),
        (":AAPL", "unknown_symbol"),
        ("SPY QQQ", "unknown_symbol"),
        ("S\nPY", "unknown_symbol"),
        ("!!!", "unknown_symbol"),
        (7, "wrong_type"),
        (True, "wrong_type"),
        (["SPY"], "wrong_type"),
    ],
)
def test_what_is_not_spelled_like_a_symbol_is_refused(symbol: object, code: str) -> None:
    assert problems_of({**COMPLETE, "ticker": symbol}) == {"symbol": code}


# Directions


@pytest.mark.parametrize(
    ("said", "direction"),
    [
        ({"action": "buy"}, "long"),
        ({"action": "SELL"}, "short"),
        ({"action": "enter_long"}, "long"),
        ({"action": "Sell Short"}, "short"),
        ({"action": "buy to open"}, "long"),
        ({"signal": "bearish"}, "short"),
        ({"signal": 1}, "long"),
        ({"signal": "-1"}, "short"),
        ({"action": "buy", "direction": "short"}, "short"),
        ({"action": "sell", "signal": "Bullish engulfing"}, "short"),
        ({"signal": "🟢 Buy on close"}, "long"),
        ({"signal": "Strong sell signal"}, "short"),
        ({"action": "sell", "market_position": "short", "prev_market_position": "long"}, "short"),
        ({"action": "buy", "market_position": "long"}, "long"),
        ({"market_position": "short"}, "short"),
        ({"action": "buy", "option_type": "put"}, "short"),
        ({"action": "sell", "right": "P"}, "long"),
        ({"action": "sell", "right": "C"}, "short"),
        ({"action": "buy_put"}, "short"),
        ({"action": "CALL"}, "long"),
        ({"direction": "long", "right": "put"}, "long"),
        ({"action": "buy", "type": "short"}, "long"),
        ({"type": "limit", "side": "sell"}, "short"),
        ({"action": "open-long"}, "long"),
        ({"action": "buystop"}, "long"),
        ({"action": "B"}, "long"),
        ({"action": "closeshortopenlong"}, "long"),
        ({"direction": "PUTS"}, "short"),
        ({"signal": "Enter Short now"}, "short"),
        ({"signal": "SELL PUT 450"}, "long"),
        ({"signal": "buy SPY 450P"}, "short"),
        ({"action": "sell", "trend": "bullish", "pattern": "bull flag"}, "short"),
        ({"action": "sell", "signal_type": "Bullish Confirmation"}, "short"),
        ({"action": "buy", "sentiment": "bullish"}, "long"),
        ({"action": "sell", "positionSide": "SHORT"}, "short"),
        ({"action": "sell", "position_size": "-3"}, "short"),
        ({"action": "sell", "position_size": 2}, "short"),  # the order's own size, for all one can tell
        (
            {
                "action": "sell",
                "market_position": "short",
                "prev_market_position": "long",
                "market_position_size": "1",
                "prev_market_position_size": "2",
            },
            "short",
        ),
        (
            {
                "action": "buy",
                "market_position": "long",
                "prev_market_position": "long",
                "market_position_size": "3",
                "prev_market_position_size": "2",
            },
            "long",
        ),
        (
            {"action": "buy", "market_position": "long", "prev_market_position": "short", "comment": "Close Short"},
            "long",
        ),
        ({"action": "buy", "comment": "TP 450 SL 430, exits at close"}, "long"),
        ({"action": "buy", "message": "Buy SPY. Take profit 450, stop loss 430"}, "long"),
        ({"action": "buy", "alert_name": "RSI exits oversold"}, "long"),
        ({"signal": "Closed above resistance: buy"}, "long"),
        ({"buy": 1, "sell": 0}, "long"),
        ({"Signals": {"Buy": False, "Strong Sell": True}}, "short"),
        ({"action": "buy", "reduce_only": False}, "long"),
        ({"direction": "UP"}, "long"),
        ({"signal": "closelongsell"}, "short"),
        ({"trend": "down"}, "short"),
        ({"action": "buy", "takeProfit": {"side": "sell", "reduceOnly": True}}, "long"),
        ({"action": "buy", "targets": [{"side": "sell", "close_percent": 100}]}, "long"),
    ],
)
def test_a_direction_is_read_from_its_common_forms(said: dict[str, object], direction: str) -> None:
    assert alert_of({**COMPLETE, "action": None, **said}).direction == direction


@pytest.mark.parametrize(
    "said",
    [
        {"action": "close"},
        {"action": "exit"},
        {"action": "closelong"},
        {"action": "EXIT_SHORT"},
        {"action": "flat"},
        {"action": "Close Long"},
        {"action": "sell to close"},
        {"signal": "Long exit"},
        {"signal": "TP1 hit"},
        {"signal": "Close entry(s) order Long"},
        {"action": "sell", "id": "Close entry(s) order Long"},
        {"action": "sell", "comment": "Exit Long"},
        {"action": "sell", "market_position": "flat"},
        {"action": "buy", "market_position": "flat", "prev_market_position": "short"},
        {"action": "sell", "position_size": "0"},
        {"action": "sell", "position_size": 0.0},
        {"action": "sell", "market_position": "long"},
        {"action": "buy", "market_position": "short"},
        {"action": "exit", "direction": "long"},
        {"action": "sell", "sentiment": "flat"},
        {"action": "sell", "sentiment": "bullish"},
        {"action": "sell", "direction": "flat"},
        {"action": "sell", "positionSide": "LONG"},
        {"action": "sell", "reduceOnly": True},
        {"action": "sell", "prev_market_position": "long"},
        {"action": "sell", "prev_position": "long", "quantity": 1},
        {"action": "sell", "contracts": 1, "position_size": 2},
        {"action": "buy", "position_size": "-2"},
        {"action": "buy", "market_position": "long", "prev_market_position": "long", "market_position_size": "1",
         "prev_market_position_size": "2"},
        {"action": "sell", "strategy": {"order": {"comment": "Long TP"}}},
        {"action": "sell", "comment": "TP 1 hit @ 345"},
        {"action": "sell", "order_id": "Long SL"},
        {"action": "sell", "message": "Trailing stop triggered"},
        {"action": "close_at_market_price"},
        {"action": "long_exit"},
        {"action": "Long Stop"},
        {"action": "sell", "type": "partial"},
        {"action": "sell", "close_percent": 50},
        {"action": "sell", "exit": True},
        {"signal": "sell to close call"},
        {"action": "reduce"},
        {"action": "close_buy"},
        {"signal": "Partial exit 50%"},
        {"signal": "Stop loss hit"},
        {"signal": "Long Position Closed"},
        {"signal": "scale out"},
        {"type": "exit", "side": "sell"},
        {"signal": "sell_half"},
        {"signal": "SELL-ALL now"},
        {"signal": "tp_sell  position"},
        {"event": "tp_hit", "side": "buy"},
        {"exit_long": 1, "exit_short": 0},
        {"market_position": "flat", "prev_market_position": "long"},
    ],
)  # fmt: skip
def test_the_end_of_a_position_is_an_exit_alert_never_an_entry(said: dict[str, object]) -> None:
    found = read({**COMPLETE, "action": None, **said})
    assert isinstance(found, ExitAlert)
    assert found.as_problem().code == "exit_alert"


def test_an_exit_alert_needs_no_other_field() -> None:
    assert isinstance(read({"action": "close"}), ExitAlert)


@pytest.mark.parametrize(
    "value",
    [
        "hold",
        "long or short",
        "not long",
        "don't buy",
        "\u00e9long",
        "beyond <script>",
        "l\u043eng",
        "maybe",
        "move_sl",
        "update take profit",
        True,
        ["buy"],
        0,
        2,
    ],
)
def test_what_points_nowhere_is_refused(value: object) -> None:
    assert list(problems_of({**COMPLETE, "action": value})) == ["direction"]


@pytest.mark.parametrize("said", [{"close": 1}, {"open": 1, "tp": 1}, {"sl": True}, {"buy": 0}, {"buy": 1, "sell": 1}])
def test_a_price_of_one_is_no_flag(said: dict[str, object]) -> None:
    assert problems_of({**COMPLETE, "action": None, **said}) == {"direction": "missing"}


def test_prose_in_a_comment_never_decides() -> None:
    assert problems_of({**COMPLETE, "action": None, "comment": "Bullish engulfing, buy"}) == {
        "direction": "unknown_direction"
    }


def test_a_contradiction_is_noted() -> None:
    (note,) = alert_of({**COMPLETE, "direction": "short"}).notes
    assert "direction says short" in note
    assert alert_of(COMPLETE).notes == ()


@given(st.text(max_size=40))
def test_no_word_becomes_a_direction_by_accident(word: str) -> None:
    try:
        found = read({**COMPLETE, "action": word})
    except UnreadableAlert:
        return
    assert isinstance(found, ExitAlert) or found.direction in Direction


def test_a_pinned_direction_does_not_turn_an_exit_into_an_entry() -> None:
    said = {**COMPLETE, "way": "sell", "market_position": "flat"}
    assert isinstance(read(said, rules=SourceRules(paths={"direction": "way"})), ExitAlert)


# Texts


def of_text(text: str) -> Alert | ExitAlert:
    return read_alert(text, rules=LENIENT, received_at=NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SPY: SELL - All oscillators agree!", ("SPY", "short", "5")),
        ("buy BTCUSDT", ("BTCUSDT", "long", "5")),
        ("buy 005930", ("005930", "long", "5")),
        ("SELL btcusdt", ("btcusdt", "short", "5")),
        ("long SPY 15m", ("SPY", "long", "15")),
        ("ticker=SPY;action=buy;interval=1D", ("SPY", "long", "1D")),
        ("ticker: SPY, action: sell, tf: 1h, price: 589.10", ("SPY", "short", "60")),
        ("Symbol: SPY Action: BUY Timeframe: 4h", ("SPY", "long", "240")),
        ("order buy @ 1 filled on SPY. New strategy position is 1", ("SPY", "long", "5")),
        (
            "MACD bull (12,26,9): order sell @ 1 filled on NASDAQ:AAPL. New strategy position is -1",
            ("AAPL", "short", "5"),
        ),
        (
            "Close above Bull: order\nbuy @ 0.5\nfilled on BTCUSDT.P. New strategy position is 0.5",
            ("BTCUSDT.P", "long", "5"),
        ),
        ("Bull flag bot: sell SPY", ("SPY", "short", "5")),
        ("BTCUSDT: buy", ("BTCUSDT", "long", "5")),
        ("\U0001f7e2 BUY: BTCUSDT @ 30000", ("BTCUSDT", "long", "5")),
        ("MACD crossed, long on SPY", ("SPY", "long", "5")),
        ("SuperTrend Sell, BINANCE:BTCUSDT", ("BTCUSDT", "short", "5")),
        ("NASDAQ:AAPL 15 - Bullish engulfing", ("AAPL", "long", "15")),
        ("\U0001f514 LONG #BTC/USDT\nEntry: 30000\nTP1: 31000\nSL: 29000", ("BTC/USDT", "long", "5")),
        ("60123456789,sell,GBPJPY,sl=50,risk=1", ("GBPJPY", "short", "5")),
        ("MyKeys(XBTUSD) { market(side=buy, amount=100); }", ("XBTUSD", "long", "5")),
        ("sell put SPY", ("SPY", "long", "5")),
        ("LONG RE-ENTRY SPY @ EMA20", ("SPY", "long", "5")),
        ("Supertrend Buy signal on SPY, 60", ("SPY", "long", "60")),
        ("Bearish divergence on BTCUSDT.P, 1D", ("BTCUSDT.P", "short", "1D")),
        ("SHORT SPY @ 589 | SL/TP via ATR", ("SPY", "short", "5")),
        ('"buy SPY', ("SPY", "long", "5")),
        ("[Scalper] buy SPY", ("SPY", "long", "5")),
    ],
)
def test_a_text_is_read(text: str, expected: tuple[str, str, str]) -> None:
    alert = of_text(text)
    assert isinstance(alert, Alert)
    assert (alert.symbol, alert.direction, alert.timeframe) == expected


@pytest.mark.parametrize(
    "text",
    [
        "order sell @ 1 filled on SPY. New strategy position is 0",
        "Bot: order sell @ 1 filled on SPY. New strategy position is 2",
        "Bot: order buy @ 1 filled on SPY. New strategy position is -2",
        "close BTCUSDT",
        "close long BTCUSDT",
        "EXIT SPY at 589",
        "60123456789,closelong,GBPUSD",
        "TP1 hit BTCUSDT",
        "Stop loss hit on SPY",
        "Stop loss: SPY",
        "Sell half SPY",
        "sell to close SPY",
        "SPY: flat",
        "symbol=SPY,action=sell,market_position=flat",
        "a=acc s=XBTUSD c=position b=long",
        "Long Position Closed",
        "STC SPY 500c 12/18",
        "1234567890,closeallbuysell,EURUSD",
        "1234567890,closelongpct,EURUSD,vol=50",
    ],
)
def test_a_text_that_tells_of_an_exit_is_an_exit_alert(text: str) -> None:
    assert isinstance(of_text(text), ExitAlert)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("hello", {"symbol": "missing", "direction": "missing"}),
        ("NASDAQ:AAPL, price = 123", {"direction": "missing"}),
        ("SPY Crossing 450", {"direction": "missing"}),
        ("RSI (14, close) Crossing Down 30.00 on NASDAQ:AAPL, 15", {"direction": "missing"}),
        ("Buy signal", {"symbol": "missing"}),
        ("buy now SPY QQQ", {"symbol": "missing"}),
        ("don't buy SPY", {"direction": "unknown_direction"}),
        ("long or short SPY", {"direction": "unknown_direction"}),
        ("buy {{ticker}}", {"symbol": "unfilled_placeholder"}),
        ("action={{strategy.order.action}};ticker=SPY", {"direction": "unfilled_placeholder"}),
        ("buy \u0405\u0420Y", {"symbol": "unknown_symbol"}),
        ("buy SPY\u200b", {"symbol": "unknown_symbol"}),
        ("ticker=SPY,action=buy,interval=soon", {"timeframe": "unknown_timeframe"}),
    ],
)
def test_a_text_that_does_not_say_it_all_is_refused_field_by_field(text: str, codes: dict[str, str]) -> None:
    with pytest.raises(UnreadableAlert) as refused:
        of_text(text)
    assert {problem.field: problem.code for problem in refused.value.problems} == codes


@given(
    st.text(max_size=60),
    st.sampled_from(["buy SPY %s", "%s", "action=buy;ticker=SPY;x=%s", '{"action": buy, "a": %s}']),
)
def test_no_text_whatever_raises_anything_but_problems(text: str, form: str) -> None:
    try:
        found = of_text(form % text)
    except UnreadableAlert as refused:
        for problem in refused.problems:
            json.dumps(problem.as_json()).encode()
    else:
        assert isinstance(found, Alert | ExitAlert)


# Timeframes


@pytest.mark.parametrize(
    ("given_timeframe", "timeframe"),
    [
        ("15", "15"), (15, "15"), (15.0, "15"), ("015", "15"), ("15m", "15"), ("15 min", "15"), ("1h", "60"), ("4H", "240"),
        ("1hour", "60"), ("D", "1D"), ("d", "1D"), ("1D", "1D"), ("daily", "1D"), ("W", "1W"), ("1w", "1W"), ("M", "1M"),
        ("1M", "1M"), ("3M", "3M"), ("m", "1"), ("1m", "1"), ("30S", "30S"), ("30s", "30S"), ("S", "1S"), ("240", "240"),
        ("1mo", "1M"), ("H4", "240"), ("M15", "15"), ("D1", "1D"), ("MN1", "1M"), ("100T", "100T"),
    ],
)  # fmt: skip
def test_a_timeframe_is_kept_as_tradingview_writes_it(given_timeframe: object, timeframe: str) -> None:
    assert alert_of({**COMPLETE, "interval": given_timeframe}).timeframe == timeframe


@pytest.mark.parametrize(
    "value", ["0", 0, -5, "1.5", 1.5, "soon", "15x", "M1", "\uff11\uff15", "999999", True, ["15"], "15m\u200b"]
)
def test_what_is_no_timeframe_is_refused(value: object) -> None:
    assert list(problems_of({**COMPLETE, "interval": value}, rules=SourceRules(default_timeframe="5"))) == ["timeframe"]


# Times


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-02T14:30:00Z", "2026-03-02T14:30:00.000Z", "2026-03-02T14:30Z", "2026-03-02 14:30:00", "20260302T143000Z",
        "2026-03-02T15:30:00+01:00", "2026-03-02T09:30:00-0500", "2026-03-02T14:30:00+00", "2026-03-02 14:30:00 UTC",
        1772461800, "1772461800", 1772461800000, "1772461800000", 1772461800000000, 1772461800.0, "1772461800.000",
    ],
)  # fmt: skip
def test_a_time_is_read_as_the_moment_it_names(value: object) -> None:
    assert alert_of({**COMPLETE, "time": value}).timestamp == datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


@given(
    st.datetimes(min_value=datetime(2000, 1, 2), max_value=datetime(2026, 3, 1)),  # noqa: DTZ001 - as Hypothesis takes them
    st.integers(-14 * 60, 14 * 60),
)
def test_every_moment_survives_being_written(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=UTC)
    elsewhere = aware.astimezone(timezone(timedelta(minutes=minutes)))
    microseconds = int((aware - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    assert alert_of({**COMPLETE, "time": elsewhere.isoformat()}).timestamp == aware
    if microseconds >= 10**14:
        assert alert_of({**COMPLETE, "time": microseconds}).timestamp == aware


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("2026-03-02T14:32:01Z", "in_the_future"),
        (1772461800 + 3600, "in_the_future"),
        ("9999-12-31T23:59:59Z", "in_the_future"),
        ("1999-12-31T23:59:59Z", "out_of_range"),
        ("0001-01-01T00:00:00+14:00", "unknown_time"),
        (0, "out_of_range"),
        (20260302, "out_of_range"),
        (10**17, "unknown_time"),
        (10**30, "unknown_time"),
        ("14:30", "unknown_time"),
        ("2026-02-30T00:00:00Z", "unknown_time"),
        ("2026-03-02T25:00:00Z", "unknown_time"),
        ("2026-03-02T14:30:00+99:00", "unknown_time"),
        ("03/02/2026", "unknown_time"),
        (-5, "unknown_time"),
        (True, "wrong_type"),
        (["2026"], "wrong_type"),
    ],
)
def test_what_is_no_time_is_refused(value: object, code: str) -> None:
    everything = SourceRules(accept_missing_timestamp=True)
    assert problems_of({**COMPLETE, "time": value}, rules=everything) == {"timestamp": code}


def test_a_minute_ahead_is_accepted() -> None:
    assert alert_of({**COMPLETE, "time": "2026-03-02T14:32:00Z"}).timestamp == NOW + timedelta(minutes=1)


def test_a_naive_time_in_the_hour_that_daylight_saving_skips_is_utc() -> None:
    assert alert_of({**COMPLETE, "time": "2025-03-30 02:30:00"}).timestamp == datetime(2025, 3, 30, 2, 30, tzinfo=UTC)


# Anything


@given(
    st.dictionaries(
        st.sampled_from(
            ["ticker", "symbol", "action", "side", "interval", "tf", "time", "ts", "market_position", "right"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
            max_leaves=4,
        ),
    )
)
def test_no_values_whatever_raise_anything_but_problems(said: dict[str, object]) -> None:
    try:
        found = read(said)
    except UnreadableAlert as refused:
        for problem in refused.problems:
            json.dumps(problem.as_json()).encode()
    else:
        assert isinstance(found, Alert | ExitAlert)
