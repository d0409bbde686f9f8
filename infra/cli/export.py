"""``crmledger export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import asyncpg
from cyclopts import Parameter

from infra.analytics.export import ExportError, Format, Range, export, find_relation
from infra.cli.runtime import database, prepare_schema
from infra.cli.terminal import exit_with, out, progress
from infra.encryption import KeyRing
from infra.observability.security_log import security_log
from infra.settings import Settings

__all__ = ["export_"]

SUFFIXES: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".duckdb": "duckdb"}


async def export_(
    what: Annotated[str, Parameter(help="A table or view of the schema analytics, or `ledger`.")],
    file: Path,
    *,
    organisation: Annotated[
        str | None, Parameter(help="Name or id of the organisation; all by default.")
    ] = None,
    form: Annotated[
        Format | None, Parameter(name="--format", help="By default the suffix of the file's name.")
    ] = None,
    after: Annotated[int, Parameter(help="Only rows that last changed after this position.")] = 0,
    upto: Annotated[
        int | None, Parameter(name="--to", help="Only rows that last changed up to this position.")
    ] = None,
    personal: Annotated[bool, Parameter(help="Personal data in clear.")] = False,
) -> None:
    """Write a table or view of analysts, or the ledger, to a CSV, Parquet or DuckDB file.

    Prints the position up to which the file is complete: `--after` of the next export.
    """
    settings = Settings.from_environment()
    try:
        source = find_relation(what)
        async with database(settings) as url:
            await prepare_schema(url, own=settings.embedded)
            with progress() as bar:
                task = bar.add_task(what, total=None)
                result = await export(
                    url,
                    source,
                    file,
                    form or SUFFIXES.get(file.suffix, "csv"),
                    Range(organisation, after, upto),
                    KeyRing(*settings.service_keys),
                    personal=personal,
                    total=lambda count: bar.update(task, total=max(count, 1)),
                    advance=lambda count: bar.advance(task, count),
                )
    except (ExportError, OSError, asyncpg.InsufficientPrivilegeError) as error:
        exit_with(error)
    if personal:
        security_log.record("personal_data_exported", source=what, rows=result.rows)
    upto_ = "" if result.upto is None else f", up to position {result.upto}"
    out.print_line(f"{result.rows} rows{upto_}")
