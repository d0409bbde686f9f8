"""``crmledger check`` and ``crmledger describe``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Annotated, Any

import orjson
from cyclopts import Parameter

from infra.cli.runtime import database
from infra.cli.terminal import out
from infra.diagnostics.build_info import build_info
from infra.diagnostics.delivery import SENDING_CHECKS
from infra.diagnostics.ledger import DEEP_CHECKS, LEDGER_CHECKS
from infra.diagnostics.runner import CheckReport, run
from infra.diagnostics.server import SERVER_CHECKS
from infra.settings import Settings

__all__ = ["check", "describe"]

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "unknown": "dim"}
Json = Annotated[bool, Parameter(name="--json", help="Print JSON.")]


async def check(
    *,
    deep: Annotated[bool, Parameter(help="Also check every event of every ledger.")] = False,
    json: Json = False,
) -> None:
    """Test the database, schema, ledgers, views, clock and disk.

    Exits with 1 if a check has failed. Writes nothing.
    """
    settings = Settings.from_environment()
    # An unreachable server is a result of the check, not something to wait for.
    configured = settings.database_url
    async with nullcontext(configured) if configured else database(settings) as url:
        reports = await run(url, settings, (*SERVER_CHECKS, *LEDGER_CHECKS, *SENDING_CHECKS))
        if deep:
            reports += await run(url, settings, DEEP_CHECKS, seconds=None)
    if json:
        _print_json(
            [{"check": r.check, "verdict": r.verdict, "message": r.message} for r in reports]
        )
    else:
        _print(reports)
    if any(report.verdict == "failed" for report in reports):
        sys.exit(1)


def _print(reports: Iterable[CheckReport]) -> None:
    for report in reports:
        verdict = f"{report.verdict:8}", COLOURS[report.verdict]
        out.print_line(verdict, f" {report.check:12}  {report.message}")


async def describe(*, json: Json = False) -> None:
    """Print version, methods, events, schema, views and settings of this build. No secrets."""
    build = build_info(Settings.from_environment())
    if json:
        _print_json(build)
        return
    for line in _lines(build):
        out.print_line(line)


def _lines(build: dict[str, Any]) -> Iterator[str]:
    yield f"crmledger {build['version']}"
    yield ""
    yield f"{len(build['methods'])} methods"
    yield from (f"  {m['number']:>3}  {m['verb']:4}  {m['path']}" for m in build["methods"])
    yield ""
    yield f"{sum(map(len, build['events'].values()))} events, with the version of their form"
    for aggregate, events in build["events"].items():
        yield f"  {aggregate}: {', '.join(f'{name} {number}' for name, number in events.items())}"
    yield ""
    yield f"schema: {', '.join(build['schema'])}"
    yield ""
    yield "views: " + ", ".join(f"{name} {number}" for name, number in build["views"].items())
    yield ""
    yield "settings"
    yield from (f"  {s['name']} = {s['value'] or '-'}  ({s['source']})" for s in build["settings"])


def _print_json(document: Any) -> None:
    out.print_document(orjson.dumps(document, option=orjson.OPT_INDENT_2))
