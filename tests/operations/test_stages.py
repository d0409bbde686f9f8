"""The stages of a call in the metrics, and what it costs to measure them."""

from __future__ import annotations

import re
import time

from infra.observability.metrics import timed
from services.pipeline.instrumentation import STAGES
from tests.fixtures.communications import communications_client
from tests.fixtures.service import Service

OF_A_WRITE = ("ask", "resolve", "load", "credentials", "decide", "answer", "append")
ROUNDS = 20_000
SAMPLE = re.compile(r'^crmledger_stage_seconds_(count|sum)\{stage="(\w+)"\} (\S+)$', re.MULTILINE)


async def measured(service: Service) -> dict[tuple[str, str], float]:
    text = await service.metrics()
    assert "organisation=" not in "".join(
        line for line in text.splitlines() if "_stage_" in line or "_call" in line
    )
    return {(what, stage): float(value) for what, stage, value in SAMPLE.findall(text)}


async def test_every_stage_is_measured_once_for_each_call(service: Service) -> None:
    made = await communications_client(service)
    before = await measured(service)
    assert {stage for _, stage in before} == set(STAGES)
    for _ in range(20):
        await made.create()
    after = await measured(service)
    counts = {stage: after["count", stage] - before["count", stage] for stage in STAGES}
    assert counts == dict.fromkeys(OF_A_WRITE, 20) | {"select": 0}
    await made.show(await made.create())
    assert (await measured(service))["count", "select"] == after["count", "select"] + 1


async def test_measuring_costs_next_to_nothing(service: Service) -> None:
    made = await communications_client(service)
    before = await measured(service)
    for _ in range(50):
        await made.create()
    after = await measured(service)
    seconds = sum(after["sum", stage] - before["sum", stage] for stage in OF_A_WRITE) / 50
    started = time.thread_time()
    for _ in range(ROUNDS):
        with timed("ask"):
            pass
    cost = (time.thread_time() - started) / ROUNDS * len(OF_A_WRITE)
    ratio = cost / seconds
    print(f"measuring: {cost * 1e6:.1f} us of a write's {seconds * 1e6:.0f} us, ratio {ratio:.4f}")
    assert ratio < 0.05
