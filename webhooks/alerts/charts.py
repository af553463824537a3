"""What TradingView fills into a message: charts and orders that differ in all that breaks messages."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from webhooks.alerts.nearly_json import PLACEHOLDER

_PLACEHOLDER = re.compile(PLACEHOLDER)
_PLOT = re.compile(r"plot(?:_[0-9]{1,2}|\(.{0,90}\))")


@dataclass(frozen=True, slots=True)
class Order:
    """What a strategy did there: the order, and its position before and after."""

    name: str
    action: str
    before: str
    now: str
    comment: str
    is_exit: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """One alert as it fires on one chart; ``plot`` is what every plot of the indicator gives there."""

    name: str
    exchange: str
    ticker: str
    interval: str
    close: str
    plot: str
    order: Order | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_exit(self) -> bool:
        """Whether the order closes a position."""
        return self.order is not None and self.order.is_exit


_CHARTS = (
    Chart("a stock, 15 minutes", "NASDAQ", "AAPL", "15", "231.5", "61.25"),
    Chart("a stock, 1 day", "NYSE", "BRK.B", "1D", "478.91", "NaN"),
    Chart("a future, 1 hour", "CME_MINI", "MNQ1!", "60", "21034.25", "1"),
    Chart("crypto, 1 week", "BINANCE", "BTCUSDT.P", "1W", "64050.1", "-0.00042"),
    Chart("currencies, 30 seconds", "FX", "EURUSD", "30S", "1.0853", ""),
    Chart("a stock with a number, 1 month", "KRX", "005930", "1M", "61200", "3"),
)
_ORDERS = (
    Order("buy, flat → long", "buy", "flat", "long", "Long"),
    Order("sell, long → flat", "sell", "long", "flat", "Close entry(s) order Long", is_exit=True),
    Order("sell, long → short", "sell", "long", "short", "Short"),
    Order("sell, flat → short", "sell", "flat", "short", 'Breakout "B"'),
    Order("buy, short → flat", "buy", "short", "flat", "Stop\nhit", is_exit=True),
    Order("buy, flat → long", "buy", "flat", "long", "Long"),
)
_SIGNS = {"long": "1", "short": "-1", "flat": "0"}


def placeholders_in(text: str) -> list[str]:
    """Return the names of the placeholders of a message, each once, in their order."""
    return list(dict.fromkeys(match.group()[2:-2] for match in _PLACEHOLDER.finditer(text)))


def is_plot(name: str) -> bool:
    """Tell whether a placeholder is a plot of the indicator, which may be empty."""
    return _PLOT.fullmatch(name) is not None


def is_known(name: str) -> bool:
    """Tell whether TradingView fills a placeholder in."""
    return is_plot(name) or name in _values(_CHARTS[0], _ORDERS[0], datetime(2026, 1, 1))  # noqa: DTZ001 - any moment


def filled(text: str, chart: Chart) -> str:
    """Return the message with its placeholders replaced; those that TradingView does not know stay as they are."""

    def value(match: re.Match[str]) -> str:
        name = match.group()[2:-2]
        return chart.plot if is_plot(name) else chart.values.get(name, match.group())

    return _PLACEHOLDER.sub(value, text)


def charts_for(placeholders: Collection[str], at: datetime) -> list[Chart]:
    """Return the charts to try a message on that has these placeholders, with orders if any of them is a strategy's."""
    if not any(name.startswith("strategy.") for name in placeholders):
        return [_on(chart, None, at) for chart in _CHARTS]
    return [_on(chart, order, at) for chart, order in zip(_CHARTS, _ORDERS, strict=True)]


def _on(chart: Chart, order: Order | None, at: datetime) -> Chart:
    return Chart(
        f"{chart.name}: {order.name}" if order else chart.name,
        chart.exchange, chart.ticker, chart.interval, chart.close, chart.plot, order, _values(chart, order, at),
    )  # fmt: skip


def _values(chart: Chart, order: Order | None, at: datetime) -> dict[str, str]:
    values = {
        "ticker": chart.ticker,
        "exchange": chart.exchange,
        "interval": chart.interval,
        "close": chart.close,
        "open": chart.close,
        "high": chart.close,
        "low": chart.close,
        "volume": "1200.5",
        "time": f"{at - timedelta(minutes=1):%Y-%m-%dT%H:%M:00Z}",
        "timenow": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "syminfo.currency": "USD",
        "syminfo.basecurrency": "BTC",
    }
    if order is None:
        return values
    return values | {
        "strategy.order.action": order.action,
        "strategy.order.contracts": "1",
        "strategy.order.price": chart.close,
        "strategy.order.id": order.comment.partition("\n")[0].replace('"', ""),
        "strategy.order.comment": order.comment,
        "strategy.order.alert_message": order.comment,
        "strategy.position_size": _SIGNS[order.now],
        "strategy.market_position": order.now,
        "strategy.market_position_size": _SIGNS[order.now].lstrip("-"),
        "strategy.prev_market_position": order.before,
        "strategy.prev_market_position_size": _SIGNS[order.before].lstrip("-"),
    }
