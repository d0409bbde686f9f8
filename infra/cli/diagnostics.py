"""``crmledger check`` and ``crmledger describe``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Annotated, Any

import orjson
from cyclopts import Parameter
from rich.text import Text

from infra.cli.runtime import database, out
from infra.diagnostics.build_info import build_info
from infra.diagnostics.delivery import SENDING_CHECKS
from infra.diagnostics.ledger import DEEP_CHECKS, LEDGER_CHECKS
from infra.diagnostics.runner import CheckReport, run
from infra.diagnostics.server import SERVER_CHECKS
from infra.settings import Settings

__all__ = ["check", "describe"]

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "unseen": "dim"}
Json = Annotated[bool, Parameter(name="--json", help="Print JSON.")]


async def check(
    *,
    deep: Annotated[bool, Parameter(help="Walk through every event of every ledger, too.")] = False,
    json: Json = False,
) -> None:
    """Tests the database, the schema, the ledgers, the views, the clock and the disk.

    Exits with 1 if anything has failed. Reads only.
    """
    settings = Settings.from_environment()
    # A server that is away is a finding, not something to wait for.
    given = settings.database_url
    async with nullcontext(given) if given else database(settings) as url:
        reports = await run(url, settings, (*SERVER_CHECKS, *LEDGER_CHECKS, *SENDING_CHECKS))
        if deep:
            reports += await run(url, settings, DEEP_CHECKS, seconds=None)
    if json:
        _print_json([{"check": r.check, "verdict": r.verdict, "said": r.said} for r in reports])
    else:
        _print(reports)
    if any(report.verdict == "failed" for report in reports):
        sys.exit(1)


def _print(reports: Iterable[CheckReport]) -> None:
    for report in reports:
        line = Text(f"{report.verdict:8}", COLOURS[report.verdict])
        line.append(f" {report.check:12}  {report.said}", "default")
        out.print(line, soft_wrap=True)


async def describe(*, json: Json = False) -> None:
    """Prints what this build is: version, methods, events, schema, views, settings. No secrets."""
    found = build_info(Settings.from_environment())
    if json:
        _print_json(found)
        return
    for line in _lines(found):
        out.print(Text(line), soft_wrap=True)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"crmledger {found['version']}"
    yield f"\n{len(found['methods'])} methods"
    yield from (f"  {m['number']:>3}  {m['verb']:4}  {m['path']}" for m in found["methods"])
    yield f"\n{sum(map(len, found['events'].values()))} events, with the version of their form"
    for aggregate, events in found["events"].items():
        yield f"  {aggregate}: {', '.join(f'{name} {number}' for name, number in events.items())}"
    yield f"\nschema: {', '.join(found['schema'])}"
    yield "\nviews: " + ", ".join(f"{name} {number}" for name, number in found["views"].items())
    yield "\nsettings"
    yield from (f"  {s['name']} = {s['value'] or '-'}  ({s['source']})" for s in found["settings"])


def _print_json(found: Any) -> None:
    out.file.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
