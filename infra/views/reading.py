"""Reading documents of the views, together with all compact objects that they show."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import asyncpg

from infra.batching import Batcher
from infra.postgres import Lanes
from services.ports import Found, Select

__all__ = ["CLOSURE", "Reader", "compacts"]

CLOSURE = """
follow (id, refs) AS (
    SELECT p.id, f.refs
      FROM page p,
           LATERAL (SELECT code, created FROM views.communications c
                     WHERE c.organisation = $1 AND c.id = p.id LIMIT 1) AS c,
           LATERAL (SELECT array_agg('communication/' || f.id ORDER BY f.created) AS refs
                      FROM views.communications f
                     WHERE f.organisation = $1 AND f.code = c.code AND f.created > c.created
                    HAVING count(*) > 0) AS f
     WHERE p.id IS NOT NULL
), wanted (ref) AS (
    SELECT unnest(refs) FROM page
    UNION SELECT unnest(refs) FROM follow
    UNION SELECT unnest(e.refs) FROM wanted w, LATERAL (
        SELECT refs FROM views.entities e WHERE e.organisation = $1 AND e.ref = w.ref LIMIT 1) AS e
), shown (what, ref, document, refs) AS (
    SELECT 'ref', w.ref, e.document, NULL::text[]
      FROM wanted w, LATERAL (
        SELECT document FROM views.entities e WHERE e.organisation = $1 AND e.ref = w.ref LIMIT 1) AS e
     WHERE e.document IS NOT NULL
    UNION ALL
    SELECT 'follow_ups', 'follow_ups/' || id, NULL, refs FROM follow
)"""
"""Common table expressions that follow references: from ``page`` (id, refs) to ``shown``.

``follow`` finds the later communications of the same code, the one set that is not stored. Every
look-up is LATERAL with a limit, so that it is made by its key: without statistics a join may be planned
as a scan of the whole organisation.
"""

COLUMNS: dict[str, frozenset[str]] = {
    "contacts": frozenset(
        {
            "id",
            "id_number",
            "passport_number",
            "social_security_number",
            "vat_registration_number",
            "emails",
            "phones",
        }
    ),
    "communications": frozenset({"id", "contact_information", "category", "direction", "media"}),
    "queue_entries": frozenset(
        {"id", "external_system", "media", "contact_information", "life_cycle_state"}
    ),
}
"""The views that can be selected from, and the columns by which; no other name reaches SQL."""

PAGE = """
WITH RECURSIVE page AS (
    SELECT id, refs, document, created FROM views.{view}
     WHERE organisation = $1{conditions} ORDER BY created {order} LIMIT $2 OFFSET $3
), {closure}
SELECT 'page' AS what, id AS ref, document, NULL::text[] AS refs, created FROM page
UNION ALL
SELECT what, ref, document, refs, NULL FROM shown
"""


class Reader:
    """Reads documents; single ones that are wanted at the same moment share one statement."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._single: Batcher[str, Found] = Batcher(self._documents, places=lanes.count, most=64)

    async def select(self, organisation: str, select: Select) -> Found:
        """The documents of a page, in its order."""
        if set(select.where) == {"id"}:
            return await self._single.submit((organisation, select.view), select.where["id"])
        sql, values = _statement(select)
        rows = await self._lanes.read(
            lambda connection: connection.fetch(
                sql, organisation, select.limit, select.offset, *values
            )
        )
        pages = [row for row in rows if row["what"] == "page"]
        pages.sort(key=lambda row: row["created"], reverse=select.descending)
        found = Found([row["document"] for row in pages])
        found.compacts = _shown(rows)
        return found

    async def _documents(self, key: Hashable, ids: list[str]) -> list[Found]:
        assert isinstance(key, tuple)
        organisation, view = str(key[0]), str(key[1])
        sql, values = _statement(Select(view, {"id": tuple(set(ids))}))
        rows = await self._lanes.read(
            lambda connection: connection.fetch(sql, organisation, len(ids), 0, *values)
        )
        documents = {row["ref"]: row["document"] for row in rows if row["what"] == "page"}
        shown = _shown(rows)
        return [Found([documents[i]] if i in documents else [], shown) for i in ids]


def _statement(select: Select) -> tuple[str, list[Any]]:
    """The SQL of a page and the values of its conditions, from the fourth parameter on."""
    conditions, values = "", []
    for column, value in select.where.items():
        if column not in COLUMNS[select.view]:
            raise KeyError(column)
        values.append(list(value) if isinstance(value, tuple) else value)
        n = len(values) + 3
        if isinstance(value, tuple):
            conditions += f" AND {column} = ANY (${n}::text[])"
        elif isinstance(value, list):
            conditions += f" AND {column} @> ${n}::text[]"
        else:
            conditions += f" AND {column} = ${n}"
    order = "DESC" if select.descending else "ASC"
    sql = PAGE.format(view=select.view, conditions=conditions, order=order, closure=CLOSURE)
    return sql, values


def _shown(rows: list[asyncpg.Record]) -> dict[str, bytes]:
    none = {f"follow_ups/{row['ref']}": b"[]" for row in rows if row["what"] == "page"}
    return none | compacts(row for row in rows if row["what"] != "page")


def compacts(rows: Iterable[asyncpg.Record]) -> dict[str, bytes]:
    """Compact objects by reference; follow-ups as an array with a place for each."""
    found: dict[str, bytes] = {}
    for row in rows:
        ref = row["ref"]
        if row["what"] == "ref":
            found[ref] = row["document"]
        else:
            places = (b'{"$ref":"%s"}' % follower.encode() for follower in row["refs"])
            found[ref] = b"[" + b",".join(places) + b"]"
    return found
