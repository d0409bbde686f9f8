"""Changing one entity without a caller's session: what operators and the service itself do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate, Stamp
from domain.errors import ConcurrentUpdate, EntityNotFound
from domain.fields import Values
from services.context import Told
from services.pipeline.command_runner import ATTEMPTS
from services.pipeline.unit_of_work import begun
from services.ports import Ledger

__all__ = ["Deciding", "change_one"]

Deciding = Callable[[Aggregate, Stamp], Values]
"""Changes an aggregate and returns the effects of that."""


async def change_one(
    ledger: Ledger,
    zone: ZoneInfo,
    told: Told,
    stream: UUID,
    decide: Deciding,
    source: str,
    at: str,
) -> None:
    """Lets ``decide`` change one aggregate, again if another change came first.

    Where it changes nothing, nothing is written.

    :param source: who does it, for the metadata of the fact.
    :param at: what the entity is called in `EntityNotFound`, if there is none.
    Raises what ``decide`` raises, and `ConcurrentUpdate`.
    """
    organisation = told.directory.organisation
    metadata = {"at": told.now.isoformat(), "source": source}
    for attempt in range(ATTEMPTS):
        loaded = await ledger.load(organisation, [stream])
        aggregate = loaded.aggregates.get(stream)
        if aggregate is None:
            raise EntityNotFound(at)
        draft = begun(told.directory, zone, loaded)
        draft.effects = decide(aggregate, Stamp(told.now))
        draft.collect([aggregate])
        if not draft.facts:
            return
        verdict = await ledger.append(organisation, draft.change(ledger, metadata))
        if verdict.name == "WRITTEN":
            return
        await asyncio.sleep(random.random() * 0.01 * attempt)  # noqa: S311 (no secret)
    raise ConcurrentUpdate
