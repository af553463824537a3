"""Secrets leave the text of a body before anything else looks at it: before it is stored, hashed, logged or quoted."""

import json
import re
from collections.abc import Iterator, Sequence

from webhooks.alerts.fields import plain_name
from webhooks.alerts.tokens import Token, string_value, tokens_of

REDACTED = "[redacted]"
SECRET_NAMES = frozenset({
    "secret", "passphrase", "password", "passwd", "pwd", "passcode", "apikey", "apisecret", "secretkey", "webhooksecret",
    "webhookpassphrase", "webhookpassword", "webhookkey", "authtoken", "accesstoken", "authorization", "privatekey", "webhooktoken",
    "apitoken", "bearertoken", "clientsecret", "strategysecret", "alertsecret", "authkey", "apipassphrase", "sharedsecret",
})  # fmt: skip
_SUSPICIOUS = re.compile(r"secret|pass|pwd|key|token|auth|\\", re.IGNORECASE)
_TEXT_PAIR = re.compile(r"""([A-Za-z][A-Za-z_\-]{1,40})(\s*[=:]\s*)([^\s,;&"'{}\[\]]+)""")


def redact_bytes(raw: bytes, secrets: Sequence[str]) -> bytes:
    """Replace the secrets in bytes that may not be text, also where they stand in UTF-16 or UTF-32."""
    for secret in secrets:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            raw = raw.replace(secret.encode(encoding), REDACTED.encode())
    return raw


def redact(text: str, secrets: Sequence[str]) -> str:
    """Return a body's text without its secrets; the very same text when it holds none.

    The values of secret-like keys become ``"[redacted]"`` whatever they are, and so does every occurrence of one of
    ``secrets`` in any key or value, spelled out or escaped. JSON stays JSON; what is not JSON is redacted as well.
    """
    held = [secret for secret in secrets if secret in text]
    if not held and not _SUSPICIOUS.search(text):
        return text
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        without = "".join(_redacted_tokens(list(tokens_of(text)), secrets))
    else:
        without = _TEXT_PAIR.sub(_redact_pair, text)
    for secret in secrets:  # where the text is no JSON, a secret may stretch over several tokens
        without = without.replace(secret, REDACTED)
    return without


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
    return f"{match[1]}{match[2]}{REDACTED}" if plain_name(match[1]) in SECRET_NAMES else match[0]
