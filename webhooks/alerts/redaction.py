"""Secrets leave the text of a body before anything else looks at it: before it is stored, hashed, logged or quoted."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from webhooks.alerts.nearly_json import NotNearlyJson, Numbers, Reader
from webhooks.alerts.problems import UnreadableAlert
from webhooks.alerts.tokens import Token, is_too_deep, string_value, tokens_of
from webhooks.alerts.values import plain_name

REDACTED = "[redacted]"
WIDE_ENCODINGS = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
ENCODINGS = ("utf-8", *WIDE_ENCODINGS)
SECRET_NAMES = frozenset({
    "secret", "passphrase", "password", "passwd", "pass", "pwd", "passcode", "passkey", "apikey", "apisecret", "secretkey", "key",
    "webhooksecret", "webhookpassphrase", "webhookpassword", "webhookkey", "authtoken", "accesstoken", "authorization", "privatekey",
    "webhooktoken", "apitoken", "bearertoken", "clientsecret", "strategysecret", "alertsecret", "authkey", "apipassphrase",
    "sharedsecret", "emailtoken", "accesskey", "securitykey", "seckey", "licensekey", "usertoken", "bottoken", "secrettoken",
    "webhookauth", "botsecret", "usersecret", "tvsecret", "hooksecret", "authenticationtoken", "authenticationkey",
})  # fmt: skip
_SUSPICIOUS = ("secret", "pass", "pwd", "key", "token", "auth", "\\")  # every secret name has one of them
_TEXT_PAIR = re.compile(
    r"""([A-Za-z][A-Za-z_\-]{1,40}+)(\s*+[=:]\s*+)("[^"\n]{0,200}+"|'[^'\n]{0,200}+'|[^\s,;&"'{}\[\]]++)"""
)
_AS_WRITTEN = Numbers(whole=str, broken=str)


def redact_bytes(raw: bytes, secrets: Sequence[str], *, encodings: Sequence[str] = ENCODINGS) -> bytes:
    """Replace the secrets in bytes that may not be text, each in the encoding in which it stands: what is beside it stays aligned."""
    for secret in secrets:
        for encoding in encodings:
            raw = raw.replace(secret.encode(encoding), REDACTED.encode(encoding))
    return raw


def redact(text: str, secrets: Sequence[str]) -> str:
    """Return a body's text without its secrets; the very same text when it holds none.

    The values of secret-like keys become ``"[redacted]"`` whatever they are, and so does every occurrence of one of
    ``secrets`` in any key or value, spelled out or escaped. JSON stays JSON; what is not JSON is redacted as well.
    """
    held = [secret for secret in secrets if secret in text]
    if not held and not _is_suspicious(text):
        return text
    start = text.find("{")
    if text.lstrip("\ufeff \t\r\n").startswith("["):
        start = text.index("[")
    if start < 0:
        without = _TEXT_PAIR.sub(_redact_pair, text)
    else:
        without = _TEXT_PAIR.sub(_redact_pair, text[:start])
        without += _redacted_json("".join(_redacted_tokens(list(tokens_of(text[start:])), secrets)))
    for secret in secrets:  # where the text is no JSON, a secret may stretch over several tokens
        without = without.replace(secret, REDACTED)
    return without


def _is_suspicious(text: str) -> bool:
    folded = text.casefold()
    return any(part in folded for part in _SUSPICIOUS)


def _redacted_json(text: str) -> str:
    """Redact what strict JSON would not have as a key: names and texts in other quotes, or in none."""
    if is_too_deep(text) or _is_strict_json(text):
        return text
    reader = Reader(text, _AS_WRITTEN)
    with suppress(NotNearlyJson, UnreadableAlert):
        reader.read()
    pieces: list[str] = []
    done = 0
    for member in sorted(reader.members, key=lambda member: (member.start, -member.end)):
        if member.start >= done and plain_name(member.key) in SECRET_NAMES:
            pieces += [text[done : member.start], json.dumps(REDACTED)]
            done = member.end
    return "".join(pieces) + _TEXT_PAIR.sub(_redact_pair, text[done:])


def _is_strict_json(text: str) -> bool:
    """Tell whether a text that is not nested deeply is JSON."""
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        return False
    return True


def _redacted_tokens(tokens: Sequence[Token], secrets: Sequence[str]) -> Iterator[str]:
    position = 0
    while position < len(tokens):
        token = tokens[position]
        value_at = _value_after_key(tokens, position)
        if value_at and token.kind == "string" and plain_name(string_value(token.text)) in SECRET_NAMES:
            yield "".join(part.text for part in tokens[position:value_at])
            position = _end_of_value(tokens, value_at)
            yield json.dumps(REDACTED)
            continue
        yield _without_secrets(token, secrets)
        position += 1


def _without_secrets(token: Token, secrets: Sequence[str]) -> str:
    if token.kind == "string":
        value = string_value(token.text)
        if any(secret in value for secret in secrets):
            for secret in secrets:
                value = value.replace(secret, REDACTED)
            return json.dumps(value)
    elif token.kind == "word" and any(secret in token.text for secret in secrets):
        return json.dumps(REDACTED)
    return token.text


def _value_after_key(tokens: Sequence[Token], position: int) -> int | None:
    """Return where the value of the key at ``position`` starts; None when no colon follows."""
    after = _skip_space(tokens, position + 1)
    if after >= len(tokens) or tokens[after].text != ":":
        return None
    start = _skip_space(tokens, after + 1)
    return start if start < len(tokens) else None


def _end_of_value(tokens: Sequence[Token], start: int) -> int:
    """Return the first token after the value at ``start``: one token, or everything up to the closing bracket."""
    if tokens[start].text in {"}", "]", ","}:
        return start
    depth = 0
    for position in range(start, len(tokens)):
        depth += (tokens[position].text in {"{", "["}) - (tokens[position].text in {"}", "]"})
        if depth <= 0:
            return position + 1
    return len(tokens)


def _skip_space(tokens: Sequence[Token], position: int) -> int:
    while position < len(tokens) and tokens[position].kind == "space":
        position += 1
    return position


def _redact_pair(match: re.Match[str]) -> str:
    return (
        f"{match[1]}{match[2]}{REDACTED}"
        if match[3].strip("\"'") != REDACTED and plain_name(match[1]) in SECRET_NAMES
        else match[0]
    )
