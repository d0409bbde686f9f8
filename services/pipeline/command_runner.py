"""The writing half of a call: load, decide, append; again if another change came first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import structs

from domain.access_token import AccessToken
from domain.aggregate import Aggregate, Attribution
from domain.errors import (
    DuplicateEntity,
    EntityNotFound,
    IdempotencyKeyRevoked,
    MaximumAccessTokens,
    Refusal,
    ServiceError,
)
from domain.fields import JsonObject
from services.context import CallContext, LoadRequest, LoadResult
from services.ids import format_id
from services.pipeline.dispatcher import Refresh
from services.pipeline.fields_set import merge_keys, select_keys
from services.pipeline.idempotency import key_owner, stored_response
from services.pipeline.instrumentation import StageTimer
from services.pipeline.method import Command, WriteMethod
from services.pipeline.request import Call
from services.pipeline.retry import retry_on_conflict
from services.pipeline.shown_secrets import short_code_material
from services.pipeline.stream_locks import StreamLocks
from services.pipeline.token_proofs import Authenticator
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import AppendResult, EventStore, Hasher, Sequences
from services.reference_expansion import references
from services.side_effects import CountNotices, SideEffect, StoreResponse, StoreSecret

__all__ = ["CommandRunner", "Mutation", "update_aggregate"]

REFUSALS: dict[str, type[ServiceError]] = {
    "CLAIMED": DuplicateEntity,
    "LIMITED": MaximumAccessTokens,
    "SETTLED": IdempotencyKeyRevoked,
}
"""The results of an append that no other attempt would change."""

Mutation = Callable[[Aggregate, Attribution], Iterable[SideEffect]]
"""Changes an aggregate and returns the side effects of that."""


class CommandStore(EventStore, Sequences, Protocol):
    """The ports that a command reads and writes."""


class CommandRunner:
    """Runs commands: a callable from a resolved call to its answer's ``data``."""

    def __init__(
        self,
        store: CommandStore,
        hasher: Hasher,
        authenticator: Authenticator,
        zone: ZoneInfo,
        stage: StageTimer,
    ) -> None:
        """:param stage: measures."""
        self._store = store
        self._hasher = hasher
        self._authenticator = authenticator
        self._zone = zone
        self._stage = stage
        self._locks = StreamLocks()

    async def __call__(self, call: Call, refresh: Refresh) -> bytes:
        """Return the answer.

        :param refresh: resolves the call anew after another change came first.
        Raises the endpoint's refusals, `DuplicateEntity` and `ConcurrentUpdate`.
        """
        return await retry_on_conflict(call, self._attempt, refresh)

    async def _attempt(self, call: Call) -> bytes | None:
        """Return the answer, or None if another change came first."""
        stream = _method(call).stream(call.session.id, call.params)
        async with self._locks.hold(stream, call.asked_at) as changed:
            if changed:
                # What was loaded before the others' turns ended is what they have changed.
                context = structs.replace(call.context, prefetched=None)
                call = structs.replace(call, context=context)
            call = await self._begin(call, stream)
            answer, result = await self._decide_and_append(call, stream)
        if result.name == "WRITTEN":
            return answer
        if result.detail == CountNotices.KIND:
            context = structs.replace(call.context, prefetched=None)
            return await self._attempt(structs.replace(call, context=context, silent=True))
        if result.name in REFUSALS:
            raise REFUSALS[result.name](result.detail)
        return await stored_response(self._store, call) if result.name == "REPEATED" else None

    async def _begin(self, call: Call, stream: UUID | None) -> Call:
        """Return the call with a unit of work on all that the method looks at."""
        with self._stage("load"):
            loaded = await self._load(call, stream)
            changing = {*call.verified.tokens, *([stream] if stream else [])}
            work = UnitOfWork.start(call.directory, self._zone, loaded, changing)
            call = structs.replace(call, work=work)
            seen = {*loaded.aggregates, *changing}
            while new := [
                id_ for id_ in dict.fromkeys(_method(call).related(call)) if id_ not in seen
            ]:
                seen |= set(new)
                loaded.add(await self._store.load(call.organisation, new))
        return call

    async def _load(self, call: Call, stream: UUID | None) -> LoadResult:
        """Return what is loaded for every method, which may have come with the context."""
        contact = call.params.get("contact_information")
        subjects = (UUID(contact),) if isinstance(contact, str) else ()
        streams = (*([stream] if stream else []), *call.verified.tokens)
        request, prefetched = LoadRequest(streams, subjects, call.refs), call.context.prefetched
        if request == LoadRequest():
            return LoadResult()
        if prefetched is not None and prefetched.request.is_superset_of(request):
            return prefetched
        return await self._store.load(
            call.organisation, streams, subjects, call.refs, call.session.customer
        )

    async def _decide_and_append(
        self, call: Call, stream: UUID | None
    ) -> tuple[bytes, AppendResult]:
        method, work = _method(call), call.work
        aggregate = work.loaded.aggregates.get(stream) if stream else None
        with self._stage("credentials"):
            call.verified.check(work.loaded.aggregates)
            if isinstance(method, Command) and isinstance(aggregate, AccessToken):
                work.matching_secrets = await self._authenticator.check_command(call, aggregate)
        work.numbers = await self._store.allocate_numbers(call.organisation, method.sequences)
        drawn = {name: [*numbers] for name, numbers in work.numbers.items()}
        try:
            with self._stage("decide"):
                aggregates = method.decide(aggregate, call)
        except Refusal:
            self._store.release_numbers(call.organisation, drawn)
            raise
        with self._stage("answer"):
            work.collect([*aggregates, *call.verified.use(work.loaded.aggregates, call.actor)])
            await self._store_secrets(work)
            answer = await self._answer(call, aggregates[0])
        with self._stage("append"):
            result = await self._append(call, answer)
        if result.name == "CLAIMED" and result.detail in work.generated_params:
            result = AppendResult("CONFLICT", result.detail)
        # Numbers of an unknown outcome stay drawn: an append that raises may yet be found written.
        unused = work.numbers if result.name == "WRITTEN" else drawn
        self._store.release_numbers(call.organisation, unused)
        return answer, result

    async def _store_secrets(self, work: UnitOfWork) -> None:
        """Turn new secrets into verifiers, the slow ones off the event loop."""
        for new in work.secrets:
            if new.slow:
                verifier = await self._hasher.hash(new.secret)
            else:
                verifier = self._hasher.mac(short_code_material(new.owner, new.name, new.secret))
            until = new.expires_at.isoformat() if new.expires_at else None
            secret = StoreSecret(new.key_id, new.owner, new.name, verifier, until)
            work.side_effects.append(secret)

    async def _answer(self, call: Call, aggregate: Aggregate) -> bytes:
        """Return the answer, made of the state after the command and before it is written."""
        method, work = _method(call), call.work
        if method.answer_with == "nothing":
            return b"{}"
        document: bytes = getattr(work.projection_of(aggregate), method.answer_with)
        changed = work.compacts()
        if aggregate.id not in work.projections_before:
            changed[f"follow_ups/{format_id(aggregate.id)}"] = b"[]"
        await self._load_compacts(call, set(references(document)) - changed.keys())
        answer = call.expander(work.loaded.compacts | changed).expand(document)
        if work.one_time_fields and method.response:
            keys = [row.key for row in method.response.fields]
            answer = merge_keys(answer, keys, work.one_time_fields)
        return select_keys(answer, call.parsed.response_keys)

    async def _load_compacts(self, call: Call, refs: set[str]) -> None:
        """Load the compact objects that were not loaded with the aggregates that showed them before."""
        loaded, cached = call.work.loaded, call.directory.compact
        missing = [ref for ref in refs if ref not in loaded.compacts and cached(ref) is None]
        if missing:
            customer = call.session.customer
            loaded.add(await self._store.load(call.organisation, (), (), missing, customer))

    async def _append(self, call: Call, answer: bytes) -> AppendResult:
        work = call.work
        if call.key:
            caller = key_owner(call.session)
            work.side_effects.append(StoreResponse(call.key, call.request_hashes[0], caller))
        elif not work.events:
            return AppendResult("WRITTEN")
        work.expect_unchanged()
        commit = work.to_commit(self._store, _metadata(call), answer if call.key else None)
        return await self._store.append(call.organisation, commit)


def _method(call: Call) -> WriteMethod:
    """Return the method, of which the dispatcher has made sure that it writes."""
    return cast(WriteMethod, call.method)


def _metadata(call: Call) -> JsonObject:
    """Return who did it and why, as every event of the call carries it.

    ``causation`` leads from the streams that came of another event to that event's stream and version.
    """
    request = call.request
    metadata: JsonObject = {
        "at": call.context.now.isoformat(),
        "user": call.session.user,
        "unit": call.session.unit,
        "session": call.session.id,
        "method": call.method.path,
        "request": request.request_id,
        "correlation": request.correlation_id or request.request_id,
        "client": request.client,
        "causation": call.work.causation,
    }
    return {name: value for name, value in metadata.items() if value}


async def update_aggregate(
    store: EventStore,
    zone: ZoneInfo,
    context: CallContext,
    stream: UUID,
    decide: Mutation,
    source: str,
    at: str,
) -> None:
    """Change one aggregate without a caller's session, as operators and the service itself do.

    If ``decide`` changes nothing, nothing is written.

    :param source: who does it, for the metadata of the event.
    :param at: what the entity is called in `EntityNotFound`, if there is none.
    Raises what ``decide`` raises, and `ConcurrentUpdate`.
    """
    organisation = context.directory.organisation
    metadata = {"at": context.now.isoformat(), "source": source}

    async def load(_: LoadResult | None) -> LoadResult:
        return await store.load(organisation, [stream])

    async def attempt(loaded: LoadResult) -> bool | None:
        aggregate = loaded.aggregates.get(stream)
        if aggregate is None:
            raise EntityNotFound(at)
        work = UnitOfWork.start(context.directory, zone, loaded)
        work.side_effects += decide(aggregate, Attribution(context.now))
        work.collect([aggregate])
        if not work.events:
            return True
        result = await store.append(organisation, work.to_commit(store, metadata))
        return result.name == "WRITTEN" or None

    await retry_on_conflict(await load(None), attempt, load)
