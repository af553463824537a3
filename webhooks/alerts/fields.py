"""Where the four fields of an alert may stand: their spellings, and the order in which they are looked for."""

from collections.abc import Mapping
from dataclasses import dataclass

from webhooks.alerts.values import Body, JsonValue, is_given, plain_name

__all__ = [
    "AMBIGUOUS_NAMES",
    "NAMES",
    "Candidate",
    "candidates_for",
    "each_named",
    "is_named",
    "is_placeholder",
    "named",
    "plain_name",
    "value_at",
]

# Spellings without case and separators: "Order_Action", "order-action" and "orderAction" are one name.
NAMES: Mapping[str, tuple[str, ...]] = {
    "symbol": (
        "symbol", "ticker", "tickerid", "tickersymbol", "tickername", "symbolname", "tvsymbol", "tvticker", "tvinstrument",
        "tradingsymbol", "syminfoticker", "syminfotickerid", "instrument", "instrumentname", "pair", "tradingpair",
        "currencypair", "pairname", "sym", "symb", "stock", "stocksymbol", "stockname", "asset", "assetname", "coin", "coinpair",
        "underlying", "underlyingsymbol", "security", "contract", "scrip", "product", "productid", "epic", "crypto", "par",
        "simbolo", "ativo", "activo",
    ),
    "direction": (
        "direction", "side", "action", "tradedirection", "signaldirection", "orderdirection", "orderaction",
        "strategyorderaction", "orderside", "tradeside", "signalside", "signal", "signals", "signaltype", "signalaction", "tradeaction",
        "tradesignal", "tradetype", "transactiontype", "actiontype", "entrytype", "buysell", "buyorsell", "longshort",
        "longorshort", "dir", "cmd", "command", "operation", "op", "verb", "bookside", "order",
        "ordertype", "trade", "tradingaction", "accion", "acao", "direccion", "direcao", "lado", "operacion",
    ),
    "timeframe": (
        "timeframe", "tf", "interval", "resolution", "chartinterval", "charttimeframe", "charttf", "barinterval",
        "bartimeframe", "candleinterval", "candletimeframe", "timeinterval", "chartresolution", "timeperiod",
        "timeframeperiod", "signaltimeframe", "strategytimeframe", "tvinterval", "granularity", "barsize", "candlesize", "res",
        "temporalidad",
    ),
    "timestamp": (
        "timestamp", "time", "datetime", "signaltime", "signaltimestamp", "bartime", "candletime", "alerttime",
        "alerttimestamp", "triggertime", "triggeredat", "triggerat", "firedat", "firetime", "timenow", "currenttime",
        "createdat", "sentat", "sendtime", "sendat", "eventtime", "entrytime", "ordertime", "tradetime", "utctime", "timeutc",
        "timestampms", "timems", "timestamputc", "utctimestamp", "sourcetimestamp", "signalts", "barts", "eventts",
        "unixtime", "unixtimestamp", "epoch", "tvtime", "ts", "barclosetime", "fechahora",
    ),
}  # fmt: skip
# Names that often mean something else; looked at when no better one can be read.
AMBIGUOUS_NAMES: Mapping[str, tuple[str, ...]] = {
    "symbol": ("market", "token", "name", "currency", "code", "base", "s"),
    "direction": ("sentiment", "bias", "trend", "position", "event", "eventtype", "type", "b", "entry", "data", "state", "status", "alert", "alertname",
                  "alerttype", "message", "msg", "text", "title", "comment", "ordercomment", "id", "orderid", "alertmessage"),
    "timeframe": ("period", "frame", "chart"),
    "timestamp": ("date", "at", "now", "timeclose", "opentime", "closetime"),
}  # fmt: skip

# The place of each name among those of its field. Ambiguous ones come after all others.
_PLACES = {
    field: {name: place for place, name in enumerate((*names, *AMBIGUOUS_NAMES[field]))}
    for field, names in NAMES.items()
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that may be one of the four fields, and its path; ``ambiguous`` when its name often means something else."""

    path: str
    value: JsonValue
    name: str
    ambiguous: bool = False


def candidates_for(field: str, body: Body, *, pinned: str | None = None) -> list[Candidate]:
    """Return the values that may be ``field``, best first; with a pinned path only what stands there.

    Top level before each further level of nesting, in the order of the spellings, and ambiguous names after all others.
    Absent, null and empty values are left out.
    """
    if pinned:
        found = value_at(pinned, body.payload)
        return [Candidate(pinned, found, plain_name(pinned.rpartition(".")[2]))] if is_given(found) else []
    places, first_ambiguous = _PLACES[field], len(NAMES[field])
    present = sorted(body.names.intersection(places), key=places.__getitem__)
    return [
        Candidate(path, value, name, ambiguous)
        for ambiguous in (False, True)
        for level in body.levels
        for name in present
        if (places[name] >= first_ambiguous) is ambiguous
        for path, value in level.get(name, [])
    ]


def named(names: tuple[str, ...], body: Body) -> Candidate | None:
    """Return the first value that has one of these plain names, top level first; None when there is none."""
    if body.names.isdisjoint(names):
        return None
    for level in body.levels:
        for name in names:
            if found := level.get(name):
                return Candidate(*found[0], name)
    return None


def each_named(names: tuple[str, ...], body: Body) -> list[Candidate]:
    """Return the first value of each of these plain names that a body has, in the order of the names."""
    return [found for name in names if name in body.names and (found := named((name,), body))]


def is_named(field: str, body: Body) -> bool:
    """Tell whether a body has a value under one of a field's own names, at any level."""
    return not body.names.isdisjoint(NAMES[field])


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
