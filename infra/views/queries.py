"""Reading documents of the views, together with all compact objects that they show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncpg

from infra.batcher import Batcher
from infra.postgres.pool import ReadPool
from infra.views.tables import TABLES
from services.context import ConsumerScope, QueryResult, ViewQuery

__all__ = [
    "LIVE_SCHEMA",
    "ViewReader",
    "customer_refs",
    "documents_with_references",
    "follow_ups",
    "reference_closure",
    "statement",
]

LIVE_SCHEMA = "views"
"""The schema of the views as they are."""

# The tables of a statement are those of {schema}: there is one text for now and then. Functions are those of
# ``views`` always: they look at what is a customer's now, and only auditors read the past, who are no customers.
FOLLOW = """
follow (id, refs, places) AS (
    SELECT p.id, f.*
      FROM {followed} p,
           LATERAL (SELECT array_agg('communication/' || f.id),
                           string_agg('{{"$ref":"communication/' || f.id || '"}}', ',' ORDER BY f.created)
                      FROM {schema}.communications f
                     WHERE f.organisation = $1 AND f.code = p.code AND f.created > p.created
                       AND ({customer}::text[] IS NULL OR 'contact_information/' || f.contact_information = ANY ({customer}::text[]))
                    HAVING count(*) > 0) AS f
), """
CLOSURE = """
{follow}wanted (ref, document, refs, owners, level) AS (
    SELECT ref, document, refs, owners, 1
      FROM {schema}.entities
     WHERE organisation = $1 AND ref = ANY (ARRAY(SELECT unnest(refs) FROM {holders}))
    UNION ALL
    SELECT w.ref, e.*, w.level + 1
      FROM (SELECT DISTINCT unnest(refs) AS ref, level FROM wanted WHERE level < {levels}) AS w,
           LATERAL (SELECT document, refs, owners FROM {schema}.entities e
                     WHERE e.organisation = $1 AND e.ref = w.ref LIMIT 1) AS e
), shown (ref, document) AS (
    SELECT ref, document
      FROM wanted
     WHERE document IS NOT NULL
       AND ({customer}::text[] IS NULL OR views.belongs_to_customer($1, ref, {customer}::text[])
            OR owners = '{{}}' AND ref !~ '^(contact_information|accounts_receivable|access_token)/')
{followers})"""
MAX_DEPTH = 8
"""How deep objects may show others: more than any shape needs, and an end to what would go round in a circle."""

COLUMNS: dict[str, frozenset[str]] = {
    table.name: names
    for table in TABLES.values()
    if (names := frozenset(column.name for column in table.columns if column.searched))
}
"""The views that can be selected from, and the columns by which; no other name reaches SQL."""

ROW_FILTERS: dict[str, str] = {
    "contacts": "'contact_information/' || id = ANY ($2::text[])",
    "communications": "'contact_information/' || contact_information = ANY ($2::text[])",
    "access_tokens": "views.belongs_to_customer($1, 'access_token/' || id, $2::text[])",
    # Bare columns, so that the rows of one customer are found by two indexes.
    "service_requests": "(accounts_receivable = split_part(($2::text[])[1], '/', 2)"
    " OR contact_information = split_part(($2::text[])[2], '/', 2))",
}
"""Which rows of a view are a customer's (``$2`` as of `customer_refs`); of the others, none."""

HAS_FOLLOW_UPS: dict[str, tuple[str, ...]] = {"communications": ("code", "created")}
"""Which views show follow-ups, and the columns of a page by which they are found."""

PAGE = """
WITH RECURSIVE page AS (
    SELECT id, refs, document, {columns} FROM {schema}.{view}
     WHERE organisation = $1{conditions}
     ORDER BY {order} LIMIT $3 OFFSET $4
), {closure}
SELECT id AS ref, document, row_number() OVER (ORDER BY {order}) AS place FROM page
UNION ALL
SELECT ref, document, NULL FROM shown
"""

BY_ID = """
page AS (
    SELECT {columns} FROM {schema}.{view} WHERE organisation = $1 AND id = ANY (ARRAY({ids}))
), {closure}
"""

COMPARISONS = {"<": "<", "<=": "<=", ">=": ">="}
"""How a column of dates may be bounded; no other operator reaches SQL."""


COMPACT = "SELECT document FROM {schema}.entities WHERE organisation = $1 AND ref = $2"


def reference_closure(followed: str | None, customer: str = "$2", schema: str = LIVE_SCHEMA) -> str:
    """Common table expressions that follow references: from ``page`` (id, refs) to ``shown``.

    A customer is shown nothing that is another one's: what has no owners is shown, but contacts and
    accounts are their own, and access tokens that nobody has are nobody's. Look-ups are made by an array
    of keys, or one by one with a limit, so that they go by the index: without statistics a join may be
    planned as a scan of the whole organisation. An object is looked up once on each level, and what it
    shows is kept for the answer. Follow-ups are shown as an array with a place for each.

    :param followed: what holds the id, code and creation of communications that show their follow-ups,
        the one set that is not stored; None if there are none.
    :param customer: null, or the entities that are the customer (`customer_refs`).
    :param schema: the schema whose tables are read.
    """
    follow, holders, followers = "", "page", ""
    if followed is not None:
        follow = FOLLOW.format(followed=followed, customer=customer, schema=schema)
        holders = "(SELECT refs FROM page UNION ALL SELECT refs FROM follow) AS h"
        followers = "UNION ALL SELECT 'follow_ups/' || id, ('[' || places || ']')::json FROM follow"
    return CLOSURE.format(
        follow=follow,
        holders=holders,
        followers=followers,
        customer=customer,
        schema=schema,
        levels=MAX_DEPTH,
    )


def documents_with_references(view: str, ids: str, schema: str = LIVE_SCHEMA) -> str:
    """Common table expressions from the documents of a view by their ids (``page``) to ``shown``.

    :param ids: the statement that selects the ids. For callers who are shown everything, no customers.
    :param schema: the schema whose tables are read.
    """
    columns = ", ".join(("id", "refs", "document", *HAS_FOLLOW_UPS.get(view, ())))
    return BY_ID.format(
        columns=columns,
        view=view,
        ids=ids,
        schema=schema,
        closure=reference_closure("page" if view in HAS_FOLLOW_UPS else None, "NULL", schema),
    )


def follow_ups(view: str, ids: Iterable[str]) -> dict[str, bytes]:
    """What communications show of follow-ups as long as none are found."""
    return {f"follow_ups/{id_}": b"[]" for id_ in ids} if view in HAS_FOLLOW_UPS else {}


class ViewReader:
    """Reads documents; single ones that are wanted at the same moment share one statement."""

    def __init__(self, lanes: ReadPool, schema: str = LIVE_SCHEMA) -> None:
        """:param schema: where the views are read."""
        self._lanes = lanes
        self._schema = schema
        self._single: Batcher[str, QueryResult] = Batcher(
            self._documents, concurrency=lanes.size, max_batch=64
        )

    async def select(self, organisation: str, select: ViewQuery) -> QueryResult:
        """The documents of a page, in its order."""
        if set(select.where) == {"id"}:
            key = (organisation, select.view, select.customer)
            return await self._single.submit(key, select.where["id"])
        sql, values = statement(select, self._schema)
        customer = customer_refs(select.customer)
        rows = await self._lanes.read(
            lambda connection: connection.fetch(
                sql, organisation, customer, select.limit, select.offset, *values
            )
        )
        documents, shown = _parted(select.view, rows)
        return QueryResult(list(documents.values()), shown)

    async def compact(self, organisation: str, ref: str) -> bytes | None:
        """One stored compact object."""
        sql = COMPACT.format(schema=self._schema)
        found: bytes | None = await self._lanes.read(
            lambda connection: connection.fetchval(sql, organisation, ref)
        )
        return found

    async def _documents(self, key: Any, ids: list[str]) -> list[QueryResult]:
        organisation, view, customer = key
        query = ViewQuery(view, {"id": tuple(set(ids))}, customer=customer)
        sql, values = statement(query, self._schema)
        refs = customer_refs(customer)
        rows = await self._lanes.read(
            lambda connection: connection.fetch(sql, organisation, refs, len(ids), 0, *values)
        )
        documents, shown = _parted(view, rows)
        return [QueryResult([documents[i]] if i in documents else [], shown) for i in ids]


def statement(select: ViewQuery, schema: str = LIVE_SCHEMA) -> tuple[str, list[Any]]:
    """The SQL of a page of ``schema`` and the values of its conditions, from the fifth parameter on.

    What narrows the rows stands in the text, and only where it is wanted: the plan is made for the
    statement, not for its values, and takes an index only if it fits whatever they are.
    """
    for column in (*select.where, *select.order):
        if column not in COLUMNS[select.view] | {"created"}:
            raise KeyError(column)
    values: list[Any] = []
    conditions = "".join(f" AND {_condition(*one, values)}" for one in select.where.items())
    if select.customer is not None:
        conditions += f" AND {ROW_FILTERS.get(select.view, 'false')}"
    direction = "DESC" if select.descending else "ASC"
    order = ", ".join(f"{column} {direction}" for column in select.order)
    columns = {*select.order, *HAS_FOLLOW_UPS.get(select.view, ())}
    sql = PAGE.format(
        view=select.view,
        columns=", ".join(sorted(columns)),
        conditions=conditions,
        order=order,
        schema=schema,
        closure=reference_closure("page" if select.view in HAS_FOLLOW_UPS else None, schema=schema),
    )
    return sql, values


def _condition(column: str, value: Any, values: list[Any]) -> str:
    """One condition as SQL; what it compares with is added to ``values``."""

    def parameter(value: Any) -> str:
        values.append(value)
        return f"${len(values) + 4}"

    if isinstance(value, bool):
        return column if value else f"NOT {column}"
    if isinstance(value, tuple):
        return f"{column} = ANY ({parameter(list(value))}::text[])"
    if isinstance(value, list):
        return f"{column} @> {parameter(value)}::text[]"
    if isinstance(value, dict):
        bounds = ((operator, parameter(date)) for operator, date in value.items())
        return " AND ".join(f"{column} {COMPARISONS[op]} {n}::text::timestamp" for op, n in bounds)
    return f"{column} = {parameter(value)}"


def customer_refs(customer: ConsumerScope | None) -> tuple[str, str] | None:
    """The entities that are a customer, as ``kind/id``."""
    if customer is None:
        return None
    return f"accounts_receivable/{customer.account}", f"contact_information/{customer.contact}"


def _parted(view: str, rows: list[asyncpg.Record]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The documents of a page by id, in its order, and by reference what they show."""
    page: list[tuple[int, str, bytes]] = []
    shown: dict[str, bytes] = {}
    for ref, document, place in rows:
        if place is None:
            shown[ref] = document
        else:
            page.append((place, ref, document))
    page.sort()
    documents = {id_: document for _, id_, document in page}
    return documents, follow_ups(view, documents) | shown
