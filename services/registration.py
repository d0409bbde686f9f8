"""Registering reference entities: one record at a time, upserted as a whole.

Contract reference_entities.md, section 1. Registering an accounts receivable moves its owners
between MARKETING and FINANCIAL (contact_information.md, section 9) in the same change.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate, Stamp
from domain.contact_information import ContactInformation
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
from domain.reference_entities import KINDS, SECRETS
from domain.registration import Kind, Link, Record, record_id
from domain.values import read_text
from services.draft import Draft, begun
from services.ids import record_stream
from services.ports import Hasher, Ledger, Loaded, Question, Told
from services.run import utc_now
from services.tenancy import ask_by_name
from services.turns import Turns
from services.write import ATTEMPTS

__all__ = ["CREATED", "UNCHANGED", "UPDATED", "Registrar"]

CREATED, UPDATED, UNCHANGED = "CREATED", "UPDATED", "UNCHANGED"
RULES = {"unique_person": "PERSON", "unique_company": "COMPANY"}


@dataclass(slots=True)
class _Work:
    """One record on its way: as read, and what is stored of it."""

    kind: Kind
    id: str
    fields: Values
    secrets: dict[str, str]
    retired: bool
    organisation: str
    told: Told
    verifiers: list[Values] = field(default_factory=list)
    effects: Values = field(default_factory=dict)

    @property
    def stream(self) -> UUID:
        """The stream of the record."""
        return record_stream(self.organisation, self.kind.key, self.id)

    @property
    def ref(self) -> str:
        """The record as ``kind/id``."""
        return f"{self.kind.key}/{self.id}"


class Registrar:
    """Upserts records for an operator."""

    def __init__(self, ledger: Ledger, hasher: Hasher, zone: ZoneInfo) -> None:
        self._ledger = ledger
        self._hasher = hasher
        self._zone = zone
        self._turns = Turns()

    async def register(self, raw: Mapping[str, Any], organisation: str | None, source: str) -> str:
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
                return result
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

    async def _read(self, raw: Mapping[str, Any], name: str | None) -> _Work:
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
        return _Work(kind, id_, fields, given, retired, organisation, told)

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
        asked = tuple(_identifier(link, target) for link, target in _stored_links(kind, fields))
        return await self._ledger.ask(organisation, Question(identifiers=asked))

    async def _attempt(self, work: _Work, source: str) -> str | None:
        """One try; None if another change came first."""
        loaded = await self._ledger.load(work.organisation, [work.stream])
        record = loaded.aggregates.get(work.stream)
        assert record is None or isinstance(record, Record)
        _check_links(work, record)
        owners = _owners(work, record)
        async with AsyncExitStack() as turns:
            for owner in sorted(owners):
                await turns.enter_async_context(self._turns.turn(UUID(owner)))
            return await self._decide(work, source, record, loaded, owners)

    async def _decide(
        self,
        work: _Work,
        source: str,
        record: Record | None,
        loaded: Loaded,
        owners: dict[str, bool],
    ) -> str | None:
        contacts = await self._ledger.load(work.organisation, [UUID(o) for o in owners])
        loaded.aggregates |= contacts.aggregates
        loaded.keys |= contacts.keys
        draft = begun(work.told.directory, self._zone, loaded)
        by = Stamp(work.told.now)
        _reclaim(work, record)
        changed = await self._changed(work, record, by)
        for owner, gains in owners.items():
            contact = loaded.aggregates[UUID(owner)]
            assert isinstance(contact, ContactInformation)
            (contact.gain_account if gains else contact.lose_account)(work.id, by)
        draft.collect([changed, *contacts.aggregates.values()])
        if not draft.facts:
            return UNCHANGED
        return await self._append(work, draft, source, CREATED if record is None else UPDATED)

    async def _append(self, work: _Work, draft: Draft, source: str, result: str) -> str | None:
        draft.effects |= work.effects
        metadata = {"at": work.told.now.isoformat(), "source": source}
        change = draft.change(self._ledger, metadata)
        verdict = await self._ledger.append(work.organisation, change)
        if verdict.name == "CLAIMED":
            raise DuplicateEntity(verdict.detail)
        return result if verdict.name == "WRITTEN" else None

    async def _changed(self, work: _Work, record: Record | None, by: Stamp) -> Aggregate:
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

    async def _secrets(self, work: _Work) -> dict[str, str]:
        """The key ids of secrets that differ from the stored ones, whose verifiers are written."""
        keys: dict[str, str] = {}
        for effect in ("secrets", "take_worldwide", "release_worldwide"):
            work.effects.pop(effect, None)
        for name, secret in work.secrets.items():
            known = await self._ledger.secret(work.organisation, work.ref, name)
            stored = known.verifier if known else None
            if name == work.kind.worldwide:
                verifier, same = self._hasher.mac(secret), stored == self._hasher.mac(secret)
            else:
                same = stored is not None and await self._hasher.verify(stored, secret)
                verifier = "" if same else await self._hasher.hash(secret)
            if same:
                continue
            keys[name] = uuid4().hex
            row = {"key_id": keys[name], "owner": work.ref, "name": name, "verifier": verifier}
            work.effects.setdefault("secrets", []).append(row)
            if name == work.kind.worldwide:
                self._claim_key(work, name, stored, verifier)
        return keys

    @staticmethod
    def _claim_key(work: _Work, name: str, former: str | None, verifier: str) -> None:
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


def _stored_links(kind: Kind, fields: Values) -> list[tuple[Link, str]]:
    """The links that lead outside the directory."""
    return [(link, t) for link, t in kind.links(fields) if not _in_directory(link.to)]


def _in_directory(kind: str) -> bool:
    return kind in KINDS and KINDS[kind].directory


def _identifier(link: Link, target: str) -> Identifier:
    return Identifier(link.to, "id", target, link.parameter)


def _check_links(work: _Work, record: Record | None) -> None:
    """Targets of new links must exist and not be retired."""
    former = set()
    if record is not None:
        former = {(link.name, target) for link, target in work.kind.links(record.fields)}
    stored = zip(_stored_links(work.kind, work.fields), work.told.matches, strict=True)
    found = {(link.to, target): matches for (link, target), matches in stored}
    for link, target in work.kind.links(work.fields):
        if (link.name, target) in former:
            continue
        if _in_directory(link.to):
            entry = work.told.directory.entry(link.to, target)
            exists = entry is not None and not entry.retired
        else:
            exists = any(not match.retired for match in found[link.to, target])
        if not exists:
            raise EntityNotFound(link.parameter)


def _owners(work: _Work, record: Record | None) -> dict[str, bool]:
    """The contacts that lose (False) or gain (True) an account by this record."""
    if work.kind.key != "accounts_receivable":
        return {}
    former = record.fields.get("account_owner") if record and not record.is_retired else None
    owner = None if work.retired else work.fields.get("account_owner")
    if former == owner:
        return {}
    return {id_: gains for id_, gains in ((former, False), (owner, True)) if id_}


def _reclaim(work: _Work, record: Record | None) -> None:
    """Where an organisation changes what must be unique, all its contacts are claimed anew."""
    if work.kind.key != "organisation" or record is None:
        return
    changed = [name for name in RULES if work.fields.get(name) != record.fields.get(name)]
    if changed:
        work.effects["reclaim"] = [
            {"type": RULES[name], "rule": sorted(work.fields.get(name) or ())} for name in changed
        ]
