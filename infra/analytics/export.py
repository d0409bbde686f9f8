"""Exports a relation of analysts, or the ledger, to a file that is the same for the same rows.

The rows of one snapshot come in a fixed order as CSV by ``COPY``, in chunks. Parquet and DuckDB files
are made from that CSV by DuckDB, which is an extra (`infra.analytics.duckdb_files`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, TypeAlias, cast

import asyncpg

from domain.identifiers import normalised
from infra.analytics.columns import Column, quoted
from infra.analytics.relation import ORGANISATION, PERSONAL_ROLE, ROLE, Relation
from infra.analytics.relations import OBJECTS
from infra.encryption import KeyRing
from infra.ledger.feed import (
    STORED_COLUMNS,
    LedgerCorruptedError,
    check_authentic,
    stored_event,
)
from infra.ledger.positions import HEAD
from infra.postgres.pool import snapshot
from infra.private_files import replace_privately

__all__ = ["LEDGER", "Export", "ExportError", "Format", "Range", "export", "find_relation"]

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
"""Fixed settings, whatever the server's are: they determine the text of values; exports have no time limit."""

PAGE = 1_000
"""Events that are in memory at once."""

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
        Column("event_hash", "bytea", "SHA-256 over the columns before it."),
    ),
    "ledger.events",
    ("position",),
    "position",
)

ORGANISATION_ID = """
SELECT r.id FROM views.records r
 WHERE r.kind = 'organisation' AND (r.id = $1 OR normalize(btrim(r.document ->> 'name'), NFC) = $2)
"""
# A spreadsheet evaluates a text that begins so as a formula.
FORMULA = r"^[=+@\t\r\n-]"


class ExportError(RuntimeError):
    """The export is not possible; the message says why."""


@dataclass(frozen=True, slots=True)
class Range:
    """The rows to export: those of an organisation, last changed at ``after < position <= upto``."""

    organisation: str | None = None
    after: int = 0
    upto: int | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """The result of an export: the number of rows; for an organisation, the position up to which it is complete."""

    rows: int
    upto: int | None


def find_relation(name: str) -> Relation:
    """Return the relation of a name, or the ledger. Raises `ExportError` for an unknown name."""
    relation = LEDGER if name == LEDGER.name else OBJECTS.get(name)
    if relation is None:
        names = ", ".join(sorted({*OBJECTS, LEDGER.name}))
        raise ExportError(f"there is no {name}; there are {names}")
    return relation


async def export(
    url: str,
    relation: Relation,
    file: Path,
    format_: Format,
    range_: Range,
    ring: KeyRing,
    *,
    personal: bool = False,
    total: Callable[[int], None],
    advance: Callable[[int], None],
) -> Export:
    """Write the rows of a relation within a range to ``file``, completely or not at all.

    :param url: the database, as its owner.
    :param ring: what authenticates the events of a ledger.
    :param personal: export personal data in clear.
    :param total: is called once with the number of lines: one for each row, and the header.
    :param advance: is called with the number of further lines that were read.
    :raises ExportError: for a range that the relation or the ledger does not have, a missing extra, or
        an event that was not written with the service key.
    """
    convert = None if format_ == "csv" else _load_converter(format_)
    async with snapshot(url, SETTINGS) as connection:
        organisation, upto = await _resolve_range(connection, relation, range_)
        source, values = _row_source(relation, organisation, range_.after, upto)
        if relation is LEDGER:
            await _check_ledger(connection, ring, source, values)
        else:
            await connection.execute(f"SET LOCAL ROLE {PERSONAL_ROLE if personal else ROLE}")
        rows: int = await connection.fetchval(f"SELECT count(*) {source}", *values)
        total(rows + 1)
        with replace_privately(file) as draft:
            csv_file = draft.with_name("rows") if convert else draft
            query = f"SELECT {_select_list(relation, format_)} {source} ORDER BY {_order(relation)}"
            await _copy(connection, query, values, csv_file, advance)
            if convert is not None:
                await asyncio.to_thread(convert, relation, csv_file, draft, format_)
    return Export(rows, upto)


async def _check_ledger(
    connection: Connection, ring: KeyRing, source: str, values: list[str | int | None]
) -> None:
    """Raise `ExportError` for an event that was not written with the service key."""
    query = f"SELECT organisation, {STORED_COLUMNS} {source} ORDER BY organisation, position"
    async for row in connection.cursor(query, *values, prefetch=PAGE):
        try:
            check_authentic(ring, row["organisation"], [stored_event(row)])
        except LedgerCorruptedError as error:
            raise ExportError(str(error)) from None


async def _resolve_range(
    connection: Connection, relation: Relation, range_: Range
) -> tuple[str | None, int | None]:
    """Return the id of the organisation and the last position of the range; None if all are exported."""
    is_bounded = range_.after > 0 or range_.upto is not None
    if is_bounded and not relation.position:
        raise ExportError(f"{relation.name} is exported as a whole: its rows have no positions")
    if range_.organisation is None:
        if is_bounded:
            raise ExportError("positions are those of one organisation: name it")
        return None, None
    organisation: str | None = await connection.fetchval(
        ORGANISATION_ID, range_.organisation, normalised("name", range_.organisation)
    )
    if organisation is None:
        raise ExportError(f"there is no organisation {range_.organisation}")
    head: int = await connection.fetchval(HEAD, organisation)
    if range_.upto is not None and range_.upto > head:
        raise ExportError(f"the ledger ends at position {head}")
    return organisation, head if range_.upto is None else range_.upto


def _row_source(
    relation: Relation, organisation: str | None, after: int, upto: int | None
) -> tuple[str, list[str | int | None]]:
    """Return the ``FROM`` and ``WHERE`` of the rows, and the values of its parameters."""
    source = relation.source if relation is LEDGER else f"analytics.{relation.name}"
    if organisation is None:
        return f"FROM {source}", []
    if not relation.position:
        return f"FROM {source} WHERE organisation = $1", [organisation]
    condition = f"organisation = $1 AND {relation.position} > $2 AND {relation.position} <= $3"
    return f"FROM {source} WHERE {condition}", [organisation, after, upto]


def _order(relation: Relation) -> str:
    """Return a fixed ``ORDER BY``, whatever the database's collation."""
    texts = {column.name for column in relation.columns if column.type == "text"}
    names = ("organisation", *relation.order)
    return ", ".join(
        f'{quoted(name)} COLLATE "C"' if name in texts else quoted(name) for name in names
    )


def _select_list(relation: Relation, format_: Format) -> str:
    return ", ".join(_cell(column, format_) for column in relation.columns)


def _cell(column: Column, format_: Format) -> str:
    """Return one column of the select list; in CSV no text of it can be taken for a formula."""
    name = quoted(column.name)
    if format_ != "csv" or column.type != "text":
        return name
    return f"CASE WHEN {name} ~ '{FORMULA}' THEN '''' || {name} ELSE {name} END AS {name}"


async def _copy(
    connection: Connection,
    query: str,
    values: list[str | int | None],
    file: Path,
    advance: Callable[[int], None],
) -> None:
    """Write the rows as CSV with a header, and report progress by lines."""
    counter = _LineCounter()
    with file.open("wb") as out:

        async def write(piece: bytes) -> None:
            out.write(piece)
            advance(counter.count(piece))

        await connection.copy_from_query(
            query, *values, output=write, format="csv", header=True, encoding="UTF8"
        )


class _LineCounter:
    """Counts the lines of a CSV file that comes in pieces; line ends in quotes do not count."""

    def __init__(self) -> None:
        self._quoted = 0

    def count(self, piece: bytes) -> int:
        """Return the number of lines that end in the next piece."""
        parts = piece.split(b'"')
        outside = parts[self._quoted :: 2]
        self._quoted = (self._quoted + len(parts) - 1) % 2
        return sum(part.count(b"\n") for part in outside)


def _load_converter(format_: Format) -> Callable[[Relation, Path, Path, str], None]:
    """Return the converter to Parquet and DuckDB. Raises `ExportError` if the extra for it is missing."""
    try:
        convert = import_module("infra.analytics.duckdb_files").convert
    except ModuleNotFoundError as error:
        raise ExportError(
            f"{format_} files need DuckDB: pip install 'crmledger[export]'"
        ) from error
    return cast(Callable[[Relation, Path, Path, str], None], convert)
