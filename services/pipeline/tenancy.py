"""Which organisation a name means."""

from __future__ import annotations

from services.context import CallContext, ContextQuery
from services.ports import Organisations

__all__ = ["load_context_by_name"]


async def load_context_by_name(
    ledger: Organisations, name: str, question: ContextQuery
) -> CallContext | None:
    """The answer of the current organisation of that name; None if there is none.

    Names rarely change hands, so the ledger may remember them; that the name is still the
    organisation's own is read with the answer, and looked up anew if it is not.
    """
    for fresh in (False, True):
        organisation = await ledger.organisation(name, fresh=fresh)
        if organisation is None:
            continue
        told = await ledger.load_context(organisation, question)
        if told.directory.name == name.strip():
            return told
    return None
