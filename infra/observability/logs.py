"""Logs: JSON lines on standard error. They never hold a token, a secret or personal data.

At a terminal their control characters are escaped; for programs they are what orjson writes.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import structlog

from infra.terminal_text import visible_json

__all__ = ["REQUEST_ID", "configure_logs"]

REQUEST_ID: ContextVar[str] = ContextVar("request_id")
"""The id of the request being served; every log line of it bears it."""


def _line(_: object, level: str, event: structlog.typing.EventDict) -> bytes:
    """Render one of our log lines: one step instead of a chain of processors, since every call writes one."""
    event["level"], event["timestamp"] = level, datetime.now(UTC)
    if (request_id := REQUEST_ID.get(None)) is not None:
        event["request_id"] = request_id
    if event.get("exc_info"):
        event = _RENDER_FAILURE(None, level, event)
    return orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z)


def _failure(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> Any:
    """Return the chain of exceptions by type and place, without messages and values: they may be personal."""
    failures: list[dict[str, object]] = []
    error: BaseException | None = exc_info[1]
    while error is not None and len(failures) < 10:
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
        state = getattr(error, "sqlstate", None)
        failures.append(
            {"type": type(error).__name__, "at": places[-20:]}
            | ({"sqlstate": state} if state else {})
        )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return failures


def _short(path: str) -> str:
    return "/".join(Path(path).parts[-3:])


_RENDER_FAILURE = structlog.processors.ExceptionRenderer(_failure)


def _text(logger: object, level: str, event: structlog.typing.EventDict) -> str:
    text = _line(logger, level, event).decode()
    return visible_json(text) if sys.stderr.isatty() else text


def _terminal_line(logger: object, level: str, event: structlog.typing.EventDict) -> bytes:
    return visible_json(_line(logger, level, event).decode()).encode()


def configure_logs(*, level: str = "INFO") -> None:
    """Write all logs, those of libraries included, as one JSON object a line on standard error.

    Our own lines bypass the standard library, which would take half as long as a whole read.
    """
    structlog.configure(
        processors=[_terminal_line if sys.stderr.isatty() else _line],
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    plain = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[plain, _text]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
