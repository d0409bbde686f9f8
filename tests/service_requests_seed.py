"""Very many service requests, put into the views by SQL: for plans and benchmarks of the lists."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

import services.service_requests.lists  # noqa: F401 (declares the methods)
from domain.aggregate import Attribution
from domain.fields import ReadContext
from services.context import ConsumerScope, SessionRow, ViewQuery
from services.pipeline.method import METHODS
from services.pipeline.request import Call
from services.reference_cache import ReferenceCache
from services.reference_expansion import ReferenceExpander

__all__ = ["ACCOUNT", "CALLS", "CUSTOMER", "ORGANISATION", "seed", "selected"]

ORGANISATION = "SEEDED"
NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Nicosia")
ACCOUNT, CALLER = "A7", "C7"
CUSTOMER = ConsumerScope(contact=CALLER, account=ACCOUNT)

# Nearly all are long closed; ten of an account; four types and twenty categories. Another
# organisation has a tenth as many.
SEED = """
INSERT INTO views.service_requests (organisation, id, created, version, document, refs, accounts_receivable,
       contact_information, type, category, life_cycle_state, pending_acceptance, due)
SELECT o.name, md5(o.name || n), n, 1 + n % 5,
       json_build_object('id', md5(o.name || n), 'number', 'SR' || lpad(n::text, 8, '0'), 'description', repeat('text ', 80)),
       ARRAY['accounts_receivable/A' || n % (o.rows / 10), 'contact_information/C' || n % (o.rows / 8)],
       'A' || n % (o.rows / 10), 'C' || n % (o.rows / 8), 'T' || n / 7 % 4, 'K' || n / 3 % 20, s.state,
       s.state IN ('RESPONDED', 'TEMPORARY_RESOLVED', 'FINAL_RESOLVED') AND n % 3 = 0,
       CASE WHEN s.state NOT IN ('COMPLETED', 'CANCELLED')
            THEN timestamp '2026-06-15 15:00' + (n % 9973 - 200) * interval '1 hour' END
  FROM (VALUES ($1::text, $2::bigint), ($1 || 'TOO', $2 / 10)) AS o (name, rows),
       generate_series(1, o.rows) AS n,
       LATERAL (SELECT (ARRAY['PENDING', 'RESPONDED', 'TEMPORARY_RESOLVED', 'FINAL_RESOLVED', 'CANCELLED'])
                           [CASE WHEN n % 10 = 0 THEN 1 + (n / 10) % 5 ELSE 6 END]) AS c (state),
       LATERAL (SELECT coalesce(c.state, 'COMPLETED')) AS s (state)
"""

ALL_FILTERS: Mapping[str, str] = {
    "accounts_receivable": ACCOUNT,
    "type": "T3",
    "caller": CALLER,
    "category": "K7",
}
LISTS = tuple(
    path
    for path, method in METHODS.items()
    if path.startswith("service_requests/") and method.is_list and "configuration" not in path
)


def _calls() -> dict[str, tuple[str, dict[str, Any]]]:
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in LISTS:
        name = path.removeprefix("service_requests/")
        soon = {"period": 2, "uot": "DAYS"} if "close_to" in name else {}
        taken = {row.name for row, _ in METHODS[path].parameters}
        filters: list[dict[str, str]] = [{k: v} for k, v in ALL_FILTERS.items() if k in taken]
        filters += [{}, {"type": "T3", "category": "K7"}]
        for given in filters:
            if given.keys() <= taken and (
                name != "list" or given.keys() & {"accounts_receivable", "type", "caller"}
            ):
                found[" ".join([name, *given])] = (path, soon | given)
    return found


CALLS = _calls()
"""Calls of every list method without a filter, with each one, and with two common ones."""


async def seed(connection: asyncpg.Connection, rows: int) -> None:
    """Fills the view with so many service requests of `ORGANISATION`, and looks at what is there."""
    await connection.execute(SEED.replace("$1", f"'{ORGANISATION}'").replace("$2", str(rows)))
    await connection.execute("VACUUM (ANALYZE) views.service_requests")


def selected(name: str, customer: ConsumerScope | None = None) -> ViewQuery:
    """What the method of a call asks the views for."""
    path, given = CALLS[name]
    directory = ReferenceCache(ORGANISATION, ZONE)
    call = Call(
        session=SessionRow("S", "U", "N", 0, released=False, customer=customer),
        directory=directory,
        params=given,
        actor=Attribution(NOW),
        reading=ReadContext(ZONE, NOW.date()),
        composer=ReferenceExpander({}, directory.compact, last_name_first=False),
    )
    select: ViewQuery = METHODS[path].function(call)
    return ViewQuery(select.view, select.where, select.order, customer=customer)
