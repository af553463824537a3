"""The words that point: what one word, or a sentence, says of a direction or of the end of a position."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Direction(StrEnum):
    """The two ways a signal can point."""

    LONG = "long"
    SHORT = "short"


class Strength(IntEnum):
    """How plainly a value says where it points; the plainest decides."""

    PROSE = 1
    ORDER = 2
    EXPLICIT = 3


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a value says; ``direction`` is None for the end of a position.

    ``flips_with_put``: an order for the option that another field may name.
    """

    direction: Direction | None
    strength: Strength
    flips_with_put: bool = False


OPPOSITE = {Direction.LONG: Direction.SHORT, Direction.SHORT: Direction.LONG}
_SIDES = {
    Direction.LONG: ("long", "longs", "bull", "bullish", "largo"),
    Direction.SHORT: ("short", "shorts", "bear", "bearish", "corto"),
}
_ORDERS = {Direction.LONG: ("buy", "compra", "comprar"), Direction.SHORT: ("sell", "venta", "venda", "vender")}
_EXPLICIT: Mapping[str, Direction] = {
    form.format(word): way
    for way, words in _SIDES.items()
    for word in words
    for form in (
        "{}", "go{}", "goes{}", "going{}", "enter{}", "{}entry", "{}enter", "entry{}", "entries{}", "open{}", "{}open", "opened{}",
        "{}signal", "signal{}", "strong{}", "{}strong", "start{}", "start{}trade", "{}position", "{}trade", "new{}", "add{}",
        "{}alert", "{}now", "{}market", "market{}", "{}limit", "{}reversal", "reverseto{}", "reverse{}", "flipto{}",
        "flip{}", "confirm{}", "confirmed{}", "enter{}position", "open{}position", "{}entryalert", "entry{}alert", "{}setup",
        "{}trigger", "{}only", "{}cross", "{}breakout", "{}trend",
    )
} | {
    "buylong": Direction.LONG, "longbuy": Direction.LONG, "sellshort": Direction.SHORT, "shortsell": Direction.SHORT, "l": Direction.LONG,
    "closeshortbuy": Direction.LONG, "closelongsell": Direction.SHORT,
    "closeshortopenlong": Direction.LONG, "closelongopenlong": Direction.LONG, "closelongopenshort": Direction.SHORT,
    "closeshortopenshort": Direction.SHORT, "exitshortenterlong": Direction.LONG, "exitlongentershort": Direction.SHORT,
    "uptrend": Direction.LONG, "downtrend": Direction.SHORT,
}  # fmt: skip
_ORDER: Mapping[str, Direction] = {
    form.format(word): way
    for way, words in _ORDERS.items()
    for word in words
    for form in (
        "{}", "{}toopen", "{}market", "market{}", "{}limit", "limit{}", "{}stop", "stop{}", "{}stoplimit", "strong{}", "{}strong",
        "{}signal", "signal{}", "{}entry", "entry{}", "enter{}", "open{}", "{}open", "{}order", "order{}", "{}now", "{}alert", "new{}",
        "{}trigger", "{}setup", "place{}", "confirmed{}", "{}confirmed", "{}atmarket", "super{}", "ultra{}", "weak{}", "normal{}",
    )
} | {
    "bto": Direction.LONG, "sto": Direction.SHORT, "purchase": Direction.LONG, "bought": Direction.LONG, "sold": Direction.SHORT,
    "buying": Direction.LONG, "selling": Direction.SHORT, "b": Direction.LONG, "s": Direction.SHORT,
}  # fmt: skip


def _plainness(word: str) -> Strength:
    """Bullish and bearish are opinions, a trend is one too; long and short are sides."""
    return Strength.PROSE if any(opinion in word for opinion in ("bull", "bear", "trend")) else Strength.EXPLICIT


_OPTION: Mapping[str, Direction] = {
    form.format(right): way
    for right, way in (("call", Direction.LONG), ("put", Direction.SHORT))
    for form in ("{}", "{}s", "buy{}", "buy{}s", "long{}", "buytoopen{}", "bto{}")
} | {
    "sellput": Direction.LONG, "sellputs": Direction.LONG, "shortput": Direction.LONG, "selltoopenput": Direction.LONG,
    "stoput": Direction.LONG, "sellcall": Direction.SHORT, "sellcalls": Direction.SHORT, "shortcall": Direction.SHORT,
    "selltoopencall": Direction.SHORT, "stocall": Direction.SHORT,
}  # fmt: skip
_MEANINGS: Mapping[str, Meaning] = (
    {word: Meaning(way, Strength.ORDER) for word, way in _OPTION.items()}
    | {word: Meaning(way, Strength.ORDER, flips_with_put=True) for word, way in _ORDER.items()}
    | {word: Meaning(way, _plainness(word)) for word, way in _EXPLICIT.items()}
)
_CLOSING_VERBS = ("close", "exit", "closed", "exited", "flatten", "liquidate", "closing", "exiting", "cover", "reduce", "trim",
                  "unwind")  # fmt: skip
_EXIT = frozenset(
    {f"{verb}{what}" for verb in _CLOSING_VERBS
     for what in ("", "long", "short", "longs", "shorts", "buy", "sell", "position", "positions", "all", "trade", "trades",
                  "order", "orders", "partial", "pos", "longposition", "shortposition", "longtrade", "shorttrade", "everything",
                  "half", "signal", "alert", "alllong", "allshort", "market", "allpositions", "longalert", "shortalert", "longpct", "shortpct", "now")}
    | {f"{what}{verb}" for what in ("long", "short", "buy", "sell", "partial", "position", "trade", "bull", "bear", "order")
       for verb in ("close", "exit", "closed", "exited", "tp", "sl", "takeprofit", "stoploss", "stopped", "stopout", "exitalert",
                    "closealert", "exitsignal")}
    | {"longstop", "shortstop"}  # a stop of that position; a buy stop is an order that opens one
    | {f"{step}{end}" for step in ("tp", "sl", "takeprofit", "stoploss", "target", "trailingstop", "stop", "profittarget", "trailstop")
       for end in ("hit", "reached", "triggered", "filled", "hitlong", "hitshort")}
    | {f"tp{step}{end}" for step in range(1, 10) for end in ("", "hit", "reached")}
    | {"flat", "goflat", "selltoclose", "stc", "buytoclose", "buytocover", "takeprofit", "takeprofits", "stoploss",
       "stopout", "stoppedout", "tp", "sl", "trailingstop", "flatteneverything", "closeatmarketprice", "closeposition",
       "partialclose", "partialtp", "partialexit", "exitpartial", "partial", "scaleout", "tpsl", "sltp", "profittarget", "breakevenstop",
       "cerrar", "salida", "fechar", "panicsell", "panicclose"}
)  # fmt: skip
_SIDE_WORDS = frozenset({"long", "longs", "short", "shorts", "buy", "buys", "sell", "sells"})
_HELD = _SIDE_WORDS | {"position", "positions", "trade", "trades", "order", "orders", "all", "entry", "entries", "half", "partial",
                       "everything", "pos", "remaining", "rest", "contracts", "profit"}  # fmt: skip
_VERBS = frozenset({"close", "closed", "closes", "closing", "exit", "exited", "exits", "exiting", "flatten", "flattened", "liquidate",
                    "liquidated", "cover", "covered", "covering", "reduce", "reduced", "reducing", "trim", "trimmed", "unwind",
                    "stopped"})  # fmt: skip
_MOVES = frozenset(
    {"move", "moved", "moving", "modify", "update", "updated", "adjust", "change", "set", "trail", "raise"}
)
_HAPPENED = frozenset({"hit", "reached", "triggered", "filled", "executed", "done", "touched", "taken", "exit", "met",
                       "activated"})  # fmt: skip
_NOT_OF_A_POSITION = frozenset({"above", "below", "over", "under", "price", "oversold", "overbought", "zone", "area", "at", "on",
                                "crossing", "crosses", "crossed", "strategy", "higher", "lower", "inside", "outside", "near"})  # fmt: skip
_MARKS = frozenset(
    {
        "candle",
        "bar",
        "price",
        "daily",
        "weekly",
        "on",
        "at",
        "candles",
        "bars",
        "of",
        "by",
        "after",
        "prev",
        "previous",
    }
)
# "Sell half", "sold all", but not "SELL - All oscillators agree".
_SELLING_A_SHARE = re.compile(
    r"(?<![^\W_])(?:sell|sold|selling)(?:[\s_]+|[\W_])(?:half|rest|remaining|all|everything|part|partial|third|quarter|position)(?![^\W_])"
)
_TARGETS, _AIMS = (
    frozenset({"take", "stop", "profit", "trailing", "trail"}),
    frozenset({"profit", "profits", "loss", "target", "stop"}),
)
_AT_ONCE = frozenset({"stopout", "stoppedout", "takeprofithit", "selltoclose", "buytocover", "stc"})
# What is closed, and how much of it, in one word: "closelong", "closeallbuysell", "exitshortpct".
_CLOSING = re.compile(r"(?:close|exit|flatten)(?:all|longs?|shorts?|buysell|positions?|trades?|orders?|pct|vol|eaoff)+")
_LEVEL = re.compile(r"(?:tp|sl|target)[0-9]{0,2}")
_NEGATIONS = frozenset({"no", "not", "don", "dont", "never", "without", "cancel", "cancelled", "canceled", "avoid"})
_OTHERWISE = frozenset({"term", "wick", "wicks", "squeeze", "interest", "only", "lived", "body", "run", "leg", "trap", "flag", "market",
                        "volume", "ma", "ema", "sma", "period", "length"})  # fmt: skip
_CONTRACT = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?([cp])")
_PUNCTUATION = re.compile(r"[\s_\-.:!/()\[\]'*]+")  # anything else, another alphabet say, stays and matches no word
_WORDS = re.compile(r"[^\W_]+(?:\.[0-9]+)?")


def plain_word(value: object) -> str:
    """Return a text without case, spaces and punctuation; empty for what is no text."""
    return _PUNCTUATION.sub("", value.casefold()) if isinstance(value, str) else ""


def read_word(value: object) -> Meaning | None:
    """Return what a value says that is nothing but a direction or an exit, None when it is not."""
    word = plain_word(value)
    if word in _EXIT or re.match(r"close(entry|entries|position)s?order", word):
        return Meaning(None, Strength.ORDER)
    return _MEANINGS.get(word)


def read_sentence(text: str) -> Meaning | None:
    """Return what a sentence says: an exit before all, then long and short before buy and sell before bullish and bearish.

    None when it says nothing, or its plainest words disagree, or it denies.
    """
    words = words_of(text)
    if is_exit(text):
        return Meaning(None, Strength.PROSE)
    if _NEGATIONS.intersection(words):
        return None
    ranks = _ways_by_rank(words)
    for rank in sorted(ranks, reverse=True):
        if len(ranks[rank]) > 1:
            return None
        (way,) = ranks[rank]
        if rank == Strength.ORDER and _names_a_put(words):
            way = OPPOSITE[way]
        return Meaning(way, Strength.PROSE)
    return None


def tells_of_an_exit(text: str) -> bool:
    """Tell whether a remark, a name or an id plainly speaks of an exit: "Close entry(s) order Long", "TP1 hit", "Long SL"."""
    return read_word(text) == Meaning(None, Strength.ORDER) or is_exit(text, plainly=True)


def points(text: str) -> bool:
    """Tell whether a text has a word of direction, or speaks of an exit."""
    return any(word in _MEANINGS for word in words_of(text) if len(word) > 1) or is_exit(text)


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text, without case."""
    return _WORDS.findall(text.casefold())


def is_exit(text: str, *, plainly: bool = False) -> bool:
    """Tell whether a text speaks of an exit. ``plainly``: only when it names what is left, or a target that was hit."""
    words = words_of(text)
    has_order = any(word in _MEANINGS and len(word) > 1 for word in words)
    return _SELLING_A_SHARE.search(text.casefold()) is not None or any(
        (word in _VERBS and _closes(words, at, plainly=plainly))
        or _is_target_hit(words, at, may_stand_alone=not (plainly or has_order))
        or (word == "flat" and not has_order)
        or (word == "scale" and list(words[at + 1 : at + 2]) == ["out"])
        or word in _AT_ONCE
        or _CLOSING.fullmatch(word)
        for at, word in enumerate(words)
    )


def _is_target_hit(words: Sequence[str], at: int, *, may_stand_alone: bool) -> bool:
    """Tell of "TP1 hit", "long SL", "stop loss triggered"; alone, without a price beside it, only where no order is: "TP1 BTC"."""
    if at > 0 and words[at - 1] in _MOVES:  # "move_sl": the position stays
        return False
    if words[at] in _TARGETS and at + 1 < len(words) and words[at + 1] in _AIMS:
        return _is_reached(words, at + 1) or (may_stand_alone and not _is_level(words, at + 1))
    if not _LEVEL.fullmatch(words[at]) and words[at] not in {"takeprofit", "stoploss", "stop"}:
        return False
    if _is_reached(words, at):
        return True
    of_a_side = at > 0 and words[at - 1] in _SIDE_WORDS
    return words[at] != "stop" and (of_a_side or may_stand_alone) and not _is_level(words, at)


def _closes(words: Sequence[str], at: int, *, plainly: bool) -> bool:
    before, after = (words[at - 1] if at else ""), (words[at + 1] if at + 1 < len(words) else "")
    if after in {"the", "my", "your", "this", "out", "a"}:
        after = words[at + 2] if at + 2 < len(words) else ""
    if words[at] == "stopped":
        return after in {"", "out"} or (at + 1 < len(words) and words[at + 1] == "out")
    if after in _HELD or (before in _HELD and after not in _NOT_OF_A_POSITION):
        return not (words[at] == "close" and before in _SIDE_WORDS and _is_number(after))
    if before == "to":  # sell to close, buy to cover
        return True
    if plainly or after in _NOT_OF_A_POSITION or before in _MARKS or _is_number(after):
        return False
    return words[at] not in {"close", "closes"} or at == 0


def _is_reached(words: Sequence[str], at: int) -> bool:
    return any(word in _HAPPENED for word in words[at + 1 : at + 3])


def _is_level(words: Sequence[str], at: int) -> bool:
    """A target with its price beside it is a plan, not an event: "TP 31000"."""
    return any(_is_number(word) for word in words[at + 1 : at + 3])


def _is_number(word: str) -> bool:
    return word[:1].isdigit()


def _ways_by_rank(words: Sequence[str]) -> dict[int, set[Direction]]:
    """Return the directions that words point to, by how plainly: 3 long and short, 2 buy and sell, 1 bullish and bearish."""
    ranks: dict[int, set[Direction]] = {}
    for at, word in enumerate(words):
        if len(word) == 1 or (at + 1 < len(words) and words[at + 1] in _OTHERWISE):
            continue
        if way := _EXPLICIT.get(word):
            rank = _plainness(word)
        elif way := _ORDER.get(word):
            rank = Strength.ORDER
        else:
            continue
        ranks.setdefault(rank, set()).add(way)
    if not ranks and len(words) > 1:
        ways = {way for word in words if (way := _OPTION.get(word))}
        return {Strength.PROSE: ways} if ways else {}
    return ranks


def _names_a_put(words: Sequence[str]) -> bool:
    rights = [match[1] for word in words if (match := _CONTRACT.fullmatch(word))]
    return "p" in rights or bool({"put", "puts"}.intersection(words))
