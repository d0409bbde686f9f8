"""Changing one entity without a caller's session: what operators and the service itself do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate, Attribution
from domain.errors import EntityNotFound
from services.context import CallContext, LoadResult
from services.pipeline.retry import retry_on_conflict
from services.pipeline.unit_of_work import start_unit_of_work
from services.ports import EventStore
from services.side_effects import SideEffect

__all__ = ["Mutation", "update_aggregate"]

Mutation = Callable[[Aggregate, Attribution], Iterable[SideEffect]]
"""Changes an aggregate and returns the side effects of that."""


async def update_aggregate(
    ledger: EventStore,
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

    async def load(_: LoadResult | None) -> LoadResult:
        return await ledger.load(organisation, [stream])

    async def attempt(loaded: LoadResult) -> bool | None:
        aggregate = loaded.aggregates.get(stream)
        if aggregate is None:
            raise EntityNotFound(at)
        draft = start_unit_of_work(told.directory, zone, loaded)
        draft.side_effects += decide(aggregate, Attribution(told.now))
        draft.collect([aggregate])
        if not draft.events:
            return True
        verdict = await ledger.append(organisation, draft.to_commit(ledger, metadata))
        return verdict.name == "WRITTEN" or None

    await retry_on_conflict(await load(None), attempt, load)
