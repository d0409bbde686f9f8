"""OpenTelemetry spans: one for a request, with a child for each stage.

An extra: ``pip install crmledger[otel]``. It is imported only if `CRMLEDGER_TRACES_URL` is
set, by `create_tracing`. Spans hold paths of methods, codes and ids, never personal data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from infra.observability.metrics import timed
from infra.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["NOT_TRACED", "CallOutcome", "Traced", "Tracing", "create_tracing"]


class CallOutcome(Protocol):
    """The outcome of a call, known at its end."""

    label: str
    outcome: str
    request_id: str


class Tracing(Protocol):
    """Traces calls and their stages."""

    def call(self, headers: Mapping[str, str], outcome: CallOutcome) -> AbstractContextManager[Any]:
        """Return a context manager for a call, whose client may have sent a ``traceparent``."""

    def stage(self, name: str) -> AbstractContextManager[Any]:
        """Return a context manager for a stage of the current call."""

    def close(self) -> None:
        """Send the pending spans."""


class _NotTraced:
    """Times stages for the metrics only."""

    stage = staticmethod(timed)

    def call(self, headers: Mapping[str, str], outcome: CallOutcome) -> AbstractContextManager[Any]:
        """Return a context manager that does nothing."""
        return nullcontext()

    def close(self) -> None:
        """Do nothing: there are no spans."""


NOT_TRACED: Tracing = _NotTraced()
"""The tracing of a process that traces nothing."""


class Traced:
    """Records spans with ``provider``, and times stages."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 (an extra)
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer("crmledger")
        self._extract: Callable[[Mapping[str, str]], Any] = TraceContextTextMapPropagator().extract

    @contextmanager
    def call(self, headers: Mapping[str, str], outcome: CallOutcome) -> Iterator[None]:
        """A span with the name of the method, once that is known."""
        headers = {"traceparent": headers.get("traceparent", "")}
        with self._tracer.start_as_current_span(
            "call", context=self._extract(headers), record_exception=False
        ) as span:
            try:
                yield
            finally:
                span.update_name(outcome.label or "unknown")
                span.set_attribute("crmledger.outcome", outcome.outcome)
                span.set_attribute("crmledger.request_id", outcome.request_id)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A span with the name of the stage. Exceptions are not recorded: they may hold personal data."""
        with (
            timed(name),
            self._tracer.start_as_current_span(
                name, record_exception=False, set_status_on_exception=False
            ),
        ):
            yield

    def close(self) -> None:
        """Send the pending spans."""
        self._provider.shutdown()


def create_tracing(url: str | None) -> Tracing:
    """Return the tracing of a process: spans to the collector at ``url`` (OTLP over HTTP), or none.

    Raises `SettingsError` if the extra is not installed.
    """
    if url is None:
        return NOT_TRACED
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError("CRMLEDGER_TRACES_URL: needs `pip install crmledger[otel]`") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "crmledger"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    return Traced(provider)
