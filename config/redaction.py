"""What no log line and no error page may contain: the secrets of the settings, and the tokens in webhook addresses."""

import json
import re
from collections.abc import ItemsView
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

REDACTED = "[redacted]"
SHORTEST = 8
A_WORD = re.compile(r"[a-z]{1,15}")  # "orchestrator" as a password must not blot out half of every line
WEBHOOK_TOKEN = re.compile(r"(/webhooks/tradingview/)[^/\s\"'\\?]+")

_secrets: list[str] = []


def hide(*secrets: str) -> None:
    """Keep these values out of every line from now on; short ones and plain words are left alone."""
    for secret in secrets:
        for written in (secret, json.dumps(secret)[1:-1]):
            if len(secret) >= SHORTEST and not A_WORD.fullmatch(secret) and written not in _secrets:
                _secrets.append(written)
    _secrets.sort(key=len, reverse=True)  # one that contains another goes first


def redact(text: str) -> str:
    """Return ``text`` without what must stay hidden."""
    for secret in _secrets:
        text = text.replace(secret, REDACTED)
    return WEBHOOK_TOKEN.sub(rf"\1{REDACTED}", text)


class ReportFilter(SafeExceptionReporterFilter):
    """What Django shows of settings and variables in an error report, without the secrets that stand in other values."""

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        return redact(cleansed) if isinstance(cleansed, str) else cleansed

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: Any) -> ItemsView[str, Any]:
        shown = super().get_traceback_frame_variables(request, tb_frame)
        return {name: _without_secrets(value) for name, value in shown}.items()


def _without_secrets(value: Any) -> Any:
    shown = repr(value)
    hidden = redact(shown)
    return value if hidden == shown else hidden
