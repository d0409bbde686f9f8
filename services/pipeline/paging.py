"""Pages of a list (contract common.md, section 6)."""

from __future__ import annotations

from domain.fields import Field, JsonObject
from domain.scalar_fields import Integer
from services.context import ViewQuery

__all__ = ["NUMBER", "PAGING", "page"]

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100

NUMBER = Integer(name="number", minimum=1, maximum=MAX_LIMIT)
"""The number of results, where the method calls it so."""

PAGING: tuple[Field, ...] = (
    Integer(name="number_of_results", minimum=1, maximum=MAX_LIMIT, since="R13"),
    Integer(name="offset", minimum=0, since="R13"),
)


def page(
    view: str,
    where: JsonObject,
    params: JsonObject,
    *,
    order: tuple[str, ...] = ("created",),
    descending: bool = False,
) -> ViewQuery:
    """Return the query of the page that a caller asks for; conditions of None do not count."""
    return ViewQuery(
        view,
        {column: value for column, value in where.items() if value is not None},
        order=order,
        descending=descending,
        limit=params.get("number_of_results") or params.get("number") or DEFAULT_LIMIT,
        offset=params.get("offset") or 0,
    )
