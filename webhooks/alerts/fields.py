"""Where the four fields of an alert may stand: their spellings, and the order in which they are looked for."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from webhooks.alerts.bodies import Body, JsonValue

# Spellings without case and separators: "Order_Action", "order-action" and "orderAction" are one name.
NAMES: Mapping[str, tuple[str, ...]] = {
    "symbol": (
        "symbol", "ticker", "tickerid", "tickersymbol", "tvsymbol", "instrument", "pair", "tradingpair", "currencypair",
        "sym", "stock", "asset", "coin", "underlying", "security", "contract", "epic",
    ),
    "direction": (
        "direction", "side", "action", "tradedirection", "signaldirection", "orderaction", "strategyorderaction",
        "orderside", "tradeside", "positionside", "signal", "signaltype", "tradeaction", "tradetype", "buysell",
        "longshort", "bias", "sentiment", "cmd", "command", "operation", "op", "order", "ordertype",
    ),
    "timeframe": (
        "timeframe", "tf", "interval", "resolution", "chartinterval", "charttimeframe", "barinterval", "bartimeframe",
        "candleinterval", "timeinterval", "chartresolution", "timeperiod", "res",
    ),
    "timestamp": (
        "timestamp", "time", "datetime", "signaltime", "bartime", "candletime", "alerttime", "triggertime",
        "triggeredat", "firedat", "timenow", "createdat", "sentat", "eventtime", "utctime", "ts", "barclosetime",
    ),
}  # fmt: skip
# Names that often mean something else; looked at when no better one can be read.
AMBIGUOUS_NAMES: Mapping[str, tuple[str, ...]] = {
    "symbol": ("market", "token", "name"),
    "direction": ("position", "event", "type", "alert", "alertname", "message", "text", "comment", "id", "orderid"),
    "timeframe": ("period", "frame"),
    "timestamp": ("date", "at", "now", "timeclose"),
}
_SEPARATORS = re.compile(r"[\s_.\-]+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that may be one of the four fields, and its path; ``ambiguous`` when its name often means something else."""

    path: str
    value: JsonValue
    ambiguous: bool = False

    @property
    def name(self) -> str:
        """The last step of the path, without case and separators."""
        return plain_name(self.path.rpartition(".")[2])


def plain_name(key: str) -> str:
    """Return a key without case and separators."""
    return _SEPARATORS.sub("", key).casefold()


def candidates_for(field: str, body: Body, *, pinned: str | None = None) -> list[Candidate]:
    """Return the values that may be ``field``, best first; with a pinned path only what stands there.

    Top level before one level of nesting, in the order of the spellings, and ambiguous names after all others.
    Absent, null and empty values are left out.
    """
    if pinned:
        found = value_at(pinned, body.payload)
        return [Candidate(pinned, found)] if _is_given(found) else []
    top, nested = _levels(body)
    return [
        replace(candidate, ambiguous=ambiguous)
        for names, ambiguous in ((NAMES[field], False), (AMBIGUOUS_NAMES[field], True))
        for level in (top, nested)
        for name in names
        for candidate in level.get(name, [])
    ]


def named(names: tuple[str, ...], body: Body) -> Candidate | None:
    """Return the first value that has one of these plain names, top level first; None when there is none."""
    for level in _levels(body):
        for name in names:
            if found := level.get(name):
                return found[0]
    return None


def is_placeholder(value: JsonValue) -> bool:
    """Tell whether a value is a TradingView placeholder that was not filled in, such as ``{{ticker}}``."""
    return isinstance(value, str) and "{{" in value and "}}" in value


def value_at(path: str, payload: JsonValue) -> JsonValue:
    """Return what stands at a pinned path such as ``order.side`` or ``[0].side``; None when nothing does."""
    value = payload
    rest = path.strip()
    while rest:
        if isinstance(value, dict) and rest in value:
            return value[rest]
        step, _, rest = rest.partition(".")
        value = _step(value, step.strip())
    return value


def _step(value: JsonValue, step: str) -> JsonValue:
    if isinstance(value, list):
        index = step.strip("[]")
        return value[int(index)] if index.isascii() and index.isdigit() and int(index) < len(value) else None
    if isinstance(value, dict):
        if step in value:
            return value[step]
        return next((value[key] for key in value if key.casefold() == step.casefold()), None)
    return None


def _levels(body: Body) -> tuple[dict[str, list[Candidate]], dict[str, list[Candidate]]]:
    """Return what stands at the top and one level deeper, by plain names; made once for a body, for every field asks."""
    if "levels" not in body.index:
        body.index["levels"] = (_by_name(body.fields, prefix=body.prefix), _nested_by_name(body))
    levels: tuple[dict[str, list[Candidate]], dict[str, list[Candidate]]] = body.index["levels"]
    return levels


def _by_name(fields: Mapping[str, JsonValue], *, prefix: str) -> dict[str, list[Candidate]]:
    names: dict[str, list[Candidate]] = {}
    for candidate, key in _given(fields, prefix=prefix):
        names.setdefault(plain_name(key), []).append(candidate)
    return names


def _nested_by_name(body: Body) -> dict[str, list[Candidate]]:
    names: dict[str, list[Candidate]] = {}
    for key, value in body.fields.items():
        if isinstance(value, dict):
            for name, found in _by_name(value, prefix=f"{body.prefix}{key}.").items():
                names.setdefault(name, []).extend(found)
    return names


def _given(fields: Mapping[str, JsonValue], *, prefix: str) -> Iterator[tuple[Candidate, str]]:
    for key, value in fields.items():
        if _is_given(value) and not isinstance(value, dict):
            yield Candidate(f"{prefix}{key}", value), key


def _is_given(value: JsonValue) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip())
