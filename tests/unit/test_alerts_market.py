"""Market fields: every number of an alert with all its digits, or a note that says why it was left out."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.alerts import MarketFields, read_market_fields

prices = st.decimals(0, 10**11, places=8, allow_nan=False, allow_infinity=False)


def read(**fields: object) -> MarketFields:
    return read_market_fields(json.dumps(fields))


def test_known_fields_go_to_their_columns_and_the_other_numbers_are_indicators() -> None:
    body = (
        '{"ticker":"SPY","action":"buy","interval":"5","time":1772461800,"close":589.12,"bid":589.1,"ask":"589.14",'
        '"volume":1200,"rsi":61.20,"open":588,"high":590.5,"ema_20":"587.001","confirmed":true,"note":"12 points"}'
    )
    market = read_market_fields(body)
    assert (market.current_price, market.bid, market.ask) == (Decimal("589.12"), Decimal("589.1"), Decimal("589.14"))
    assert market.volume == 1200
    assert {name: str(value) for name, value in market.indicators.items()} == {
        "rsi": "61.20", "open": "588", "high": "590.5", "ema_20": "587.001",
    }  # fmt: skip
    assert market.notes == {}


@pytest.mark.requirement("property-2")
@given(prices, prices, st.booleans())
def test_a_price_keeps_every_digit(price: Decimal, indicator: Decimal, quoted: bool) -> None:
    written = f'"{price:f}"' if quoted else f"{price:f}"
    market = read_market_fields(f'{{"close": {written}, "vwap": {indicator:f}}}')
    assert f"{market.current_price:f}" == f"{price:f}"
    assert f"{market.indicators['vwap']:f}" == f"{indicator:f}"


def test_price_stands_in_for_close() -> None:
    assert read(price="1.5").current_price == Decimal("1.5")
    both = read(price=1.5, close=2.5)
    assert both.current_price == Decimal("2.5")
    assert both.indicators == {"price": Decimal("1.5")}


def test_what_is_not_said_is_not_known() -> None:
    assert read(ticker="SPY", close=None, bid="", ask="n/a", volume=False) == MarketFields()


@pytest.mark.parametrize(
    "value", ["1e3", "1_000", "1,000", " ", "0x10", "NaN", "Infinity", "١٢", "1.", ".5", "--1", "5m"]
)
def test_a_text_that_is_no_pure_decimal_number_is_no_number(value: str) -> None:
    assert read(rsi=value) == MarketFields()


@pytest.mark.parametrize("price", ["1000000000000", "-0.01", "0.123456789"])
def test_a_price_that_its_column_cannot_hold_stays_an_indicator(price: str) -> None:
    market = read(close=price)
    assert market.current_price is None
    assert market.indicators == {"close": Decimal(price)}
    assert "close" in market.notes


@pytest.mark.parametrize("volume", ["12.5", "-1", str(2**63)])
def test_a_volume_that_is_no_whole_number_stays_an_indicator(volume: str) -> None:
    market = read_market_fields(f'{{"volume": {volume}}}')
    assert market.volume is None
    assert market.indicators == {"volume": Decimal(volume)}
    assert "volume" in market.notes


@pytest.mark.parametrize("volume", ["1200", "1200.0", '"1200"', "1.2e3", str(2**63 - 1)])
def test_a_whole_volume_is_an_integer(volume: str) -> None:
    found = read_market_fields(f'{{"volume": {volume}}}').volume
    assert isinstance(found, int)
    assert found == Decimal(volume.strip('"'))


@pytest.mark.parametrize("number", ["1e300", "1e-300", "1e-99999999999999999999", "9" * 65])
def test_a_number_that_nobody_would_write_out_is_left_out_with_a_note(number: str) -> None:
    market = read_market_fields(f'{{"rsi": {number}}}')
    assert market.indicators == {}
    assert "rsi" in market.notes


def test_nested_numbers_have_dotted_names_and_the_top_level_comes_first() -> None:
    market = read_market_fields('{"bar": {"close": 2, "high": 3, "deep": {"x": 1}}, "close": 1, "list": [1]}')
    assert market.current_price == 1
    assert market.indicators == {"bar.close": 2, "bar.high": 3}
    assert read_market_fields('{"bar": {"close": 2}}').current_price == 2


@given(st.text(max_size=60) | st.dictionaries(st.text(), st.integers() | st.floats() | st.text()).map(json.dumps))
def test_no_body_makes_it_fail_and_nothing_infinite_comes_out(text: str) -> None:
    market = read_market_fields(text)
    assert all(value.is_finite() for value in market.indicators.values())


@pytest.mark.parametrize(
    "body",
    [
        '{"close": 589.1200, "rsi": 61.20, "interval": 1D}',
        "close=589.1200;rsi=61.20",
        "close: 589.1200, rsi: 61.20",
        '{"message": "buy SPY, close: 589.1200, rsi: 61.20"}',
    ],
)
def test_numbers_keep_every_digit_in_nearly_json_and_in_texts(body: str) -> None:
    market = read_market_fields(body)
    assert f"{market.current_price:f}" == "589.1200"
    assert [f"{value:f}" for value in market.indicators.values()] == ["61.20"]


def test_a_number_with_commas_in_a_text_is_not_half_a_number() -> None:
    assert read_market_fields("close: 1,234.50, rsi=1_000") == MarketFields()
