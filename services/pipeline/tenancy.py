"""The organisation of a name."""

from __future__ import annotations

from domain.identifiers import normalised
from services.context import CallContext, ContextQuery
from services.ports import Organisations

__all__ = ["load_context_by_name"]


async def load_context_by_name(
    organisations: Organisations, name: str, query: ContextQuery
) -> CallContext | None:
    """Return the context of the current organisation of that name; None if there is none.

    Names rarely change hands, so the store may cache them. The context says what the organisation is
    called now; if that is another name, the id is looked up anew.
    """
    for fresh in (False, True):
        organisation = await organisations.organisation(name, fresh=fresh)
        if organisation is None:
            continue
        context = await organisations.load_context(organisation, query)
        if context.directory.name == normalised("name", name):
            return context
    return None
