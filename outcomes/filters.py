"""The filters of the reports: which closed trades and which pairs are looked at."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from config.problems import Fault, Refused, shown
from orchestrator.domain.moments import UnreadableMoment, moment_string, read_moment
from orchestrator.domain.vocabulary import ExecutionMode
from webhooks.alerts import symbols, timeframes

NAMES = ("from", "to", "symbol", "timeframe", "mode", "policy_version")
A_VERSION = re.compile(r"[!-~]{1,32}")
A_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
ACCEPTED = {
    "from": "a day such as 2026-03-02, or a time with a zone such as 2026-03-02T14:30:00Z",
    "to": "a day such as 2026-03-02 (all of it), or a time with a zone such as 2026-03-02T14:30:00Z",
    "symbol": "a symbol of at most 64 characters, such as SPY or NASDAQ:AAPL",
    "timeframe": timeframes.ACCEPTED,
    "mode": " or ".join(ExecutionMode),
    "policy_version": "a policy version as experiments name it, such as v1.0-r3",
}


@dataclass(frozen=True, slots=True)
class ReportFilters:
    """What a report is about; None does not restrict. ``since`` and ``until`` are both included, UTC."""

    since: datetime | None = None
    until: datetime | None = None
    symbol: str | None = None
    timeframe: str | None = None
    mode: ExecutionMode | None = None
    policy_version: str | None = None

    @property
    def is_of_everything(self) -> bool:
        """Tell whether nothing but time restricts."""
        return not (self.symbol or self.timeframe or self.mode or self.policy_version)

    def as_json(self) -> dict[str, str | None]:
        return {
            "from": moment_string(self.since) if self.since else None,
            "to": moment_string(self.until) if self.until else None,
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "mode": self.mode.value if self.mode else None,
            "policy_version": self.policy_version,
        }


def read_filters(params: Mapping[str, list[str]]) -> ReportFilters:
    """Return the filters that query parameters or command options stand for, every name with its list of values.

    :raises Refused: naming every filter that makes no sense, what was found and what is accepted.
    """
    faults = [Fault(name, shown(", ".join(params[name])), _only_names()) for name in params if name not in NAMES]
    values: dict[str, Any] = {}
    for name in NAMES:
        if name not in params:
            continue
        try:
            values[name] = _read(name, params[name])
        except ValueError:
            faults.append(Fault(name, shown(" and ".join(params[name])), ACCEPTED[name]))
    since, until = values.get("from"), values.get("to")
    if since and until and since > until:
        faults.append(Fault("to", shown(params["to"][0]), f"a time that is not before from ({moment_string(since)})"))
    if faults:
        raise Refused(faults)
    names = ("symbol", "timeframe", "mode", "policy_version")
    return ReportFilters(since, until, *(values.get(name) for name in names))


def _read(name: str, found: list[str]) -> Any:
    """Return the value of one filter.

    :raises ValueError: when it makes no sense.
    """
    if len(found) != 1:
        raise ValueError(name)
    (text,) = found
    match name:
        case "from":
            return _moment(text, end_of_day=False)
        case "to":
            return _moment(text, end_of_day=True)
        case "mode":
            return ExecutionMode(text)
        case "policy_version":
            if not A_VERSION.fullmatch(text):
                raise ValueError(text)
            return text
        case "timeframe":
            return timeframes.read_timeframe(text)
        case _:
            return symbols.read_symbol(text)[0]


def _moment(text: str, *, end_of_day: bool) -> datetime:
    if A_DAY.fullmatch(text):
        return datetime.combine(date.fromisoformat(text), time.max if end_of_day else time.min, tzinfo=UTC)
    try:
        return read_moment(text, name="time")
    except UnreadableMoment as error:
        raise ValueError(text) from error


def _only_names() -> str:
    return f"no such filter; there are {', '.join(NAMES)}"
