"""Comparing the live views row by row with those that are replayed from the ledger."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from infra.replay.pipeline import Connection
from infra.replay.worker import Key
from infra.views.tables import TABLES, Table

__all__ = ["LIMIT", "Difference", "compare"]

LIMIT = 100_000
"""Differing rows of a view that are read at most: the exact number does not matter beyond it."""

MAX_VALUE_LENGTH = 300
"""The length to which the values of a difference are cut."""

# Filled in with declared names only, none of which needs quoting.
COMPARE = """
SELECT ARRAY[{key}] AS key, ARRAY[{scope}] AS scope,
       CASE WHEN f.organisation IS NULL THEN 'missing' WHEN e.organisation IS NULL THEN 'additional'
            ELSE 'different' END AS what,
       d.name, left(d.expected, {shown}), left(d.found, {shown})
  FROM (SELECT * FROM {fresh}.{view}{where}) AS e
  FULL JOIN (SELECT * FROM views.{view}{where}) AS f USING ({primary})
  LEFT JOIN LATERAL (
       SELECT name, expected, found FROM (VALUES {pairs}) AS v (n, name, expected, found)
        WHERE e.organisation IS NOT NULL AND f.organisation IS NOT NULL
          AND v.expected IS DISTINCT FROM v.found ORDER BY n LIMIT 1) AS d ON true
 WHERE e.organisation IS NULL OR f.organisation IS NULL OR ROW({expected}) IS DISTINCT FROM ROW({found})
 ORDER BY {primary} LIMIT {limit}
"""
RESTRICTED = " WHERE ({scope}) IN (SELECT * FROM unnest({given}))"


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that differs from the ledger.

    ``what`` is ``missing``, ``additional`` or ``different``; only for the last are there a
    ``column`` and what was ``expected`` and ``found`` in it, as (cut) texts. ``key`` is the row's
    primary key, ``scope`` the key by which it is written.
    """

    view: str
    key: tuple[str, ...]
    scope: Key
    what: str
    column: str | None = None
    expected: str | None = None
    found: str | None = None

    def __str__(self) -> str:
        row = f"views.{self.view} {'/'.join(self.key)}"
        if self.what != "different":
            return f"{row}: {self.what} row"
        return f"{row}: column {self.column}: expected {self.expected!r}, found {self.found!r}"


async def compare(
    connection: Connection, view: str, fresh: str, keys: Collection[Key] | None = None
) -> list[Difference]:
    """Return the rows of ``views`` that differ from those in the schema ``fresh``, in the order of keys.

    :param keys: compare these rows only; the keys are those of ``Difference.scope``.
    :return: at most `LIMIT` differences.
    """
    if keys is not None and not keys:
        return []
    statement = _statement(TABLES[view], fresh, scoped=keys is not None)
    arrays = (
        [list(values) for values in zip(*(key[1:] for key in keys), strict=True)] if keys else []
    )
    rows = await connection.fetch(statement, *arrays)
    return [
        Difference(view, tuple(row["key"]), (view, *row["scope"]), *list(row.values())[2:])
        for row in rows
    ]


def _statement(table: Table, fresh: str, *, scoped: bool) -> str:
    compared = [name for name in table.names if name not in table.key]
    where = ""
    if scoped:
        arrays = ", ".join(f"${n}::text[]" for n in range(1, len(table.scope) + 1))
        where = RESTRICTED.format(scope=", ".join(table.scope), given=arrays)
    expected, found = (", ".join(f"{side}.{c}::text" for c in compared) for side in ("e", "f"))
    return COMPARE.format(
        view=table.name,
        fresh=fresh,
        where=where,
        key=_as_texts(table.key),
        scope=_as_texts(table.scope),
        primary=", ".join(table.key),
        expected=expected,
        found=found,
        pairs=", ".join(f"({n}, '{c}', e.{c}::text, f.{c}::text)" for n, c in enumerate(compared)),
        shown=MAX_VALUE_LENGTH,
        limit=LIMIT,
    )


def _as_texts(columns: Sequence[str]) -> str:
    return ", ".join(f"{column}::text" for column in columns)
