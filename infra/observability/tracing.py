"""Spans for OpenTelemetry: one for a call, below it one for each of its stages.

An extra: ``pip install crmledger[otel]``. Nothing of it is imported unless `CRMLEDGER_TRACES_URL` is
set, and then by `create_tracing`. Spans hold paths of methods, codes and ids, never what a person is called.
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
    """How a call ended, as it is known at its end."""

    label: str
    outcome: str
    request_id: str


class Tracing(Protocol):
    """What watches calls and their stages."""

    def call(self, headers: Mapping[str, str], said: CallOutcome) -> AbstractContextManager[Any]:
        """Surrounds a call, whose caller may have sent a ``traceparent``."""

    def stage(self, name: str) -> AbstractContextManager[Any]:
        """Surrounds a stage of the call that runs."""

    def close(self) -> None:
        """Sends what is not sent yet."""


class _NotTraced:
    """Stages are timed for the metrics, and that is all."""

    stage = staticmethod(timed)

    def call(self, headers: Mapping[str, str], said: CallOutcome) -> AbstractContextManager[Any]:
        """Nothing surrounds a call."""
        return nullcontext()

    def close(self) -> None:
        """There is nothing to send."""


NOT_TRACED: Tracing = _NotTraced()
"""The tracing of a process that traces nothing."""


class Traced:
    """Spans besides the times; ``provider`` decides what becomes of them."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 (an extra)
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer("crmledger")
        self._extract: Callable[[Mapping[str, str]], Any] = TraceContextTextMapPropagator().extract

    @contextmanager
    def call(self, headers: Mapping[str, str], said: CallOutcome) -> Iterator[None]:
        """A span that is called like the method, once that is known."""
        known = {"traceparent": headers.get("traceparent", "")}
        with self._tracer.start_as_current_span(
            "call", context=self._extract(known), record_exception=False
        ) as span:
            try:
                yield
            finally:
                span.update_name(said.label or "unknown")
                span.set_attribute("crmledger.outcome", said.outcome)
                span.set_attribute("crmledger.request_id", said.request_id)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A span that is called like the stage. What it raises is not recorded: it may name a person."""
        with (
            timed(name),
            self._tracer.start_as_current_span(
                name, record_exception=False, set_status_on_exception=False
            ),
        ):
            yield

    def close(self) -> None:
        """Sends what is not sent yet."""
        self._provider.shutdown()


def create_tracing(url: str | None) -> Tracing:
    """The tracing of a process: spans to the collector at ``url`` (OTLP over HTTP), if there is one.

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
