"""An alert that is a text: the pairs in it, and what its words say of symbol, direction, timeframe and time.

Pairs are ``key=value`` and ``key: value``, apart by commas, semicolons, bars or lines. What is no pair is read for an order:
``action`` are the words that point somewhere, ``ticker`` the one word that can only be a symbol, ``interval`` and ``time`` a
word that is nothing else. The sentence that TradingView sends for a strategy by default is read as the form that it is, so
that a strategy's name never decides. Everything stays a text: no digit of a number is lost.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from webhooks.alerts.fields import AMBIGUOUS_NAMES, NAMES
from webhooks.alerts.nearly_json import PLACEHOLDER
from webhooks.alerts.values import JsonValue, plain_name, refuse
from webhooks.alerts.words import points, read_sentence, read_word

# Fields of an object that carry the alert as a text.
WRAPPERS = frozenset({
    "message", "msg", "text", "content", "alert", "alertmessage", "alert_message", "body", "description", "value", "data", "title", "mes", "note",
    "notification", "payload",
})  # fmt: skip
WHOLE = "alert_text"  # the whole text, when not all of it is pairs
MOST_WORDS, LONGEST_TEXT = 1000, 16_384  # more than any message of TradingView's; a novel is no alert
LONGEST_LABEL = 3  # words before a colon that can be a name: "Order Action: buy"
_NUM = r"[-+]?[0-9][0-9.,]{0,40}"
_STRATEGY = re.compile(
    rf"\border (?P<action>\w{{2,20}}) @ (?P<amount>{_NUM}|{PLACEHOLDER})(?: for (?P<size>{_NUM}))? filled on "
    rf"(?P<ticker>{PLACEHOLDER}|\S{{1,80}}?)(?: at (?P<time>[0-9T:.Z+\-]{{8,40}}))?\.? New strategy position is "
    rf"(?P<position>{_NUM}|{PLACEHOLDER})",
    re.IGNORECASE,
)
# A comma between two digits may belong to a number.
_SEGMENTS = re.compile(r"[;\r\n|\t]+|,(?![0-9])|(?<![0-9]),|&(?=[\w.\-]{1,40}=)| [\-\u2013\u2014\u2022\u00b7] ")
_PIECES = re.compile(r"[^\s,;|&=:]++")
_TOKENS = re.compile(rf"(?:{PLACEHOLDER}|[^\s(){{}}\[\]])++")
_EDGES = "\"'`*_#<>()[]{}.,!?~\u201c\u201d\u2018\u2019"
_SYMBOL = re.compile(r"(?:[A-Za-z0-9_]{1,32}:)?[\^.$#@]?[A-Za-z0-9][A-Za-z0-9._!/&+^=@#$\-]{0,63}")
_EXCHANGE = re.compile(r"[A-Z][A-Z0-9_]{1,31}:[A-Za-z0-9.$^#].{0,63}")
_INTERVAL = re.compile(r"[0-9]{1,4}(?:[smhHdDwWMS]|min|mins|hr|hour)|[DW]")
_MARKS = re.compile(r"^(?:[^\w^.@\-\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff])++")  # emoji, but nothing invisible
_MINUTES = frozenset(
    {"1", "2", "3", "5", "10", "15", "20", "30", "45", "60", "90", "120", "180", "240", "360", "480", "720"}
)
_NUMBERED = re.compile(r"0[0-9]{3,5}")  # 005930; without the zero it may be any number
_NO_SYMBOL = re.compile(r"(?i:tp|sl)[0-9]{1,2}|(?!0[0-9])[0-9.]+x?|[0-9.]+[kKpPcC%]")
_BARE_INTERVAL = re.compile(r"[0-9]{1,4}[SDWMHT]?|[DWM]")
_TIME = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]{4,20}(?:Z|[+\-][0-9:]{2,6})?)?|1[0-9]{9}|1[0-9]{12}")
_LEVEL_LABEL = re.compile(r"(?:tp|sl|target|takeprofit|stoploss)[0-9]{0,2}")
_FLAGS = frozenset({"0", "1", "true", "false", "yes", "no"})
_POINTERS = frozenset({"on", "for", "of", "in", "ticker", "symbol", "pair", "stock", "coin"})
_TIMEFRAME_LABELS = frozenset({"tf", "timeframe", "interval"})
_NO_SYMBOLS = frozenset({
    "alert", "alerts", "signal", "signals", "buy", "sell", "long", "short", "entry", "exit", "close", "open", "high", "low", "price",
    "order", "orders", "market", "limit", "stop", "strategy", "position", "new", "now", "at", "on", "for", "of", "in", "the", "a", "an", "is", "to",
    "and", "or", "with", "from", "by", "crossing", "crossed", "cross", "crosses", "up", "down", "above", "below", "over", "under", "rsi",
    "macd", "ema", "sma", "wma", "hma", "vwap", "atr", "adx", "cci", "mfi", "obv", "bb", "kc", "ma", "tp", "sl", "tsl", "ts", "be", "rr", "pnl",
    "qty", "size", "risk", "lev", "leverage", "tf", "timeframe", "interval", "time", "ticker", "symbol", "pair", "exchange", "trend",
    "bullish", "bearish", "bull", "bear", "strong", "weak", "confirmed", "confirmation", "triggered", "trigger", "detected", "trade", "trading",
    "bot", "indicator", "indicators", "volume", "supertrend", "breakout", "reversal", "divergence", "golden", "death", "oversold", "overbought", "put",
    "puts", "call", "calls", "option", "options", "bto", "sto", "stc", "am", "pm", "utc", "est", "ok", "yes", "no", "go", "take", "profit",
    "loss", "hit", "filled", "placed", "stoploss", "takeprofit", "target", "level", "support", "resistance", "zone", "higher", "lower", "first",
    "setup", "scalp", "swing", "daily", "weekly", "hourly", "condition", "conditions", "met", "fired", "activated", "algo", "pro", "v1", "v2", "v3",
    "ha", "st", "fvg", "bos", "choch", "smc", "ict", "ob", "poc", "stoch", "ao", "psar", "dmi", "tema", "dema", "test", "webhook", "tradingview",
    "tv", "nan", "null", "none", "na", "true", "false", "contracts", "lots", "shares", "quantity", "id", "ny", "london", "asia", "session",
    "place", "bar", "candle", "day", "hour", "min", "minute", "reached", "line", "fast", "slow", "cloud", "band", "bands", "upper",
})  # fmt: skip
_KNOWN = frozenset(
    name for table in (NAMES, AMBIGUOUS_NAMES) for names in table.values() for name in names
) | {"price", "close", "open", "high", "low", "volume", "bid", "ask", "entryprice", "exchange", "marketposition", "prevmarketposition",
     "positionsize", "contracts", "quantity", "qty", "strategy", "tp", "sl", "stoploss", "takeprofit", "target", "leverage", "risk"}  # fmt: skip
_POINTING_NAMES = frozenset((*NAMES["direction"], *AMBIGUOUS_NAMES["direction"])) - {"b", "id", "orderid", "comment", "ordercomment", "title"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Item:
    """A labelled value of a text, or words without a label."""

    label: str
    value: str


def pairs_of(text: str) -> dict[str, JsonValue]:
    """Return the pairs of a text, all of them texts, in their order.

    :raises UnreadableAlert: when it has more words than an alert can have.
    """
    pairs: dict[str, JsonValue] = {}
    if len(text) > LONGEST_TEXT or len(_PIECES.findall(text)) > MOST_WORDS:
        refuse(
            "text_too_long",
            f"The body is no JSON, and a text of more than {MOST_WORDS} words or {LONGEST_TEXT} characters.",
        )
    if match := _STRATEGY.search(" ".join(text.split())):
        return _default_message(match)
    prose: list[str] = []
    asides: list[str] = []
    for segment in _SEGMENTS.split(text):
        for item in _items(_TOKENS.findall(segment)):
            _sort(item, pairs, prose, asides)
    if prose or asides:
        _read_prose(prose, asides, pairs)
        pairs.setdefault(WHOLE, text.strip())
    return pairs


def _default_message(match: re.Match[str]) -> dict[str, JsonValue]:
    """Read "MACD bull (12, 26, 9): order sell @ 1 filled on SPY. New strategy position is -1", with what follows."""
    name = match.string[: match.start()].strip().rstrip(":").strip()
    found = match.groupdict()
    pairs: dict[str, JsonValue] = {
        "strategy": name,
        "action": found["action"],
        "price": found["amount"] if found["size"] else None,
        "contracts": found["size"] or found["amount"],
        "ticker": found["ticker"],
        "time": (found["time"] or "").rstrip("."),
        "position_size": found["position"].rstrip(".,"),
    }
    pairs = {key: value for key, value in pairs.items() if value}
    rest = match.string[match.end() :].strip(" .,;")
    if rest:
        prose: list[str] = []
        for segment in _SEGMENTS.split(rest):
            for item in _items(_TOKENS.findall(segment)):
                _sort(item, pairs, prose, prose)
        if prose:
            pairs["comment"] = rest
    return pairs


def _items(tokens: Sequence[str]) -> Iterator[_Item]:
    """Cut one segment into labelled values and words: "long BTCUSD q=0.1 sl=1000" are two words and two pairs."""
    if any("=" in word.strip("=") or word == "=" for word in tokens):
        yield from _equations(tokens)
    else:
        yield from _colons(tokens)


def _equations(tokens: Sequence[str]) -> Iterator[_Item]:
    words = _joined(tokens)
    count = sum(1 for word in words if "=" in word)
    plain: list[str] = []
    for at, word in enumerate(words):
        label, equals, value = word.partition("=")
        if not equals or not label:
            plain.append(word)
        elif count == 1 and not value[:1].isdigit() and at + 1 < len(words):
            yield _Item(label, " ".join([value, *words[at + 1 :]]))  # a value of several words, alone in its segment
            break
        else:
            yield _Item(label, value)
    if plain:
        yield _Item("", " ".join(plain))


def _joined(tokens: Sequence[str]) -> list[str]:
    """Bring "ticker = SPY" into one word."""
    words: list[str] = []
    glue = False
    for token in tokens:
        if words and (glue or token.startswith("=")) and "==" not in token:
            words[-1] += token
        else:
            words.append(token)
        glue = token.endswith("=") and "{{" not in token
    return words


def _colons(tokens: Sequence[str]) -> Iterator[_Item]:
    label = ""
    words: list[str] = []
    for token in tokens:
        name, colon, value = token.partition(":")
        if colon and value and _is_pair(_stripped(name), value):
            if label or words:
                yield _Item(label, " ".join(words))
            label, words = name, [value]
        elif token.endswith(":") and len(token) > 1 and (known := _label(token[:-1], words, has_label=bool(label))):
            words = words[: len(words) - known.count(" ")]
            if label or words:
                yield _Item(label, " ".join(words))
            label, words = known, []
        else:
            words.append(token)
    if label or words:
        yield _Item(label, " ".join(words))


def _is_pair(name: str, value: str) -> bool:
    """Tell "symbol:SPY" and "buy:0" from NASDAQ:AAPL and 14:30."""
    if name.isupper() and not value[:1].isdigit():
        return plain_name(name) in _KNOWN and plain_name(name) not in {"market", "b", "s"}
    return plain_name(name) in _KNOWN or (value in _FLAGS and not name[:1].isdigit())


def _label(word: str, before: Sequence[str], *, has_label: bool) -> str:
    """Return the name that ends with this word: with up to two words before it, if that is one, or all of them at the start."""
    for count in range(min(len(before), LONGEST_LABEL - 1), -1, -1):
        name = " ".join([*before[len(before) - count :], word])
        if plain_name(_stripped(name)) in _KNOWN:
            return name
    if has_label:
        return ""
    return " ".join([*before, word]) if len(before) < LONGEST_LABEL else word


def _sort(item: _Item, pairs: dict[str, JsonValue], prose: list[str], asides: list[str]) -> None:
    """Put an item where it belongs: the pairs, the words that may point, or aside, where a symbol is looked for last."""
    label, value = _stripped(item.label), item.value.strip().strip("\"'`")
    name = plain_name(label)
    if not label:
        prose.append(item.value)
    elif _LEVEL_LABEL.fullmatch(name) and not _is_number(value) and "{{" not in value:  # "Stop loss: SPY" is no plan
        prose.append(f"{label} {value}")
    elif name in _KNOWN or value.casefold() in _FLAGS or _LEVEL_LABEL.fullmatch(name):
        _add(pairs, label, value)
        if name in _POINTING_NAMES and " " in value:
            prose.append(value)
    elif points(value):  # a name before an order: "BTCUSDT: buy", "Bull flag bot: sell SPY"
        prose.append(value)
        asides.append(label)
    elif read_word(label) or (points(label) and not _is_number(value)):  # "BUY: BTCUSDT", "V9 buy: BTCUSDT @ 64050"
        prose.append(f"{label} {value}")
    else:
        _add(pairs, label, value)


def _is_number(value: str) -> bool:
    return value.lstrip("$-+")[:1].isdigit()


def _add(pairs: dict[str, JsonValue], label: str, value: str) -> None:
    key, number = label, 2
    while key in pairs:
        key, number = f"{label} ({number})", number + 1
    pairs[key] = value


def _read_prose(prose: Sequence[str], asides: Sequence[str], pairs: dict[str, JsonValue]) -> None:
    """Add what words without a label say, where no pair says it."""
    said = " - ".join(prose)
    names = {plain_name(key) for key in pairs}
    if points(said) and not names.intersection(NAMES["direction"]):
        pairs["action"] = _shortest(said)
    words = [word for part in prose for word in _TOKENS.findall(part)]
    if not names.intersection(NAMES["symbol"]):
        symbol = _symbol_in(words, is_order=points(said)) or _symbol_in(
            [word for part in asides for word in _TOKENS.findall(part)], is_order=points(said)
        )
        if symbol:
            pairs["ticker"] = symbol
    if not names.intersection(NAMES["timeframe"]) and (interval := _interval_in(words)):
        pairs["interval"] = interval
    if not names.intersection(NAMES["timestamp"]):
        times = {word for word in map(_stripped, words) if _TIME.fullmatch(word)}
        if len(times) == 1:
            pairs["time"] = times.pop()


def _shortest(said: str) -> str:
    """Return the one word that says what a sentence says, or the sentence."""
    pointing = {word for word in map(_stripped, _TOKENS.findall(said)) if len(word) > 1 and read_word(word)}
    whole = read_sentence(said)
    if len(pointing) == 1 and whole is not None:
        (word,) = pointing
        meaning = read_word(word)
        if meaning is not None and meaning.direction is whole.direction:
            return word
    return said


def _symbol_in(words: Sequence[str], *, is_order: bool) -> str:
    """Return the one word that can only be a symbol; nothing when there is none, or several are as good.

    Best is one with its exchange, then what stands after "on" or "for", before a timeframe, or beside the order, then the
    only one in capitals, then, in an order, the only one at all. A word that only looks like one is returned to be refused.
    """
    cleaned = [_stripped(word) for word in words]
    likely = [at for at, word in enumerate(cleaned) if _may_be_symbol(word)]
    shouted = [at for at in likely if _is_shouted(cleaned[at])]
    before = dict(zip(range(1, len(cleaned)), cleaned, strict=False))
    after = dict(enumerate(cleaned[1:]))
    for places in (
        [at for at, word in enumerate(cleaned) if "{{" in word and "ticker" in word],
        [at for at in likely if _EXCHANGE.fullmatch(cleaned[at])],
        [at for at in shouted if before.get(at, "").casefold() in _POINTERS],
        [at for at in shouted if _INTERVAL.fullmatch(after.get(at, ""))],
        [at for at in shouted if read_word(before.get(at, ""))],
        [at for at in shouted if read_word(after.get(at, ""))],
        shouted,
        likely if is_order else [],
        [
            at
            for at, word in enumerate(cleaned)
            if is_order and not word.isascii() and not likely and any(map(str.isalnum, word))
        ],
    ):
        found = {cleaned[at] for at in places}
        if len(found) == 1:
            return found.pop()
        if found and places is not shouted:
            return ""
    return ""


def _may_be_symbol(word: str) -> bool:
    return (
        _SYMBOL.fullmatch(word) is not None
        and (any(letter.isalpha() for letter in word) or _NUMBERED.fullmatch(word) is not None)
        and _NO_SYMBOLS.isdisjoint(
            part.rstrip("0123456789") for part in re.split(r"[-_]", word.casefold())
        )  # RE-ENTRY, EMA20
        and not points(word)
        and not any(form.fullmatch(word) for form in (_INTERVAL, _TIME, _NO_SYMBOL))
    )


def _is_shouted(word: str) -> bool:
    return word.upper() == word


def _interval_in(words: Sequence[str]) -> str:
    """Return the timeframe among words: after its name, with a unit, or bare after a symbol that can be nothing else."""
    cleaned = [_stripped(word).lstrip("@") for word in words]
    for at, word in enumerate(cleaned[:-1]):
        if word.casefold() in _TIMEFRAME_LABELS and _BARE_INTERVAL.fullmatch(cleaned[at + 1]):
            return cleaned[at + 1]
    found = {word for word in cleaned if _INTERVAL.fullmatch(word) and len(word) > 1}
    if len(found) == 1:
        return found.pop()
    for at, word in enumerate(cleaned[1:], start=1):
        is_symbol = _EXCHANGE.fullmatch(cleaned[at - 1]) or (at > 1 and cleaned[at - 2].casefold() in _POINTERS)
        if word in _MINUTES and is_symbol:
            return word
    return ""


def _stripped(word: str) -> str:
    """Return a word without the marks around it; what stands within stays, whatever it is."""
    if "{{" in word:
        return word
    return _MARKS.sub("", word.strip(_EDGES + ":;"))
