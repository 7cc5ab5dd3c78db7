"""How the service logs: one event a line, as text or JSON, with the ids that tie events together."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

_request_id: ContextVar[str] = ContextVar("request_id", default="")

# What every record has; the rest came in ``extra``.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
# JSON may hold these as they are, but some readers of logs take them for the end of a line.
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}
# Objects that libraries attach to their records; they may hold headers.
_DROPPED = frozenset({"request", "websocket", "data", "response", "sinfo"})


def request_id() -> str:
    """Return the id of the request that is being served, or an empty text."""
    return _request_id.get()


@contextmanager
def request_context(id_: str) -> Iterator[None]:
    """Give every event of the block this request id."""
    token = _request_id.set(id_)
    try:
        yield
    finally:
        _request_id.reset(token)


def escape(text: str) -> str:
    """Return text without line ends or control characters, so that no value can pretend to be another event."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts = {name: value for name, value in record.__dict__.items() if name not in _STANDARD | _DROPPED}
    if request_id():
        facts["request_id"] = request_id()
    return facts


class TextFormatter(logging.Formatter):
    """``15:04:05 INFO    markets.services: message name=value``, for people."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        facts = "".join(f" {name}={escape(str(value))}" for name, value in _facts(record).items())
        line = f"{moment} {record.levelname:<7} {record.name}: {escape(record.getMessage())}{facts}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": os.getpid(),
            **{name: value for name, value in _facts(record).items() if name not in ("time", "level", "logger")},
        }
        if record.exc_info:
            event["trace"] = self.formatException(record.exc_info)
        options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
        return orjson.dumps(event, default=str, option=options).decode().translate(_LINE_ENDS)


class OnlyMistakes(logging.Filter):
    """Lets pass what is our own mistake: a refused request, or a 503 that says what is down, is none."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", 500) == 500


class WithoutSuspicion(logging.Filter):
    """Makes a warning without a trace of what Django calls suspicious: a caller sent it, no line of ours is to blame.

    It belongs to a handler, for Django has a logger for each kind of suspicion.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.exc_info = record.exc_text = None
        return True


def configuration(level: str, format_: str) -> dict[str, Any]:
    """Return the logging configuration of every process of the service."""
    formatter = "smcsite.logs.JsonFormatter" if format_ == "json" else "smcsite.logs.TextFormatter"
    quiet = {"level": "WARNING" if level == "INFO" else level}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "mistakes": {"()": "smcsite.logs.OnlyMistakes"},
            "suspicions": {"()": "smcsite.logs.WithoutSuspicion"},
        },
        "formatters": {"line": {"()": formatter}},
        "handlers": {
            "out": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "filters": ["suspicions"],
                "stream": "ext://sys.stdout",
            },
        },
        "root": {"level": level, "handlers": ["out"]},
        "loggers": {
            # Django's own set-up adds handlers that would print an event twice.
            "django": {"level": level, "handlers": [], "propagate": True},
            "django.server": {"level": level, "handlers": [], "propagate": True},
            "django.request": {"filters": ["mistakes"]},
            "uvicorn": quiet,
            "celery": quiet,
            "kombu": quiet,
            "numba": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            "websocket": {"level": "CRITICAL"},
        },
    }
