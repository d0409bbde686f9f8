"""Pages of a list (contract common.md, section 6)."""

from __future__ import annotations

from domain.fields import Field, JsonObject
from domain.scalar_fields import Integer
from services.context import ViewQuery

__all__ = ["NUMBER", "PAGING", "limit_and_offset", "page"]

NUMBER = Integer(name="number", minimum=1)
"""The number of results, where the method calls it so."""

PAGING: tuple[Field, ...] = (
    Integer(
        name="number_of_results",
        minimum=1,
        since="R13",
        description="Without it, all that match are returned.",
    ),
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
    limit, offset = limit_and_offset(params)
    return ViewQuery(
        view,
        {column: value for column, value in where.items() if value is not None},
        order=order,
        descending=descending,
        limit=limit,
        offset=offset,
    )


def limit_and_offset(params: JsonObject) -> tuple[int | None, int]:
    """Return the greatest number of results, None for all that match, and the number to skip."""
    return params.get("number_of_results") or params.get("number"), params.get("offset") or 0
