"""The writing half of a call: load, decide, append; again if somebody else was faster."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate
from domain.errors import ConcurrentUpdate, DuplicateEntity, Refusal
from domain.fields import Values
from services.call import Call
from services.compose import references
from services.draft import Draft, begun
from services.fields_set import cut
from services.ids import id_text
from services.ports import Ledger, Loaded, Question, Verdict
from services.run import Run, repeated
from services.turns import Turns

__all__ = ["ATTEMPTS", "Writer"]

ATTEMPTS = 8
"""How often a command is decided before it gives way (the contract wants at least 3 retries)."""


class Writer:
    """Runs commands: a callable from a checked call to its answer's ``data``."""

    def __init__(self, ledger: Ledger, zone: ZoneInfo) -> None:
        self._ledger = ledger
        self._zone = zone
        self._turns = Turns()

    async def __call__(self, run: Run) -> bytes:
        """The answer. Raises the endpoint's refusals, `DuplicateEntity` and `ConcurrentUpdate`."""
        stream = _stream(run)
        for attempt in range(ATTEMPTS):
            async with self._turns.turn(stream):
                answer, verdict = await self._attempt(run, stream)
            if verdict.name == "WRITTEN":
                return answer
            if verdict.name == "CLAIMED":
                raise DuplicateEntity(verdict.detail)
            if verdict.name == "REPEATED" and (first := await repeated(self._ledger, run)):
                return first
            await asyncio.sleep(random.random() * 0.01 * attempt)  # noqa: S311 (no secret)
            run.told = await self._ledger.ask(run.organisation, Question())
        raise ConcurrentUpdate

    async def _attempt(self, run: Run, stream: UUID | None) -> tuple[bytes, Verdict]:
        loaded = await self._load(run, stream)
        draft = begun(run.told.directory, self._zone, loaded)
        await self._complete(run, loaded, draft)
        call = run.call(loaded.compacts)
        call.numbers = await self._ledger.numbers(run.organisation, run.method.numbers)
        drawn = dict(call.numbers)
        call.others = {id_text(id_): found for id_, found in loaded.aggregates.items()}
        try:
            aggregates = _decide(run, call, loaded.aggregates.get(stream) if stream else None)
        except Refusal:
            self._ledger.return_numbers(run.organisation, drawn)
            raise
        draft.collect(aggregates)
        draft.effects |= call.effects
        answer = await self._answer(run, draft, aggregates[0])
        verdict = await self._append(run, draft, answer)
        # Numbers of an unknown outcome stay drawn: an append that raises may yet be found written.
        unused = call.numbers if verdict.name == "WRITTEN" else drawn
        self._ledger.return_numbers(run.organisation, unused)
        return answer, verdict

    async def _load(self, run: Run, stream: UUID | None) -> Loaded:
        contact = run.given.get("contact_information")
        subjects = [UUID(contact)] if isinstance(contact, str) else []
        streams = [stream] if stream else []
        streams += [UUID(other) for other in run.method.also(run.given)]
        if not (streams or subjects or run.refs):
            return Loaded()
        return await self._ledger.load(run.organisation, streams, subjects, run.refs)

    async def _complete(self, run: Run, loaded: Loaded, draft: Draft) -> None:
        """Adds the compact objects that the loaded aggregates show, for tags and the answer."""
        shown = {ref for projection in draft.before.values() for ref in references(projection.full)}
        await self._fetch(run, loaded, shown)

    async def _fetch(self, run: Run, loaded: Loaded, refs: set[str]) -> None:
        compact = run.told.directory.compact
        missing = [ref for ref in refs if ref not in loaded.compacts and compact(ref) is None]
        if missing:
            found = await self._ledger.load(run.organisation, (), (), missing)
            loaded.compacts |= found.compacts

    async def _answer(self, run: Run, draft: Draft, aggregate: Aggregate) -> bytes:
        if run.method.shows == "nothing":
            return b"{}"
        document: bytes = getattr(draft.shown(aggregate), run.method.shows)
        changed = draft.compacts()
        if aggregate.id not in draft.before:
            changed[f"follow_ups/{id_text(aggregate.id)}"] = b"[]"
        await self._fetch(run, draft.loaded, set(references(document)) - changed.keys())
        composer = run.composer(draft.loaded.compacts | changed)
        return cut(composer.fill(document), run.names)

    async def _append(self, run: Run, draft: Draft, answer: bytes) -> Verdict:
        if run.key:
            draft.effects |= {"key": run.key, "request_hash": run.request_hash}
        elif not draft.facts:
            return Verdict("WRITTEN")
        change = draft.change(self._ledger, _metadata(run), answer if run.key else None)
        return await self._ledger.append(run.organisation, change)


def _stream(run: Run) -> UUID | None:
    if run.method.kind == "create":
        return None
    return UUID(run.given[run.method.on.name] if run.method.on else run.session.id)


def _decide(run: Run, call: Call, aggregate: Aggregate | None) -> list[Aggregate]:
    if aggregate is None:
        return list(run.method.function(call))
    return [aggregate, *(run.method.function(aggregate, call) or ())]


def _metadata(run: Run) -> Values:
    """Who did it and why, as every fact of the call carries it."""
    request = run.request
    said = {
        "at": run.told.now.isoformat(),
        "user": run.session.user,
        "unit": run.session.unit,
        "session": run.session.id,
        "method": run.method.path,
        "request": request.request_id,
        "correlation": request.correlation_id or request.request_id,
        "client": request.client,
    }
    return {name: value for name, value in said.items() if value}
