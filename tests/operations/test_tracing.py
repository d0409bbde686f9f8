"""Spans of calls: what they hold, whom they belong to, and that without the extra there are none."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from infra.http.server import listen
from infra.observability.tracing import NOT_TRACED, Traced, create_tracing
from infra.settings import SettingsError
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.service import run_in_process

ROOT = Path(__file__).parents[2]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NAME = "Kyriacos"
SILENT = "import sys, infra.cli; sys.exit(any(m.startswith('opentelemetry') for m in sys.modules))"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest_asyncio.fixture
async def traced(
    database: str, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CommunicationsClient]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr("infra.app.create_tracing", lambda url: Traced(provider))
    async with run_in_process(database) as service:
        made = await communications_client(service)
        spans.clear()
        yield made


def tree(finished: tuple[ReadableSpan, ...]) -> tuple[ReadableSpan, list[str]]:
    """The span of the only call, and the names of those right below it."""
    [call] = [
        span for span in finished if span.name not in ("ask", "resolve", "load", "append", *REST)
    ]
    assert call.context
    below = [s.name for s in finished if s.parent and s.parent.span_id == call.context.span_id]
    return call, below


REST = ("credentials", "decide", "answer", "select")


async def test_a_call_and_its_stages(
    traced: CommunicationsClient, spans: InMemorySpanExporter
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "r1"}
    body = traced.creation_body(subject=f"Dear {NAME}")
    await traced.api.call("POST", "communications/create", body=body, headers=headers)
    call, below = tree(spans.get_finished_spans())
    assert call.name == "communications/create"
    assert call.context
    assert call.parent
    assert (f"{call.context.trace_id:032x}", f"{call.parent.span_id:016x}") == (TRACE, PARENT)
    assert dict(call.attributes or {}) == {"crmledger.outcome": "OK", "crmledger.request_id": "r1"}
    assert below == ["ask", "resolve", "load", "credentials", "decide", "answer", "append"]


async def test_a_refusal_says_its_code_and_nothing_of_a_person(
    traced: CommunicationsClient, spans: InMemorySpanExporter
) -> None:
    body = traced.creation_body(contact_information_identifier={"name": NAME}, subject=NAME)
    await traced.api.call("POST", "communications/create", body=body)
    finished = spans.get_finished_spans()
    call, _ = tree(finished)
    assert str((call.attributes or {})["crmledger.outcome"]).startswith("COM.CRM.EXCEPTION")
    assert NAME not in "".join(span.to_json() for span in finished)


def test_without_a_collector_nothing_is_imported() -> None:
    assert create_tracing(None) is NOT_TRACED
    assert subprocess.run([sys.executable, "-c", SILENT], cwd=ROOT, check=False).returncode == 0


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"crmledger\[otel\]"):
        create_tracing("http://127.0.0.1:4318/v1/traces")


async def test_spans_reach_the_collector() -> None:
    received: list[bytes] = []

    async def collect(request: web.BaseRequest) -> web.StreamResponse:
        received.append(await request.read())
        return web.Response(body=b"", content_type="application/x-protobuf")

    async with listen(collect, "127.0.0.1", 0) as port:
        tracing = create_tracing(f"http://127.0.0.1:{port}/v1/traces")
        with tracing.stage("ask"):
            pass
        await asyncio.to_thread(tracing.close)
    assert len(received) == 1
