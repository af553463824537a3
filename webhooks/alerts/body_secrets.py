"""A secret that stands inside the body, for senders that can keep none elsewhere: found by its hash, wherever it sits."""

import hmac
import re
from collections.abc import Iterator
from hashlib import sha256

from webhooks.alerts.tokens import string_value, tokens_of

SHORTEST, LONGEST = 16, 200
MOST_CANDIDATES = 20_000
_WORD = re.compile(r"[^\s,;&\"'{}\[\]=:]+")


def find_secret(text: str, hashed: str) -> str | None:
    """Return the secret whose sha256 is ``hashed`` (64 hex digits) if a value of the body is it, else None.

    In JSON it is a text of its own, at any depth and under any name; elsewhere a word. Every candidate is compared in
    constant time, and all of them are, so that the time tells nothing but the number of values.
    """
    found = None
    for number, candidate in enumerate(_candidates(text)):
        if number == MOST_CANDIDATES:
            break
        if hmac.compare_digest(sha256(candidate.encode("utf-8", "surrogatepass")).hexdigest(), hashed):
            found = candidate
    return found


def _candidates(text: str) -> Iterator[str]:
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        values = (string_value(token.text) for token in tokens_of(text) if token.kind in {"string", "word"})
    else:
        values = (match.group() for match in _WORD.finditer(text))
    return (value for value in values if SHORTEST <= len(value) <= LONGEST)
