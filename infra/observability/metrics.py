"""Metrics in the text format of Prometheus. They never hold tokens, secrets or personal data."""

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

    It is observed several times per request, and on the event loop only: so it takes no lock. The
    library's own histogram takes a twentieth of the time of a read.
    """

    def __init__(self, name: str, help_: str, label: str, bounds: Sequence[float]) -> None:
        self.label = label
        self._family = (name, help_)
        self._bounds = tuple(bounds)
        self._observed: dict[str, tuple[list[int], list[float]]] = {}
        REGISTRY.register(self)

    def labels(self, value: str) -> Callable[[float], None]:
        """Return the function that observes seconds under a value of the label; callers keep it."""
        bounds, counts, total = self._bounds, [0] * (len(self._bounds) + 1), [0.0]
        self._observed[value] = counts, total

        def observe(seconds: float) -> None:
            counts[bisect_left(bounds, seconds)] += 1
            total[0] += seconds

        return observe

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The histogram without samples, for the registry."""
        yield HistogramMetricFamily(*self._family, labels=[self.label])

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The histogram, for the registry."""
        (family,) = self.describe()
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for value, (counts, total) in self._observed.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([value], buckets, total[0])
        yield family


REQUESTS = Counter(
    "crmledger_requests_total",
    "Requests by method and status code of the envelope.",
    ["method", "code"],
    registry=REGISTRY,
)
SECONDS = Timings(
    "crmledger_request_duration_seconds",
    "Latency of a request, from its head to the response.",
    "method",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH = Histogram(
    "crmledger_append_commands",
    "Commands per append transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    registry=REGISTRY,
)
APPEND_SECONDS = Histogram(
    "crmledger_append_seconds",
    "Duration of an append transaction, commit included.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    registry=REGISTRY,
)
REFUSED = Counter(
    "crmledger_append_refused_total",
    "Commands that the ledger rejected, by reason.",
    ["reason"],
    registry=REGISTRY,
)
SLOW_HASHES_WAITING = Gauge(
    "crmledger_slow_hashes_waiting",
    "Comparisons of passwords and pass codes that wait for their turn.",
    registry=REGISTRY,
)
SLOW_HASHES_REFUSED = Counter(
    "crmledger_slow_hashes_refused_total",
    "Comparisons that were not made: beyond the share of their source, the queue full, the caller gone.",
    ["reason"],
    registry=REGISTRY,
)
UNAUTHENTIC = Counter(
    "crmledger_unauthentic_events_total",
    "Events that were read and not acted on, since no listed service key has written them.",
    registry=REGISTRY,
)
STAGE_SECONDS = Timings(
    "crmledger_stage_seconds",
    "Duration of a stage of a request, including the wait for its batch.",
    "stage",
    (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
PROJECTED = Counter(
    "crmledger_projected_events_total",
    "Events written to a projection.",
    ["view"],
    registry=REGISTRY,
)
BATCH_SECONDS = Histogram(
    "crmledger_projection_batch_seconds",
    "Duration of a batch of a projection, commit included.",
    ["view"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
    registry=REGISTRY,
)
LAG_POSITIONS = Gauge(
    "crmledger_projection_lag_positions",
    "Lag of a projection in events; negative: it is ahead of the ledger.",
    ["view", "organisation"],
    registry=REGISTRY,
)
LAG_SECONDS = Gauge(
    "crmledger_projection_lag_seconds",
    "Lag of a projection: age of the first event that it lacks.",
    ["view", "organisation"],
    registry=REGISTRY,
)
PARKED = Gauge(
    "crmledger_projection_parked",
    "Parked entities of a projection.",
    ["view", "organisation"],
    registry=REGISTRY,
)
DELIVERIES = Counter(
    "crmledger_webhook_deliveries_total",
    "Webhook delivery attempts, by outcome.",
    ["organisation", "webhook", "outcome"],
    registry=REGISTRY,
)
DELIVERY_SECONDS = Histogram(
    "crmledger_webhook_delivery_seconds",
    "Latency of a webhook delivery attempt.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
WEBHOOK_LAG_POSITIONS = Gauge(
    "crmledger_webhook_lag_positions",
    "Lag of a subscription in events; negative: it is ahead of the ledger.",
    ["organisation", "webhook"],
    registry=REGISTRY,
)
WEBHOOK_LAG_SECONDS = Gauge(
    "crmledger_webhook_lag_seconds",
    "Lag of a subscription: age of the first event that is not acknowledged.",
    ["organisation", "webhook"],
    registry=REGISTRY,
)
READY = Gauge("crmledger_ready", "1 while the process is ready.", registry=REGISTRY)


def observe(method: str, code: str, seconds: float) -> None:
    """Count a request by the path of its method and its code (``OK`` or an error's), and its latency."""
    _requests(method, code).inc()
    _seconds(method)(seconds)


_requests = cache(REQUESTS.labels)
_seconds = cache(SECONDS.labels)


class _Timed:
    """Observes the duration of a block."""

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
    """Return a context manager that observes the duration of one of `STAGES`."""
    return _Timed(_OBSERVE[stage])


def metrics() -> bytes:
    """All metrics in the text format of Prometheus."""
    return generate_latest(REGISTRY)
