"""The dashboards in docs/grafana ask for what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

import infra.audit.sealer
import infra.delivery.dispatcher
import infra.projections.projector  # noqa: F401 (all declare metrics)
from infra.observability.metrics import REGISTRY, Timings

FOLDER = Path(__file__).parents[2] / "docs" / "grafana"
PART = re.compile("_(total|bucket|count|sum)$")
"""What a sample's name adds to that of its metric."""
NAME = re.compile(r"crmledger_[a-z_]+")
LABELS = re.compile(r"\{([^}]*)\}|by \(([^)]*)\)")
TIME_FILTER = re.compile(r"\$__timeFilter\(([^()]*(?:\([^()]*\))?[^()]*)\)")


def dashboard(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.json").read_text("utf-8")))


def targets(name: str, key: str) -> list[Any]:
    return [
        pytest.param(target[key], id=panel["title"])
        for panel in dashboard(name)["panels"]
        for target in panel["targets"]
    ]


def known() -> dict[str, set[str]]:
    """The labels of each metric, by every name under which it is read."""
    found: dict[str, set[str]] = {}
    for metric in REGISTRY.collect():
        own = next(c for c, names in REGISTRY._collector_to_names.items() if metric.name in names)
        labels = {own.label} if isinstance(own, Timings) else {*own._labelnames}
        for suffix in {
            "counter": ("_total",),
            "histogram": ("_bucket", "_sum", "_count"),
            "gauge": ("",),
        }[metric.type]:
            found[metric.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def named_labels(expression: str) -> Iterator[str]:
    for matched, grouped in LABELS.findall(expression):
        yield from re.findall(r"(\w+)\s*[=!]", matched)
        yield from re.findall(r"\w+", grouped)


@pytest.mark.parametrize("expression", targets("operations", "expr"))
def test_metrics_and_labels_are_ours(expression: str) -> None:
    names, metrics = set(NAME.findall(expression)), known()
    assert names
    assert names <= metrics.keys()
    assert set(named_labels(expression)) <= set.intersection(*(metrics[name] for name in names))


def test_every_metric_of_the_processes_beside_the_service_is_shown() -> None:
    shown = set(NAME.findall((FOLDER / "operations.json").read_text("utf-8")))
    beside = ("project", "sending", "webhook")
    families = {PART.sub("", n) for n in known() if any(word in n for word in beside)}
    assert families <= {PART.sub("", name) for name in shown}


@pytest_asyncio.fixture
async def analyst(demo: str) -> Any:
    connection = await asyncpg.connect(demo)
    await connection.execute("SET ROLE crmledger_analyst")
    yield connection
    await connection.close()


async def organisation(analyst: asyncpg.Connection) -> str:
    variable = dashboard("service")["templating"]["list"][1]["query"]
    rows = await analyst.fetch(variable)
    assert [row["__text"] for row in rows] == ["CRMDEMO"]
    return str(rows[0]["__value"])


@pytest.mark.parametrize("sql", targets("service", "rawSql"))
async def test_queries_run_as_an_analyst(analyst: asyncpg.Connection, sql: str) -> None:
    asked = sql.replace("$organisation", await organisation(analyst))
    asked = TIME_FILTER.sub(r"\1 > now() - interval '2 days'", asked)
    assert "$" not in asked
    rows = await analyst.fetch(asked)
    assert rows
    if "AS time" in sql:
        assert all(row["time"].tzinfo for row in rows)


@pytest.mark.parametrize("name", ["operations", "service"])
def test_panels_do_not_overlap(name: str) -> None:
    panels = dashboard(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 12
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) == 23
