"""Exports: an object of analysts, or the ledger, as a file that is the same for the same rows.

The rows come in one order out of one snapshot, as CSV by ``COPY``, a piece at a time. Parquet and
DuckDB files are made from that CSV by DuckDB, which is an extra (`infra.analytics.duckdb_files`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, TypeAlias, cast

import asyncpg

from infra.analytics.columns import Column, quoted
from infra.analytics.relation import ORGANISATION, PERSONAL_ROLE, ROLE, Relation
from infra.analytics.relations import OBJECTS
from infra.ledger.positions import HEAD
from infra.postgres.pool import snapshot

__all__ = ["LEDGER", "Export", "ExportError", "Format", "Range", "export", "relation"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Format: TypeAlias = Literal["csv", "parquet", "duckdb"]

SETTINGS = {
    "application_name": "crmledger export",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "search_path": "pg_catalog",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""Whatever the server's are: they shape the text of values, and an export takes as long as it takes."""

LEDGER = Relation(
    "ledger",
    "The events as they stand in the ledger; what belongs to a person is encrypted in them.",
    (
        ORGANISATION,
        Column("position", "bigint", "Its place in the organisation's ledger."),
        Column("stream_id", "uuid", "The entity that the event is about."),
        Column("version", "integer", "Its place among the entity's events."),
        Column("topic", "text", "What happened."),
        Column("schema_version", "smallint", "The form of the payload."),
        Column("subject", "uuid", "The contact whose key encrypts the payload's personal part."),
        Column("payload", "json", "What the event says."),
        Column("metadata", "json", "Who, when and in which request."),
        Column("recorded_at", "timestamp with time zone", "When it was recorded."),
        Column("event_hash", "bytea", "SHA-256 over all other columns."),
    ),
    "ledger.events",
    ("position",),
    "position",
)

NAMED = """
SELECT r.id FROM views.records r
 WHERE r.kind = 'organisation' AND $1 IN (r.id, r.document ->> 'name')
"""
# A spreadsheet takes a text that begins so for a formula, and runs it.
FORMULA = r"^[=+@\t\r\n-]"


class ExportError(RuntimeError):
    """What was asked for cannot be exported; the message says why."""


@dataclass(frozen=True, slots=True)
class Range:
    """Whose rows, and which: those last changed at ``after < position <= upto``."""

    organisation: str | None = None
    after: int = 0
    upto: int | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """What an export wrote: rows, and with an organisation the position it is complete up to."""

    rows: int
    upto: int | None


def relation(what: str) -> Relation:
    """The object of that name, or the ledger. Raises `ExportError` for any other name."""
    found = LEDGER if what == LEDGER.name else OBJECTS.get(what)
    if found is None:
        names = ", ".join(sorted({*OBJECTS, LEDGER.name}))
        raise ExportError(f"there is no {what}; there are {names}")
    return found


async def export(
    url: str,
    what: Relation,
    file: Path,
    form: Format,
    wanted: Range,
    *,
    personal: bool = False,
    total: Callable[[int], None],
    advance: Callable[[int], None],
) -> Export:
    """Writes the rows of ``what`` in ``wanted`` to ``file``, which is there whole or not at all.

    :param url: the database, as its owner.
    :param personal: in clear what belongs to a person.
    :param total: is told how many lines there will be: one for each row, and the names.
    :param advance: is told how many lines more were read.
    :raises ExportError: for a range that ``what`` or the ledger does not have, or a missing extra.
    """
    convert = None if form == "csv" else _converter(form)
    async with snapshot(url, SETTINGS) as connection:
        whose, upto = await _bounds(connection, what, wanted)
        chosen, values = _chosen(what, whose, wanted.after, upto)
        if what is not LEDGER:
            await connection.execute(f"SET LOCAL ROLE {PERSONAL_ROLE if personal else ROLE}")
        rows: int = await connection.fetchval(f"SELECT count(*) {chosen}", *values)
        total(rows + 1)
        with _whole(file) as draft:
            lines = draft.with_suffix(".csv") if convert else draft
            query = f"SELECT {_cells(what, form)} {chosen} ORDER BY {_order(what)}"
            await _copy(connection, query, values, lines, advance)
            if convert is not None:
                await asyncio.to_thread(convert, what, lines, draft, form)
    return Export(rows, upto)


async def _bounds(
    connection: Connection, what: Relation, wanted: Range
) -> tuple[str | None, int | None]:
    """The id of the organisation and the last position of the range, if there is one."""
    ranged = wanted.after > 0 or wanted.upto is not None
    if ranged and not what.position:
        raise ExportError(f"{what.name} is exported as a whole: its rows have no positions")
    if wanted.organisation is None:
        if ranged:
            raise ExportError("positions are those of one organisation: name it")
        return None, None
    whose: str | None = await connection.fetchval(NAMED, wanted.organisation)
    if whose is None:
        raise ExportError(f"there is no organisation {wanted.organisation}")
    head: int = await connection.fetchval(HEAD, whose)
    if wanted.upto is not None and wanted.upto > head:
        raise ExportError(f"the ledger ends at position {head}")
    return whose, head if wanted.upto is None else wanted.upto


def _chosen(
    what: Relation, whose: str | None, after: int, upto: int | None
) -> tuple[str, list[str | int | None]]:
    """The rows in SQL, and the values in it."""
    source = what.source if what is LEDGER else f"analytics.{what.name}"
    if whose is None:
        return f"FROM {source}", []
    if not what.position:
        return f"FROM {source} WHERE organisation = $1", [whose]
    ranged = f"organisation = $1 AND {what.position} > $2 AND {what.position} <= $3"
    return f"FROM {source} WHERE {ranged}", [whose, after, upto]


def _order(what: Relation) -> str:
    """One order, whatever the database's collation."""
    texts = {column.name for column in what.columns if column.type == "text"}
    names = ("organisation", *what.order)
    return ", ".join(f'{quoted(n)} COLLATE "C"' if n in texts else quoted(n) for n in names)


def _cells(what: Relation, form: Format) -> str:
    return ", ".join(_cell(column, form) for column in what.columns)


def _cell(column: Column, form: Format) -> str:
    """One column; in CSV no text of it can be taken for a formula."""
    name = quoted(column.name)
    if form != "csv" or column.type != "text":
        return name
    return f"CASE WHEN {name} ~ '{FORMULA}' THEN '''' || {name} ELSE {name} END AS {name}"


async def _copy(
    connection: Connection,
    query: str,
    values: list[str | int | None],
    file: Path,
    advance: Callable[[int], None],
) -> None:
    """Writes the rows as CSV with a line of names, and tells of each."""
    lines = _Lines()
    with file.open("wb") as out:

        async def take(piece: bytes) -> None:
            out.write(piece)
            advance(lines.ended(piece))

        await connection.copy_from_query(
            query, *values, output=take, format="csv", header=True, encoding="UTF8"
        )


class _Lines:
    """Counts the lines of a CSV file that comes in pieces: line ends in quotes are none."""

    def __init__(self) -> None:
        self._quoted = 0

    def ended(self, piece: bytes) -> int:
        """How many lines end in the next piece."""
        parts = piece.split(b'"')
        outside = parts[self._quoted :: 2]
        self._quoted = (self._quoted + len(parts) - 1) % 2
        return sum(part.count(b"\n") for part in outside)


def _converter(form: Format) -> Callable[[Relation, Path, Path, str], None]:
    """What makes Parquet and DuckDB files; refused at once where the extra for it is missing."""
    try:
        found = import_module("infra.analytics.duckdb_files").convert
    except ModuleNotFoundError as error:
        raise ExportError(f"{form} files need DuckDB: pip install 'crmledger[export]'") from error
    return cast(Callable[[Relation, Path, Path, str], None], found)


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """A draft that takes the place of ``file`` in the end, with nothing left beside it."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(file)
    finally:
        for left in (draft, draft.with_suffix(".csv")):
            left.unlink(missing_ok=True)
