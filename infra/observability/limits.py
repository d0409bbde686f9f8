"""Limits that protect the process: each that bites is counted, and logged at most once in a while."""

from __future__ import annotations

import time

import structlog
from prometheus_client import Counter

from infra.observability.metrics import REGISTRY

__all__ = ["LIMITS", "note_limit"]

LIMITS = ("connections", "connections_per_address", "silent_connections", "bodies", "slow_hashes")
"""Their names."""
SECONDS = 10.0
"""The time in which a limit is logged once: a flood must not fill the disk."""

REACHED = Counter(
    "crmledger_limits_reached_total",
    "Times that a limit of the process refused somebody.",
    ["limit"],
    registry=REGISTRY,
)
log = structlog.get_logger(__name__)
_logged: dict[str, float] = {}


def note_limit(name: str) -> None:
    """Count that a limit of `LIMITS` has refused somebody, and log it if it was not logged just before."""
    REACHED.labels(name).inc()
    now = time.monotonic()
    if now - _logged.get(name, float("-inf")) >= SECONDS:
        _logged[name] = now
        log.warning("limit.reached", limit=name)


for _name in LIMITS:
    REACHED.labels(_name)
