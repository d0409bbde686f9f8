"""Reading documents of the views, together with all compact objects that they show."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Any

import asyncpg

from infra.batcher import Batcher
from infra.postgres.pool import ReadPool
from infra.views.tables import TABLES
from services.context import ConsumerScope, QueryResult, ViewQuery
from services.projections import MAX_FOLLOW_UPS

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
"""The schema of the live views."""

# Tables are those of {schema}: present and past are read by the same text. Functions are always those of ``views``,
# which look at the present: they are called for customers only, and only auditors read the past.
FOLLOW = """
follow (id, refs, places) AS (
    SELECT p.id, f.*
      FROM {followed} p,
           LATERAL (SELECT array_agg('communication/' || f.id),
                           string_agg('{{"$ref":"communication/' || f.id || '"}}', ',' ORDER BY f.created)
                      FROM (SELECT id, created FROM {schema}.communications c
                             WHERE c.organisation = $1 AND c.code = p.code AND c.created > p.created
                               AND ({customer}::text[] IS NULL OR 'contact_information/' || c.contact_information = ANY ({customer}::text[]))
                             ORDER BY c.created LIMIT {limit}) AS f
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
"""How deep objects may show others: more than any shape needs, and an end to references in a circle."""

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
"""The rows of a view that are a customer's (``$2`` as of `customer_refs`); of other views none are."""

HAS_FOLLOW_UPS: dict[str, tuple[str, ...]] = {"communications": ("code", "created")}
"""The views that show follow-ups, and the columns of a page by which these are found."""

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

ROWS = """
WITH customer AS (SELECT $2::text[])
SELECT {columns} FROM {schema}.{view}
 WHERE organisation = $1{conditions}
 ORDER BY {order} LIMIT $3 OFFSET $4
"""
SHOWN = """
WITH RECURSIVE page (refs) AS (
    SELECT $3::text[]
), followed (id, code, created) AS (
    SELECT * FROM unnest($4::text[], $5::text[], $6::bigint[])
), {closure}
SELECT ref, document FROM shown
"""

BY_ID = """
page AS (
    SELECT {columns} FROM {schema}.{view} WHERE organisation = $1 AND id = ANY (ARRAY({ids}))
), {closure}
"""

COMPARISONS = {"<": "<", "<=": "<=", ">=": ">="}
"""The operators by which a column of dates may be bounded; no other operator reaches SQL."""


COMPACT = "SELECT document FROM {schema}.entities WHERE organisation = $1 AND ref = $2"


def reference_closure(followed: str | None, customer: str = "$2", schema: str = LIVE_SCHEMA) -> str:
    """Return common table expressions that follow references: from ``page`` (id, refs) to ``shown``.

    A customer sees nothing of another one. Objects without owners are shown, except contacts and
    accounts, which are their own owners, and access tokens, which then belong to nobody. Objects are looked
    up by an array of keys, or one by one with a limit, so that the index is used: without statistics a
    join may be planned as a scan of the whole organisation. An object is looked up once on each level.
    Follow-ups are shown as an array with a place for each.

    :param followed: the relation with the id, code and creation of communications that show their
        follow-ups, the one set that is not stored; None if there is none.
    :param customer: null, or the entities that are the customer (`customer_refs`).
    :param schema: the schema whose tables are read.
    """
    follow, holders, followers = "", "page", ""
    if followed is not None:
        follow = FOLLOW.format(
            followed=followed, customer=customer, schema=schema, limit=MAX_FOLLOW_UPS
        )
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
    """Return common table expressions from the documents of a view by their ids (``page``) to ``shown``.

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
    """Return the empty follow-ups of communications, by reference, for those of which none are found."""
    return {f"follow_ups/{id_}": b"[]" for id_ in ids} if view in HAS_FOLLOW_UPS else {}


class ViewReader:
    """Reads documents; single ones that are asked for at the same time share one statement."""

    def __init__(self, pool: ReadPool, streams: ReadPool, schema: str = LIVE_SCHEMA) -> None:
        """:param streams: connections for long lists, held for as long as a client reads one.
        :param schema: the schema whose tables are read.
        """
        self._pool = pool
        self._streams = streams
        self._schema = schema
        self._single: Batcher[str, QueryResult] = Batcher(
            self._load_documents, concurrency=pool.size, max_batch=64
        )

    async def select(self, organisation: str, select: ViewQuery) -> QueryResult:
        """Return the documents of a page, in its order."""
        if set(select.where) == {"id"}:
            key = (organisation, select.view, select.customer)
            return await self._single.submit(key, select.where["id"])
        sql, values = statement(select, self._schema)
        customer = customer_refs(select.customer)
        rows = await self._pool.read(
            lambda connection: connection.fetch(
                sql, organisation, customer, select.limit, select.offset, *values
            )
        )
        documents, references = _split_rows(select.view, rows)
        return QueryResult(list(documents.values()), references)

    async def stream(
        self, organisation: str, query: ViewQuery, page_size: int
    ) -> AsyncGenerator[QueryResult, None]:
        """Yield the documents of one snapshot page by page, in their order, as a cursor finds them."""
        sql, values = rows_statement(query, self._schema)
        customer = customer_refs(query.customer)
        async with self._streams.snapshot() as connection:
            cursor = await connection.cursor(
                sql, organisation, customer, query.limit, query.offset, *values
            )
            while rows := await cursor.fetch(page_size):
                references = await self._load_references(connection, organisation, query, rows)
                yield QueryResult([row["document"] for row in rows], references)

    async def _load_references(
        self,
        connection: asyncpg.Connection,
        organisation: str,
        query: ViewQuery,
        rows: list[asyncpg.Record],
    ) -> dict[str, bytes]:
        """Return the objects that rows of a view show, by reference."""
        followed = "followed" if query.view in HAS_FOLLOW_UPS else None
        sql = SHOWN.format(closure=reference_closure(followed, schema=self._schema))
        refs = {ref for row in rows for ref in row["refs"]}
        ids = [row["id"] for row in rows]
        codes, created = (
            [row[name] for row in rows] if followed else [] for name in ("code", "created")
        )
        objects = await connection.fetch(
            sql, organisation, customer_refs(query.customer), list(refs), ids, codes, created
        )
        return follow_ups(query.view, ids) | dict(map(tuple, objects))

    async def compact(self, organisation: str, ref: str) -> bytes | None:
        """Return a stored compact object, or None."""
        sql = COMPACT.format(schema=self._schema)
        document: bytes | None = await self._pool.read(
            lambda connection: connection.fetchval(sql, organisation, ref)
        )
        return document

    async def _load_documents(self, key: Any, ids: list[str]) -> list[QueryResult]:
        organisation, view, customer = key
        query = ViewQuery(view, {"id": tuple(set(ids))}, customer=customer)
        sql, values = statement(query, self._schema)
        refs = customer_refs(customer)
        rows = await self._pool.read(
            lambda connection: connection.fetch(sql, organisation, refs, len(ids), 0, *values)
        )
        documents, references = _split_rows(view, rows)
        return [QueryResult([documents[i]] if i in documents else [], references) for i in ids]


def statement(select: ViewQuery, schema: str = LIVE_SCHEMA) -> tuple[str, list[Any]]:
    """Return the SQL of a page of ``schema`` and the values of its conditions, from the fifth parameter on."""
    conditions, order, values = _clauses(select)
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


def rows_statement(select: ViewQuery, schema: str) -> tuple[str, list[Any]]:
    """Return the SQL of the rows of a view alone, and values as `statement` does."""
    conditions, order, values = _clauses(select)
    columns = ("id", "refs", "document", *HAS_FOLLOW_UPS.get(select.view, ()))
    sql = ROWS.format(
        view=select.view,
        columns=", ".join(columns),
        conditions=conditions,
        order=order,
        schema=schema,
    )
    return sql, values


def _clauses(select: ViewQuery) -> tuple[str, str, list[Any]]:
    """Return the conditions and the order of a query as SQL, and the values of the conditions.

    A condition is part of the text only if it applies: the plan is made for the statement, not for its
    values, and uses an index only if that fits all values.
    """
    for column in (*select.where, *select.order):
        if column not in COLUMNS[select.view] | {"created"}:
            raise KeyError(column)
    values: list[Any] = []
    conditions = "".join(
        f" AND {_condition(*condition, values)}" for condition in select.where.items()
    )
    if select.customer is not None:
        conditions += f" AND {ROW_FILTERS.get(select.view, 'false')}"
    direction = "DESC" if select.descending else "ASC"
    order = ", ".join(f"{column} {direction}" for column in select.order)
    return conditions, order, values


def _condition(column: str, value: Any, values: list[Any]) -> str:
    """Return one condition as SQL and append its operands to ``values``."""

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
    """Return the entities that are a customer, as ``kind/id``."""
    if customer is None:
        return None
    return f"accounts_receivable/{customer.account}", f"contact_information/{customer.contact}"


def _split_rows(view: str, rows: list[asyncpg.Record]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the documents of a page by id, in its order, and the objects that they show by reference."""
    page: list[tuple[int, str, bytes]] = []
    references: dict[str, bytes] = {}
    for ref, document, place in rows:
        if place is None:
            references[ref] = document
        else:
            page.append((place, ref, document))
    page.sort()
    documents = {id_: document for _, id_, document in page}
    return documents, follow_ups(view, documents) | references
