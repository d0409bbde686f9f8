"""The writing half of a call: load, decide, append; again if somebody else was faster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import cast
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import structs

from domain.access_token import AccessToken
from domain.aggregate import Aggregate
from domain.errors import (
    ConcurrentUpdate,
    DuplicateEntity,
    IdempotencyKeyRevoked,
    MaximumAccessTokens,
    Refusal,
    ServiceError,
)
from domain.fields import JsonObject
from services.context import LoadRequest, LoadResult
from services.ids import format_id
from services.pipeline.dispatcher import ResolveAgain
from services.pipeline.fields_set import merge_keys, select_keys
from services.pipeline.idempotency import key_owner, stored_response
from services.pipeline.instrumentation import StageTimer
from services.pipeline.query_runner import CallState
from services.pipeline.request import Call
from services.pipeline.stream_locks import StreamLocks
from services.pipeline.token_proofs import Authenticator, Proof, short_code_material
from services.pipeline.unit_of_work import UnitOfWork, start_unit_of_work
from services.ports import AppendResult, Hasher, Store
from services.reference_expansion import references

__all__ = ["ATTEMPTS", "CommandRunner"]

REFUSALS: dict[str, type[ServiceError]] = {
    "CLAIMED": DuplicateEntity,
    "LIMITED": MaximumAccessTokens,
    "SETTLED": IdempotencyKeyRevoked,
}
"""What the ledger's verdicts mean that no other try would change."""

ATTEMPTS = 8
"""How often a command is decided before it gives way (the contract wants at least 3 retries)."""


class CommandRunner:
    """Runs commands: a callable from a checked call to its answer's ``data``."""

    def __init__(
        self,
        ledger: Store,
        hasher: Hasher,
        authenticator: Authenticator,
        zone: ZoneInfo,
        stage: StageTimer,
    ) -> None:
        """:param stage: measures."""
        self._ledger = ledger
        self._hasher = hasher
        self._authenticator = authenticator
        self._zone = zone
        self._stage = stage
        self._turns = StreamLocks()

    async def __call__(self, run: CallState, again: ResolveAgain) -> bytes:
        """The answer. Raises the endpoint's refusals, `DuplicateEntity` and `ConcurrentUpdate`.

        :param again: resolves the call anew after another change came first.
        """
        for attempt in range(ATTEMPTS):
            stream = _stream(run)
            async with self._turns.hold(stream, run.asked_at) as changed:
                if changed:
                    # What was loaded before the others' turns ended is what they have changed.
                    run.told = structs.replace(run.told, prefetched=None)
                answer, verdict = await self._attempt(run, stream)
            if verdict.name == "WRITTEN":
                return answer
            if verdict.name in REFUSALS:
                raise REFUSALS[verdict.name](verdict.detail)
            if verdict.name == "REPEATED" and (first := await stored_response(self._ledger, run)):
                return first
            await asyncio.sleep(random.random() * 0.01 * attempt)  # noqa: S311 (no secret)
            await again(run)
        raise ConcurrentUpdate

    async def _attempt(self, run: CallState, stream: UUID | None) -> tuple[bytes, AppendResult]:
        loaded, call = await self._loaded(run, stream)
        draft = start_unit_of_work(run.told.directory, self._zone, loaded, _changing(run, stream))
        aggregate = loaded.aggregates.get(stream) if stream else None
        call.matching_secrets = await self._checked(run, loaded, aggregate)
        call.numbers = await self._ledger.allocate_numbers(run.organisation, run.method.sequences)
        drawn = {name: list(numbers) for name, numbers in call.numbers.items()}
        try:
            with self._stage("decide"):
                aggregates = _decide(run, call, aggregate)
        except Refusal:
            self._ledger.release_numbers(run.organisation, drawn)
            raise
        with self._stage("answer"):
            draft.collect([*aggregates, *_use_proofs(run, loaded, call)])
            draft.effects |= call.side_effects
            await self._keep(call, draft)
            answer = await self._answer(run, call, draft, aggregates[0])
        with self._stage("append"):
            verdict = await self._append(run, call, draft, answer)
        if verdict.name == "CLAIMED" and verdict.detail in call.generated_params:
            verdict = AppendResult("CONFLICT", verdict.detail)
        # Numbers of an unknown outcome stay drawn: an append that raises may yet be found written.
        unused = call.numbers if verdict.name == "WRITTEN" else drawn
        self._ledger.release_numbers(run.organisation, unused)
        return answer, verdict

    async def _loaded(self, run: CallState, stream: UUID | None) -> tuple[LoadResult, Call]:
        """All that the method looks at, and what it sees."""
        with self._stage("load"):
            loaded = await self._load(run, stream)
            call = run.call(loaded.compacts)
            call.related = loaded.aggregates
            await self._look(run, call, loaded, stream)
        return loaded, call

    async def _checked(
        self, run: CallState, loaded: LoadResult, aggregate: Aggregate | None
    ) -> frozenset[str]:
        """Checks the credentials that were shown; the given secrets that are there already."""
        with self._stage("credentials"):
            _check_proofs(run, loaded)
            await self._check_code(run, aggregate)
            return await self._unchanged(run, aggregate)

    async def _load(self, run: CallState, stream: UUID | None) -> LoadResult:
        contact = run.resolved.get("contact_information")
        subjects = [UUID(contact)] if isinstance(contact, str) else []
        streams = [*([stream] if stream else []), *(p.token for p in run.proofs.values())]
        wanted = LoadRequest(tuple(streams), tuple(subjects), run.refs)
        if wanted == LoadRequest():
            return LoadResult()
        if run.told.prefetched is not None and run.told.prefetched.wanted.is_superset_of(wanted):
            return run.told.prefetched.loaded
        return await self._ledger.load(
            run.organisation, streams, subjects, run.refs, run.session.customer
        )

    async def _look(
        self, run: CallState, call: Call, loaded: LoadResult, stream: UUID | None
    ) -> None:
        """Loads what the method also looks at, until it wants nothing more."""
        seen: set[UUID] = set(loaded.aggregates) | ({stream} if stream else set())
        while new := [id_ for id_ in dict.fromkeys(run.method.related(call)) if id_ not in seen]:
            seen |= set(new)
            found = await self._ledger.load(run.organisation, new)
            loaded.aggregates |= found.aggregates
            loaded.keys |= found.keys
            loaded.compacts |= found.compacts

    async def _check_code(self, run: CallState, aggregate: Aggregate | None) -> None:
        """Checks the code that the method wants shown, once; not where there is none to show."""
        if run.method.required_code is None or not isinstance(aggregate, AccessToken):
            return
        name, wrong = run.method.required_code
        key_id = aggregate.secrets.get(name)
        if key_id is None or key_id in run.verified_codes:
            return
        given = run.resolved[name]
        await self._authenticator.check_code(run.caller, aggregate, name, given, wrong(name))
        run.verified_codes.add(key_id)

    async def _unchanged(self, run: CallState, aggregate: Aggregate | None) -> frozenset[str]:
        """The given secrets that the aggregate has already; each is compared once."""
        if not isinstance(aggregate, AccessToken):
            return frozenset()
        for name in run.method.compared_secrets:
            given, key_id = run.resolved.get(name), aggregate.secrets.get(name)
            if given is not None and key_id is not None and key_id not in run.compared_secrets:
                fits = await self._authenticator.matches_current(run.caller, aggregate, name, given)
                run.compared_secrets[key_id] = fits
        names = run.method.compared_secrets
        return frozenset(n for n in names if run.compared_secrets.get(aggregate.secrets.get(n, "")))

    async def _keep(self, call: Call, draft: UnitOfWork) -> None:
        """Turns new secrets into verifiers, the slow ones off the event loop."""
        for kept in call.secrets:
            if kept.slow:
                verifier = await self._hasher.hash(kept.secret)
            else:
                verifier = self._hasher.mac(short_code_material(kept.owner, kept.name, kept.secret))
            row = {
                "key_id": kept.key_id,
                "owner": kept.owner,
                "name": kept.name,
                "verifier": verifier,
                "expires_at": kept.expires_at.isoformat() if kept.expires_at else None,
            }
            draft.effects["secrets"] = [*draft.effects.get("secrets", []), row]

    async def _fetch(self, run: CallState, loaded: LoadResult, refs: set[str]) -> None:
        """Adds the compact objects that were not loaded with the aggregates which showed them before."""
        compact = run.told.directory.compact
        missing = [ref for ref in refs if ref not in loaded.compacts and compact(ref) is None]
        if missing:
            found = await self._ledger.load(run.organisation, (), (), missing, run.session.customer)
            loaded.compacts |= found.compacts

    async def _answer(
        self, run: CallState, call: Call, draft: UnitOfWork, aggregate: Aggregate
    ) -> bytes:
        if run.method.answer_with == "nothing":
            return b"{}"
        document: bytes = getattr(draft.projection_of(aggregate), run.method.answer_with)
        changed = draft.compacts()
        if aggregate.id not in draft.projections_before:
            changed[f"follow_ups/{format_id(aggregate.id)}"] = b"[]"
        await self._fetch(run, draft.loaded, set(references(document)) - changed.keys())
        composer = run.composer(draft.loaded.compacts | changed)
        answer = composer.expand(document)
        if call.one_time_fields and run.method.response:
            keys = [row.key for row in run.method.response.fields]
            answer = merge_keys(answer, keys, call.one_time_fields)
        return select_keys(answer, run.response_keys)

    async def _append(
        self, run: CallState, call: Call, draft: UnitOfWork, answer: bytes
    ) -> AppendResult:
        if run.key:
            draft.effects |= {"key": run.key, "request_hash": run.request_hash}
            draft.effects["caller"] = key_owner(run.session)
        elif not draft.events:
            return AppendResult("WRITTEN")
        draft.expect_versions(_looked_at(run, draft))
        change = draft.to_commit(self._ledger, _metadata(run, call), answer if run.key else None)
        return await self._ledger.append(run.organisation, change)


def _stream(run: CallState) -> UUID | None:
    if run.method.kind == "create":
        return None
    if run.method.targets_session:
        return UUID(run.session.id)
    return UUID(run.method.target(run.resolved))


def _changing(run: CallState, stream: UUID | None) -> set[UUID]:
    """The loaded aggregates that the call may change."""
    return {proof.token for proof in run.proofs.values()} | ({stream} if stream else set())


def _looked_at(run: CallState, draft: UnitOfWork) -> dict[UUID, int]:
    """The aggregates that the call has gone by without changing them, with their versions."""
    return {
        id_: aggregate.version
        for id_, aggregate in draft.loaded.aggregates.items()
        if id_ not in draft.events
    }


def _tokens(run: CallState, loaded: LoadResult) -> Iterator[tuple[Proof, AccessToken]]:
    for proof in run.proofs.values():
        yield proof, cast(AccessToken, loaded.aggregates[proof.token])


def _check_proofs(run: CallState, loaded: LoadResult) -> None:
    for proof, token in _tokens(run, loaded):
        proof.check(token)


def _use_proofs(run: CallState, loaded: LoadResult, call: Call) -> list[Aggregate]:
    """Uses up what may be shown only once; the tokens that this has changed."""
    used: dict[UUID, Aggregate] = {}
    for proof, token in _tokens(run, loaded):
        if proof.entity_id != proof.token.hex.upper():
            proof.use(token, call.actor)
            used[token.id] = token
    return list(used.values())


def _decide(run: CallState, call: Call, aggregate: Aggregate | None) -> list[Aggregate]:
    if aggregate is None:
        return list(run.method.function(call))
    return [aggregate, *(run.method.function(aggregate, call) or ())]


def _metadata(run: CallState, call: Call) -> JsonObject:
    """Who did it and why, as every event of the call carries it.

    ``causation`` leads from the streams that came of another event to that event's stream and version.
    """
    request = run.request
    said: JsonObject = {
        "at": run.told.now.isoformat(),
        "user": run.session.user,
        "unit": run.session.unit,
        "session": run.session.id,
        "method": run.method.path,
        "request": request.request_id,
        "correlation": request.correlation_id or request.request_id,
        "client": request.client,
        "causation": call.causation,
    }
    return {name: value for name, value in said.items() if value}
