"""Changing one entity without a caller's session: what operators and the service itself do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate, Attribution
from domain.errors import ConcurrentUpdate, EntityNotFound
from domain.fields import JsonObject
from services.context import CallContext
from services.pipeline.command_runner import ATTEMPTS
from services.pipeline.unit_of_work import start_unit_of_work
from services.ports import Store

__all__ = ["Mutation", "update_aggregate"]

Mutation = Callable[[Aggregate, Attribution], JsonObject]
"""Changes an aggregate and returns the effects of that."""


async def update_aggregate(
    ledger: Store,
    zone: ZoneInfo,
    told: CallContext,
    stream: UUID,
    decide: Mutation,
    source: str,
    at: str,
) -> None:
    """Lets ``decide`` change one aggregate, again if another change came first.

    Where it changes nothing, nothing is written.

    :param source: who does it, for the metadata of the event.
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
        draft = start_unit_of_work(told.directory, zone, loaded)
        draft.effects = decide(aggregate, Attribution(told.now))
        draft.collect([aggregate])
        if not draft.events:
            return
        verdict = await ledger.append(organisation, draft.to_commit(ledger, metadata))
        if verdict.name == "WRITTEN":
            return
        await asyncio.sleep(random.random() * 0.01 * attempt)  # noqa: S311 (no secret)
    raise ConcurrentUpdate
