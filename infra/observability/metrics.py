"""Metrics in the text format of Prometheus. They never hold a token, a secret or personal data."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from services.pipeline.instrumentation import STAGES

__all__ = [
    "BATCH",
    "REGISTRY",
    "Timings",
    "metrics",
    "observe",
    "timed",
]

REGISTRY = CollectorRegistry()


class Timings(Collector):
    """A histogram of seconds by one label.

    Calls observe several times each, and only on the event loop: so nothing is locked here, where the
    library's own histogram takes a twentieth of a read.
    """

    def __init__(self, name: str, says: str, label: str, bounds: Sequence[float]) -> None:
        self.label = label
        self._named = (name, says)
        self._bounds = tuple(bounds)
        self._observed: dict[str, tuple[list[int], list[float]]] = {}
        REGISTRY.register(self)

    def labels(self, value: str) -> Callable[[float], None]:
        """What observes seconds under a value of the label; to be kept by whoever uses it."""
        bounds, counts, total = self._bounds, [0] * (len(self._bounds) + 1), [0.0]
        self._observed[value] = counts, total

        def observe(seconds: float) -> None:
            counts[bisect_left(bounds, seconds)] += 1
            total[0] += seconds

        return observe

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The histogram without what was observed, for the registry."""
        yield HistogramMetricFamily(*self._named, labels=[self.label])

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The histogram, for the registry."""
        (family,) = self.describe()
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for value, (counts, total) in self._observed.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([value], buckets, total[0])
        yield family


CALLS = Counter(
    "crmledger_calls_total", "Calls by method and outcome.", ["method", "code"], registry=REGISTRY
)
SECONDS = Timings(
    "crmledger_call_seconds",
    "Time from a request's head to its answer.",
    "method",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
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
STAGE_SECONDS = Timings(
    "crmledger_stage_seconds",
    "Time of one stage of a call; waiting for others to share its trip is part of it.",
    "stage",
    (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
PROJECTED = Counter(
    "crmledger_projected_events_total", "Events fed to a view.", ["view"], registry=REGISTRY
)
BATCH_SECONDS = Histogram(
    "crmledger_projection_batch_seconds",
    "Time of one batch of a view, commit included.",
    ["view"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
    registry=REGISTRY,
)
LAG_POSITIONS = Gauge(
    "crmledger_projection_lag_positions",
    "Events that a view lacks; negative: it is ahead of the ledger.",
    ["view", "organisation"],
    registry=REGISTRY,
)
LAG_SECONDS = Gauge(
    "crmledger_projection_lag_seconds",
    "Age of the first event that a view lacks.",
    ["view", "organisation"],
    registry=REGISTRY,
)
PARKED = Gauge(
    "crmledger_projection_parked",
    "Entities whose events a view could not take in.",
    ["view", "organisation"],
    registry=REGISTRY,
)
DELIVERIES = Counter(
    "crmledger_webhook_deliveries_total",
    "Requests to consumers of webhooks, by what came of them.",
    ["organisation", "webhook", "outcome"],
    registry=REGISTRY,
)
DELIVERY_SECONDS = Histogram(
    "crmledger_webhook_delivery_seconds",
    "Time of one request to a consumer of webhooks.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
WEBHOOK_LAG_POSITIONS = Gauge(
    "crmledger_webhook_lag_positions",
    "Events from the first that a subscriber has not acknowledged; negative: the ledger is shorter.",
    ["organisation", "webhook"],
    registry=REGISTRY,
)
WEBHOOK_LAG_SECONDS = Gauge(
    "crmledger_webhook_lag_seconds",
    "Age of the first event that a subscriber has not acknowledged.",
    ["organisation", "webhook"],
    registry=REGISTRY,
)
READY = Gauge("crmledger_ready", "1 while the process answers calls.", registry=REGISTRY)


def observe(method: str, code: str, seconds: float) -> None:
    """Counts one call: its method's path, ``OK`` or the error's code, and how long it took."""
    _calls(method, code).inc()
    _seconds(method)(seconds)


_calls = cache(CALLS.labels)
_seconds = cache(SECONDS.labels)


class _Timed:
    """Observes how long it was entered."""

    __slots__ = ("_observe", "_started")

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._observe(time.perf_counter() - self._started)


_OBSERVE = {name: STAGE_SECONDS.labels(name) for name in STAGES}


def timed(stage: str) -> AbstractContextManager[None]:
    """Surrounds one of `STAGES` of a call and observes how long it took."""
    return _Timed(_OBSERVE[stage])


def metrics() -> bytes:
    """All metrics in the text format of Prometheus."""
    return generate_latest(REGISTRY)
