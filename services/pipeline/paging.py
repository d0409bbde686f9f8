"""Pages of a list (contract common.md, section 6)."""

from __future__ import annotations

from domain.fields import Field, JsonObject
from domain.scalar_fields import Integer
from services.context import ViewQuery

__all__ = ["NUMBER", "PAGING", "page"]

LARGEST = 1000
DEFAULT = 100

NUMBER = Integer(name="number", minimum=1, maximum=LARGEST)
"""How many, where the method calls it so."""

PAGING: tuple[Field, ...] = (
    Integer(name="number_of_results", minimum=1, maximum=LARGEST, since="R13"),
    Integer(name="offset", minimum=0, since="R13"),
)


def page(
    view: str,
    where: JsonObject,
    given: JsonObject,
    *,
    order: tuple[str, ...] = ("created",),
    descending: bool = False,
) -> ViewQuery:
    """The page of a view that a caller asks for; conditions whose value is None do not count."""
    return ViewQuery(
        view,
        {column: value for column, value in where.items() if value is not None},
        order=order,
        descending=descending,
        limit=given.get("number_of_results") or given.get("number") or DEFAULT,
        offset=given.get("offset") or 0,
    )
