"""Logs and metrics. Neither ever holds a token, a secret or what a person is called."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["BATCH", "REGISTRY", "configure_logs", "metrics", "observe"]

REGISTRY = CollectorRegistry()
CALLS = Counter(
    "crmledger_calls_total", "Calls by method and outcome.", ["method", "code"], registry=REGISTRY
)
SECONDS = Histogram(
    "crmledger_call_seconds",
    "Time from a request's head to its answer.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
BATCH = Histogram(
    "crmledger_append_commands",
    "Commands written in one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    registry=REGISTRY,
)
APPEND_SECONDS = Histogram(
    "crmledger_append_seconds",
    "Time of one append transaction, commit included.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    registry=REGISTRY,
)
REFUSED = Counter(
    "crmledger_append_refused_total",
    "Commands that the ledger did not write, by reason.",
    ["reason"],
    registry=REGISTRY,
)
READY = Gauge("crmledger_ready", "1 while the process answers calls.", registry=REGISTRY)


def observe(method: str, code: str, seconds: float) -> None:
    """Counts one call: its method's path, ``OK`` or the error's code, and how long it took."""
    CALLS.labels(method, code).inc()
    SECONDS.labels(method).observe(seconds)


def metrics() -> bytes:
    """All metrics in the text format of Prometheus."""
    return generate_latest(REGISTRY)


def configure_logs(*, level: str = "INFO") -> None:
    """One JSON object a line on standard error, those of libraries included."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.dict_tracebacks,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
