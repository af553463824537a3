"""Makes the sample alerts: TradingView's JSON, from real daily prices of the S&P 500 and the NASDAQ Composite.

The prices ship in the wheel of the statistics package `arch` (a development dependency); README.md beside this file says
under which licence. Nothing is random and nothing is fetched: the same prices give the same file, to the byte.

The rule: when the daily close crosses its 6-day simple moving average, the strategy turns round, long above it and short
below it. Every crossing from 2007 to 2011 is one alert, an entry. The plotted values (RSI, ATR, slow average) are what a
person would add to such a message; they decide nothing here.

Run it with `python -m orchestrator.samples.make_alerts`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from arch.data import nasdaq, sp500

ALERTS_FILE = Path(__file__).with_name("alerts.jsonl")
FIRST_DAY, LAST_DAY = date(2007, 1, 1), date(2011, 12, 31)
FAST_BARS, SLOW_BARS, RSI_BARS, ATR_BARS = 6, 50, 14, 14
EXCHANGE_OPENS = time(9, 30, tzinfo=ZoneInfo("America/New_York"))


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of trading; prices in index points, volume in shares."""

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: int


def all_alerts() -> list[dict[str, object]]:
    """Return the alerts of both indices, oldest first."""
    alerts = [
        *alerts_of("SPX", "SP", read_bars(sp500.load())),
        *alerts_of("IXIC", "NASDAQ", read_bars(nasdaq.load())),
    ]
    return sorted(alerts, key=lambda alert: (str(alert["time"]), str(alert["ticker"])))


def alerts_of(ticker: str, exchange: str, bars: list[Bar]) -> Iterator[dict[str, object]]:
    """Yield one alert for each bar at which the close crosses its fast average."""
    closes = [bar.close for bar in bars]
    fast, slow = moving_average(closes, FAST_BARS), moving_average(closes, SLOW_BARS)
    rsi, atr = relative_strength(closes, RSI_BARS), average_true_range(bars, ATR_BARS)
    for index in range(SLOW_BARS, len(bars)):
        bar, above = bars[index], closes[index] > fast[index]
        if above == (closes[index - 1] > fast[index - 1]) or not FIRST_DAY <= bar.day <= LAST_DAY:
            continue
        yield {
            "ticker": ticker,
            "exchange": exchange,
            "interval": "1D",
            "time": datetime.combine(bar.day, EXCHANGE_OPENS).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": bar.volume,
            "action": "buy" if above else "sell",
            "market_position": "long" if above else "short",
            "prev_market_position": "short" if above else "long",
            "rsi": round(rsi[index], 2),
            "atr": round(atr[index], 2),
            "sma_fast": round(fast[index], 2),
            "sma_slow": round(slow[index], 2),
        }


def read_bars(frame: object) -> list[Bar]:
    """Read the columns Open, High, Low, Close and Volume of a pandas table, prices to the hundredth of a point."""
    return [
        Bar(
            row.Index.date(),
            open=round(row.Open, 2),
            high=round(row.High, 2),
            low=round(row.Low, 2),
            close=round(row.Close, 2),
            volume=int(row.Volume),
        )
        for row in frame.itertuples()  # type: ignore[attr-defined]
    ]


def moving_average(values: list[float], bars: int) -> list[float]:
    """Return the simple average of the last ``bars`` values; of fewer at the beginning."""
    windows = (values[max(0, index + 1 - bars) : index + 1] for index in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def relative_strength(closes: list[float], bars: int) -> list[float]:
    """Return Wilder's RSI, 0 to 100 (Wilder 1978)."""
    gain = loss = 0.0
    strengths = [50.0]
    for before, now in pairwise(closes):
        gain += (max(now - before, 0.0) - gain) / bars
        loss += (max(before - now, 0.0) - loss) / bars
        strengths.append(100 * gain / (gain + loss) if gain + loss else 50.0)
    return strengths


def average_true_range(bars: list[Bar], smoothing: int) -> list[float]:
    """Return Wilder's ATR in index points (Wilder 1978)."""
    average = bars[0].high - bars[0].low
    ranges = [average]
    for before, now in pairwise(bars):
        true_range = max(now.high, before.close) - min(now.low, before.close)
        average += (true_range - average) / smoothing
        ranges.append(average)
    return ranges


def alerts_text() -> str:
    """Return the file's content: one JSON object a line."""
    return "".join(json.dumps(alert) + "\n" for alert in all_alerts())


if __name__ == "__main__":
    ALERTS_FILE.write_text(alerts_text(), encoding="utf-8")
