"""Columns of the admin's lists, made from the path that leads to a value."""

from collections.abc import Callable
from typing import Any

from django.utils.safestring import SafeString
from unfold.decorators import display

from orchestrator.display import NOTHING, TONES, amount, follow, gain, link, moment, money

Column = Callable[[Any], Any]


def word(path: str, title: str = "") -> Column:
    """A word of the vocabulary as a coloured label."""

    def shown(row: Any) -> str | None:
        value = follow(row, path)
        return None if value is None else str(value)

    return _named(shown, path, title, label=TONES)


def when(path: str, title: str = "") -> Column:
    """A time in UTC."""
    return _named(lambda row: moment(follow(row, path)), path, title)


def price(path: str, title: str = "") -> Column:
    """A price or another amount of money."""
    return _named(lambda row: money(follow(row, path)), path, title)


def number(path: str, title: str = "") -> Column:
    """A number without trailing zeros."""
    return _named(lambda row: amount(follow(row, path)), path, title)


def profit(path: str, title: str = "P&L") -> Column:
    """A profit or loss with its sign and colour."""
    return _named(lambda row: gain(follow(row, path)), path, title)


def text(path: str, title: str = "", *, longest: int = 80) -> Column:
    """The beginning of a text."""

    def shown(row: Any) -> str:
        value = str(follow(row, path) or "")
        return value if len(value) <= longest else f"{value[:longest]}…"

    return _named(shown, path, title)


def row_link(path: str, title: str = "") -> Column:
    """A link to the row that ``path`` leads to."""
    return _named(lambda row: link(follow(row, path)), path, title)


def experiment_link(path: str = "experiment") -> Column:
    """A link to the experiment, named by its alert: ``SPY long 15``."""

    def shown(row: Any) -> SafeString:
        experiment = follow(row, path)
        return NOTHING if experiment is None else link(experiment, alert_name(experiment.signal))

    return _named(shown, path, "experiment", ordering=f"{path}_id")


def alert_name(signal: Any) -> str:
    """Return what an alert said in three words: symbol, direction, timeframe."""
    return f"{signal.symbol} {signal.direction} {signal.timeframe}"


def _named(shown: Column, path: str, title: str, *, ordering: str | None = None, label: Any = None) -> Column:
    shown.__name__ = path
    named: Column = display(
        shown, description=title or path.rsplit("__", 1)[-1].replace("_", " "), ordering=ordering or path, label=label
    )
    return named
