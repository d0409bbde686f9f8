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
    KeySettled,
    MaximumAccessTokens,
    Refusal,
    ServiceError,
)
from domain.fields import Values
from services.context import Loaded, Wanted
from services.ids import id_text
from services.pipeline.dispatcher import Again
from services.pipeline.fields_set import completed, cut
from services.pipeline.idempotency import caller_of, repeated
from services.pipeline.instrumentation import Stage
from services.pipeline.query_runner import Run
from services.pipeline.request import Call
from services.pipeline.stream_locks import Turns
from services.pipeline.token_proofs import Authenticator, Proof, short_code
from services.pipeline.unit_of_work import Draft, begun
from services.ports import Hasher, Ledger, Verdict
from services.reference_expansion import references

__all__ = ["ATTEMPTS", "Writer"]

FINAL: dict[str, type[ServiceError]] = {
    "CLAIMED": DuplicateEntity,
    "LIMITED": MaximumAccessTokens,
    "SETTLED": KeySettled,
}
"""What the ledger's verdicts mean that no other try would change."""

ATTEMPTS = 8
"""How often a command is decided before it gives way (the contract wants at least 3 retries)."""


class Writer:
    """Runs commands: a callable from a checked call to its answer's ``data``."""

    def __init__(
        self,
        ledger: Ledger,
        hasher: Hasher,
        authenticator: Authenticator,
        zone: ZoneInfo,
        stage: Stage,
    ) -> None:
        """:param stage: measures."""
        self._ledger = ledger
        self._hasher = hasher
        self._authenticator = authenticator
        self._zone = zone
        self._stage = stage
        self._turns = Turns()

    async def __call__(self, run: Run, again: Again) -> bytes:
        """The answer. Raises the endpoint's refusals, `DuplicateEntity` and `ConcurrentUpdate`.

        :param again: resolves the call anew after another change came first.
        """
        for attempt in range(ATTEMPTS):
            stream = _stream(run)
            async with self._turns.turn(stream) as waited:
                if waited:
                    # What was loaded before the others had their turns is what they have changed.
                    run.told = structs.replace(run.told, ahead=None)
                answer, verdict = await self._attempt(run, stream)
            if verdict.name == "WRITTEN":
                return answer
            if verdict.name in FINAL:
                raise FINAL[verdict.name](verdict.detail)
            if verdict.name == "REPEATED" and (first := await repeated(self._ledger, run)):
                return first
            await asyncio.sleep(random.random() * 0.01 * attempt)  # noqa: S311 (no secret)
            await again(run)
        raise ConcurrentUpdate

    async def _attempt(self, run: Run, stream: UUID | None) -> tuple[bytes, Verdict]:
        loaded, call = await self._loaded(run, stream)
        draft = begun(run.told.directory, self._zone, loaded, _changing(run, stream))
        aggregate = loaded.aggregates.get(stream) if stream else None
        call.unchanged = await self._checked(run, loaded, aggregate)
        call.numbers = await self._ledger.numbers(run.organisation, run.method.numbers)
        drawn = {name: list(numbers) for name, numbers in call.numbers.items()}
        try:
            with self._stage("decide"):
                aggregates = _decide(run, call, aggregate)
        except Refusal:
            self._ledger.return_numbers(run.organisation, drawn)
            raise
        with self._stage("answer"):
            draft.collect([*aggregates, *_use_proofs(run, loaded, call)])
            draft.effects |= call.effects
            await self._keep(call, draft)
            answer = await self._answer(run, call, draft, aggregates[0])
        with self._stage("append"):
            verdict = await self._append(run, call, draft, answer)
        if verdict.name == "CLAIMED" and verdict.detail in call.generated:
            verdict = Verdict("CONFLICT", verdict.detail)
        # Numbers of an unknown outcome stay drawn: an append that raises may yet be found written.
        unused = call.numbers if verdict.name == "WRITTEN" else drawn
        self._ledger.return_numbers(run.organisation, unused)
        return answer, verdict

    async def _loaded(self, run: Run, stream: UUID | None) -> tuple[Loaded, Call]:
        """All that the method looks at, and what it sees."""
        with self._stage("load"):
            loaded = await self._load(run, stream)
            call = run.call(loaded.compacts)
            call.others = loaded.aggregates
            await self._look(run, call, loaded, stream)
        return loaded, call

    async def _checked(
        self, run: Run, loaded: Loaded, aggregate: Aggregate | None
    ) -> frozenset[str]:
        """Checks the credentials that were shown; the given secrets that are there already."""
        with self._stage("credentials"):
            _check_proofs(run, loaded)
            await self._check_code(run, aggregate)
            return await self._unchanged(run, aggregate)

    async def _load(self, run: Run, stream: UUID | None) -> Loaded:
        contact = run.given.get("contact_information")
        subjects = [UUID(contact)] if isinstance(contact, str) else []
        streams = [*([stream] if stream else []), *(p.token for p in run.proofs.values())]
        wanted = Wanted(tuple(streams), tuple(subjects), run.refs)
        if wanted == Wanted():
            return Loaded()
        if run.told.ahead is not None and run.told.ahead.wanted.covers(wanted):
            return run.told.ahead.loaded
        return await self._ledger.load(
            run.organisation, streams, subjects, run.refs, run.session.customer
        )

    async def _look(self, run: Run, call: Call, loaded: Loaded, stream: UUID | None) -> None:
        """Loads what the method also looks at, until it wants nothing more."""
        seen: set[UUID] = set(loaded.aggregates) | ({stream} if stream else set())
        while new := [id_ for id_ in dict.fromkeys(run.method.also(call)) if id_ not in seen]:
            seen |= set(new)
            found = await self._ledger.load(run.organisation, new)
            loaded.aggregates |= found.aggregates
            loaded.keys |= found.keys
            loaded.compacts |= found.compacts

    async def _check_code(self, run: Run, aggregate: Aggregate | None) -> None:
        """Checks the code that the method wants shown, once; not where there is none to show."""
        if run.method.code is None or not isinstance(aggregate, AccessToken):
            return
        name, wrong = run.method.code
        key_id = aggregate.secrets.get(name)
        if key_id is None or key_id in run.checked:
            return
        given = run.given[name]
        await self._authenticator.check_code(run.caller, aggregate, name, given, wrong(name))
        run.checked.add(key_id)

    async def _unchanged(self, run: Run, aggregate: Aggregate | None) -> frozenset[str]:
        """The given secrets that the aggregate has already; each is compared once."""
        if not isinstance(aggregate, AccessToken):
            return frozenset()
        for name in run.method.compares:
            given, key_id = run.given.get(name), aggregate.secrets.get(name)
            if given is not None and key_id is not None and key_id not in run.compared:
                fits = await self._authenticator.has_already(run.caller, aggregate, name, given)
                run.compared[key_id] = fits
        names = run.method.compares
        return frozenset(n for n in names if run.compared.get(aggregate.secrets.get(n, "")))

    async def _keep(self, call: Call, draft: Draft) -> None:
        """Turns new secrets into verifiers, the slow ones off the event loop."""
        for kept in call.secrets:
            if kept.slow:
                verifier = await self._hasher.hash(kept.secret)
            else:
                verifier = self._hasher.mac(short_code(kept.owner, kept.name, kept.secret))
            row = {
                "key_id": kept.key_id,
                "owner": kept.owner,
                "name": kept.name,
                "verifier": verifier,
                "expires_at": kept.expires_at.isoformat() if kept.expires_at else None,
            }
            draft.effects["secrets"] = [*draft.effects.get("secrets", []), row]

    async def _fetch(self, run: Run, loaded: Loaded, refs: set[str]) -> None:
        """Adds the compact objects that were not loaded with the aggregates which showed them before."""
        compact = run.told.directory.compact
        missing = [ref for ref in refs if ref not in loaded.compacts and compact(ref) is None]
        if missing:
            found = await self._ledger.load(run.organisation, (), (), missing, run.session.customer)
            loaded.compacts |= found.compacts

    async def _answer(self, run: Run, call: Call, draft: Draft, aggregate: Aggregate) -> bytes:
        if run.method.shows == "nothing":
            return b"{}"
        document: bytes = getattr(draft.shown(aggregate), run.method.shows)
        changed = draft.compacts()
        if aggregate.id not in draft.before:
            changed[f"follow_ups/{id_text(aggregate.id)}"] = b"[]"
        await self._fetch(run, draft.loaded, set(references(document)) - changed.keys())
        composer = run.composer(draft.loaded.compacts | changed)
        answer = composer.fill(document)
        if call.revealed and run.method.returns:
            keys = [row.key for row in run.method.returns.rows]
            answer = completed(answer, keys, call.revealed)
        return cut(answer, run.names)

    async def _append(self, run: Run, call: Call, draft: Draft, answer: bytes) -> Verdict:
        if run.key:
            draft.effects |= {"key": run.key, "request_hash": run.request_hash}
            draft.effects["caller"] = caller_of(run.session)
        elif not draft.facts:
            return Verdict("WRITTEN")
        draft.expect(_looked_at(run, draft))
        change = draft.change(self._ledger, _metadata(run, call), answer if run.key else None)
        return await self._ledger.append(run.organisation, change)


def _stream(run: Run) -> UUID | None:
    if run.method.kind == "create":
        return None
    if run.method.ends_session:
        return UUID(run.session.id)
    return UUID(run.method.target(run.given))


def _changing(run: Run, stream: UUID | None) -> set[UUID]:
    """The loaded aggregates that the call may change."""
    return {proof.token for proof in run.proofs.values()} | ({stream} if stream else set())


def _looked_at(run: Run, draft: Draft) -> dict[UUID, int]:
    """The aggregates that the call has gone by without changing them, with their versions."""
    return {
        id_: aggregate.version
        for id_, aggregate in draft.loaded.aggregates.items()
        if id_ not in draft.facts
    }


def _tokens(run: Run, loaded: Loaded) -> Iterator[tuple[Proof, AccessToken]]:
    for proof in run.proofs.values():
        yield proof, cast(AccessToken, loaded.aggregates[proof.token])


def _check_proofs(run: Run, loaded: Loaded) -> None:
    for proof, token in _tokens(run, loaded):
        proof.check(token)


def _use_proofs(run: Run, loaded: Loaded, call: Call) -> list[Aggregate]:
    """Uses up what may be shown only once; the tokens that this has changed."""
    used: dict[UUID, Aggregate] = {}
    for proof, token in _tokens(run, loaded):
        if proof.entity_id != proof.token.hex.upper():
            proof.use(token, call.by)
            used[token.id] = token
    return list(used.values())


def _decide(run: Run, call: Call, aggregate: Aggregate | None) -> list[Aggregate]:
    if aggregate is None:
        return list(run.method.function(call))
    return [aggregate, *(run.method.function(aggregate, call) or ())]


def _metadata(run: Run, call: Call) -> Values:
    """Who did it and why, as every fact of the call carries it.

    ``causation`` leads from the streams that came of another fact to that fact's stream and version.
    """
    request = run.request
    said: Values = {
        "at": run.told.now.isoformat(),
        "user": run.session.user,
        "unit": run.session.unit,
        "session": run.session.id,
        "method": run.method.path,
        "request": request.request_id,
        "correlation": request.correlation_id or request.request_id,
        "client": request.client,
        "causation": call.causes,
    }
    return {name: value for name, value in said.items() if value}
