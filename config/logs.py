"""Logging: structlog, one JSON object a line on standard error, for our own events and for everybody else's."""

import json
import logging
import sys
import traceback

import structlog
from structlog.typing import EventDict, Processor

from config.redaction import redact

LOUD_LIBRARIES = ("httpx2", "httpcore2", "httpx", "httpcore", "django.db.backends", "urllib3", "asyncio")


def _error_fields(logger: object, method: str, event: EventDict) -> EventDict:
    """Turn an exception into the fields error_type, error_message and stack (requirement 11.5)."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error_type"] = type(error).__name__
        event["error_message"] = str(error)
        event["stack"] = "".join(traceback.format_exception(error))
    return event


_as_json = json.JSONEncoder(default=str).encode


def _render(logger: object, method: str, event: EventDict) -> str:
    """Return the line; whatever a library or a traceback put into it, no secret is in it."""
    return redact(_as_json(event))


class _Lines(structlog.stdlib.ProcessorFormatter):
    """Formats our own events at once: they have been through all processors when they come here."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, dict) and hasattr(record, "_logger"):
            return _render(None, record.levelname, record.msg)
        return super().format(record)


SHARED_PROCESSORS: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    _error_fields,
]


def configure_logging(*, level: str) -> None:
    """Send every log line of this process, ours and the libraries', through one JSON renderer to standard error.

    :param level: DEBUG, INFO, WARNING or ERROR.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Lines(
            foreign_pre_chain=[*SHARED_PROCESSORS, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _render,
            ],
        )
    )
    # What no line of ours shows is not looked up for each (the standard library's own advice for speed).
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in LOUD_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
