"""Registering reference entities: one record at a time, upserted as a whole.

Contract reference_entities.md, section 1. Registering an accounts receivable moves its owners
between MARKETING and FINANCIAL (contact_information.md, section 9) in the same change, and access
tokens learn in it what became of their account or participant (access_tokens.md, section 2).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from domain.access_token import RELATIONS
from domain.aggregate import Aggregate, Stamp
from domain.errors import (
    ConcurrentUpdate,
    DuplicateEntity,
    EntityNotFound,
    InvalidParameterValue,
    MandatoryParameter,
    Refusal,
)
from domain.fields import Reading, Values
from domain.identifiers import Identifier
from domain.parsing import read_text
from domain.reference.catalogue import KINDS, SECRETS
from domain.reference.records import Kind, Link, Record, record_id
from services.context import Loaded, Question, Told
from services.ids import record_stream
from services.pipeline.command_runner import ATTEMPTS
from services.pipeline.dispatcher import utc_now
from services.pipeline.stream_locks import Turns
from services.pipeline.tenancy import ask_by_name
from services.pipeline.unit_of_work import Draft, begun
from services.ports import Ledger
from services.reference.registration import (
    Work,
    check_links,
    fate,
    follow,
    owners,
    reclaim,
    stored_links,
)
from services.reference.signing_secrets import former, made_up
from services.secret_encryption import Keeper, sealed

__all__ = ["CREATED", "UNCHANGED", "UPDATED", "Registered", "Registrar"]

CREATED, UPDATED, UNCHANGED = "CREATED", "UPDATED", "UNCHANGED"


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of a record, and the secrets that were made up for it: nobody sees them again."""

    result: str
    revealed: Values


class Registrar:
    """Upserts records for an operator."""

    def __init__(self, ledger: Ledger, hasher: Keeper, zone: ZoneInfo) -> None:
        self._ledger = ledger
        self._hasher = hasher
        self._zone = zone
        self._turns = Turns()

    async def register(
        self, raw: Mapping[str, Any], organisation: str | None, source: str
    ) -> Registered:
        """Makes one record be as given: `CREATED`, `UPDATED` or `UNCHANGED`.

        :param raw: the record with its ``kind``, ``id`` and, if ``organisation`` is None, its
            ``organisation`` (a name).
        :param source: where it came from, for the metadata of its facts.
        Raises the refusals of the contract, naming the field.
        """
        work = await self._read(raw, organisation)
        for attempt in range(ATTEMPTS):
            async with self._turns.turn(work.stream):
                result = await self._attempt(work, source)
            if result:
                return Registered(result, work.revealed)
            await asyncio.sleep(random.random() * 0.01 * attempt)  # noqa: S311 (no secret)
            work.told = await self._ask(work.organisation, work.kind, work.fields)
        raise ConcurrentUpdate

    async def stored(self, raw: Mapping[str, Any], organisation: str | None) -> Values:
        """What a record would replace: its kind and fields; empty if there is nothing."""
        try:
            kind, id_ = _kind(raw), record_id(raw.get("id"))
            organisation = await self._organisation(kind, id_, raw, organisation)
        except Refusal:
            return {}
        stream = record_stream(organisation, kind.key, id_)
        record = (await self._ledger.load(organisation, [stream])).aggregates.get(stream)
        return {"kind": kind.key} | record.fields if isinstance(record, Record) else {}

    async def _read(self, raw: Mapping[str, Any], name: str | None) -> Work:
        kind, id_ = _kind(raw), record_id(raw.get("id"))
        organisation = await self._organisation(kind, id_, raw, name)
        reading = Reading(self._zone, utc_now().astimezone(self._zone).date())
        fields = kind.read(raw, reading)
        secrets = {
            name: SECRETS[name].read(raw[name], name, reading)
            for name in kind.secrets
            if raw.get(name) not in (None, "")
        }
        told = await self._ask(organisation, kind, fields)
        retired = kind.retired(raw, reading)
        given = {name: secret for name, secret in secrets.items() if secret}
        return Work(kind, id_, fields, given, retired, organisation, told)

    async def _organisation(
        self, kind: Kind, id_: str, raw: Mapping[str, Any], name: str | None
    ) -> str:
        if kind.key == "organisation":
            if "organisation" in raw:
                raise InvalidParameterValue("organisation")
            return id_
        given = raw.get("organisation")
        name = name if given in (None, "") else read_text(given, "organisation")
        if not name:
            raise MandatoryParameter("organisation")
        told = await ask_by_name(self._ledger, read_text(name, "organisation"), Question())
        if told is None:
            raise EntityNotFound("organisation")
        return told.directory.organisation

    async def _ask(self, organisation: str, kind: Kind, fields: Values) -> Told:
        asked = tuple(_identifier(link, target) for link, target in stored_links(kind, fields))
        return await self._ledger.ask(organisation, Question(identifiers=asked))

    async def _attempt(self, work: Work, source: str) -> str | None:
        """One try; None if another change came first."""
        loaded = await self._ledger.load(work.organisation, [work.stream])
        record = loaded.aggregates.get(work.stream)
        assert record is None or isinstance(record, Record)
        check_links(work, record)
        work.owners = owners(work, record)
        others = {*map(UUID, work.owners), *await self._tokens(work, record)}
        async with AsyncExitStack() as turns:
            for stream in sorted(others):
                await turns.enter_async_context(self._turns.turn(stream))
            found = await self._ledger.load(work.organisation, list(others))
            loaded.aggregates |= found.aggregates
            loaded.keys |= found.keys
            return await self._decide(work, source, record, loaded)

    async def _tokens(self, work: Work, record: Record | None) -> list[UUID]:
        """The access tokens that must learn what the record says of an account or participant."""
        work.effects.pop("expect_tokens", None)
        kind = work.kind.key
        if kind not in RELATIONS or record is None or fate(record) == work.fate:
            return []
        tokens = await self._ledger.related_tokens(work.organisation, kind, work.id)
        # A token that is issued meanwhile must not be passed over.
        expected = {"column": kind, "id": work.id, "count": len(tokens)}
        work.effects["expect_tokens"] = [expected]
        return tokens

    async def _decide(
        self, work: Work, source: str, record: Record | None, loaded: Loaded
    ) -> str | None:
        draft = begun(work.told.directory, self._zone, loaded)
        by = Stamp(work.told.now)
        reclaim(work, record)
        changed = await self._changed(work, record, by)
        others = [other for other in loaded.aggregates.values() if other is not record]
        for other in others:
            follow(work, other, by)
        draft.collect([changed, *others])
        if not draft.facts:
            return UNCHANGED
        return await self._append(work, draft, source, CREATED if record is None else UPDATED)

    async def _append(self, work: Work, draft: Draft, source: str, result: str) -> str | None:
        draft.effects |= work.effects
        metadata = {"at": work.told.now.isoformat(), "source": source}
        change = draft.change(self._ledger, metadata)
        verdict = await self._ledger.append(work.organisation, change)
        if verdict.name == "CLAIMED":
            raise DuplicateEntity(verdict.detail)
        return result if verdict.name == "WRITTEN" else None

    async def _changed(self, work: Work, record: Record | None, by: Stamp) -> Aggregate:
        secrets = await self._secrets(work)
        if record is not None:
            record.replace(work.fields, secrets, by, retired=work.retired)
            return record
        new = Record.begin(
            Record.Registered,
            by,
            id=work.stream,
            kind=work.kind.key,
            record_id=work.id,
            fields=work.fields,
            secrets=secrets,
        )
        if work.retired:
            new.record(Record.Retired, by)
        return new

    async def _secrets(self, work: Work) -> dict[str, str]:
        """The key ids of secrets that differ from the stored ones, whose verifiers are written."""
        keys: dict[str, str] = {}
        work.revealed = {}
        for effect in ("secrets", "take_worldwide", "release_worldwide"):
            work.effects.pop(effect, None)
        for name in dict.fromkeys((*work.secrets, *work.kind.made_up)):
            known = await self._ledger.secret(work.organisation, work.ref, name)
            secret, stored = work.secrets.get(name), known.verifier if known else None
            if secret is None and known is None and name in work.kind.made_up:
                secret = work.revealed[name] = made_up()
            verifier = await self._verifier(work, name, secret, stored) if secret else None
            if verifier is None:
                continue
            keys[name] = uuid4().hex
            row = {"key_id": keys[name], "owner": work.ref, "name": name, "verifier": verifier}
            work.effects.setdefault("secrets", []).append(row)
            if name in work.kind.made_up and known:
                work.effects["secrets"].append(former(known, name, work.told.now))
            if name == work.kind.worldwide:
                self._claim_key(work, name, stored, verifier)
        return keys

    async def _verifier(self, work: Work, name: str, secret: str, stored: str | None) -> str | None:
        """What is kept of a secret; None if it is the stored one."""
        hasher = self._hasher
        if name == work.kind.worldwide:
            verifier = hasher.mac(secret)
            return None if stored == verifier else verifier
        if name in work.kind.sealed:
            return sealed(hasher, work.organisation, work.ref, name, secret, stored)
        same = stored is not None and await hasher.verify(stored, secret)
        return None if same else await hasher.hash(secret)

    @staticmethod
    def _claim_key(work: Work, name: str, former: str | None, verifier: str) -> None:
        """Web API keys are unique over all organisations: the key alone says whose it is."""
        entity = {"stream": str(work.stream), "entity": work.ref, "at": name}
        work.effects["take_worldwide"] = [entity | {"claim": f"{work.kind.key}={verifier}"}]
        if former:
            released = {"stream": str(work.stream), "claim": f"{work.kind.key}={former}"}
            work.effects["release_worldwide"] = [released]


def _kind(raw: Mapping[str, Any]) -> Kind:
    kind = KINDS.get(str(raw.get("kind")))
    if kind is None:
        raise InvalidParameterValue("kind")
    return kind


def _identifier(link: Link, target: str) -> Identifier:
    return Identifier(link.to, "id", target, link.parameter)
