"""``crmledger export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import asyncpg
from cyclopts import Parameter

from infra.analytics.export import ExportError, Format, Range, export, find_relation
from infra.cli.runtime import database, err, out, prepare_schema, progress
from infra.settings import Settings

__all__ = ["export_"]

SUFFIXES: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".duckdb": "duckdb"}


async def export_(
    what: Annotated[str, Parameter(help="An object of the schema analytics, or `ledger`.")],
    file: Path,
    *,
    organisation: Annotated[
        str | None, Parameter(help="Name or id of the one whose rows; all without.")
    ] = None,
    form: Annotated[
        Format | None, Parameter(name="--format", help="By default what the file's name ends with.")
    ] = None,
    after: Annotated[
        int, Parameter(name="--from", help="Only what changed after this position.")
    ] = 0,
    upto: Annotated[
        int | None, Parameter(name="--to", help="Only what last changed up to this position.")
    ] = None,
    personal: Annotated[bool, Parameter(help="In clear what belongs to a person.")] = False,
) -> None:
    """Writes an object of analysts, or the ledger, to a CSV, Parquet or DuckDB file.

    Prints the position that the file is complete up to: the next export's `--from`.
    """
    settings = Settings.from_environment()
    try:
        chosen = find_relation(what)
        async with database(settings) as url:
            await prepare_schema(url, own=settings.embedded)
            with progress() as bar:
                task = bar.add_task(what, total=None)
                written = await export(
                    url,
                    chosen,
                    file,
                    form or SUFFIXES.get(file.suffix, "csv"),
                    Range(organisation, after, upto),
                    personal=personal,
                    total=lambda count: bar.update(task, total=max(count, 1)),
                    advance=lambda count: bar.advance(task, count),
                )
    except (ExportError, OSError, asyncpg.InsufficientPrivilegeError) as error:
        err.print(f"crmledger: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)
    upto_ = "" if written.upto is None else f", up to position {written.upto}"
    out.print(f"{written.rows} rows{upto_}", highlight=False)
