"""Registration of reference entities: one record at a time, upserted as a whole.

Contract reference_entities.md, section 1. Registering an accounts receivable moves its owners
between MARKETING and FINANCIAL (contact_information.md, section 9) in the same commit, and access
tokens record the new state of their account or participant (access_tokens.md, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from domain.access_token import RELATIONS
from domain.aggregate import Aggregate, Attribution
from domain.errors import (
    DuplicateEntity,
    EntityNotFound,
    InvalidParameterValue,
    MandatoryParameter,
    Refusal,
)
from domain.fields import JsonObject, ReadContext
from domain.identifiers import Identifier
from domain.parsing import is_blank, read_text
from domain.reference.catalogue import KINDS, SECRETS
from domain.reference.records import Record, RecordKind, RecordLink, record_id
from services.clock import utc_now
from services.context import CallContext, ContextQuery, LoadResult
from services.ids import record_stream_id
from services.pipeline.principal import current_principal
from services.pipeline.retry import retry_on_conflict
from services.pipeline.stream_locks import StreamLocks
from services.pipeline.tenancy import load_context_by_name
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import EntityRelations, EventStore, Organisations, SecretStore
from services.reference.registration import (
    Registration,
    check_links,
    notify_related,
    ownership_changes,
    rebuild_claims,
    record_state,
    stored_links,
    users_of_key,
)
from services.reference.secret_strength import check_key, check_password
from services.reference.signing_secrets import generate_secret, retire_secret
from services.secret_encryption import SecretCipher, encrypt_if_changed
from services.side_effects import ExpectTokens, ReleaseGlobalClaim, StoreSecret, TakeGlobalClaim

__all__ = ["CREATED", "UNCHANGED", "UPDATED", "Registrar", "RegistrationResult"]

NOTED_SECRETS = 100
"""Secrets of one call that the security log names."""

CREATED, UPDATED, UNCHANGED = "CREATED", "UPDATED", "UNCHANGED"


@dataclass(frozen=True, slots=True)
class RegistrationResult:
    """The result for a record, and the secrets generated for it, which are shown only here."""

    result: str
    generated_secrets: JsonObject


class RegistrationStore(Organisations, EventStore, SecretStore, EntityRelations, Protocol):
    """The ports of a registration."""


class Registrar:
    """Upserts records for an operator."""

    def __init__(self, ledger: RegistrationStore, hasher: SecretCipher, zone: ZoneInfo) -> None:
        self._ledger = ledger
        self._hasher = hasher
        self._zone = zone
        self._locks = StreamLocks()

    async def register(
        self, raw: Mapping[str, Any], organisation: str | None, source: str
    ) -> RegistrationResult:
        """Creates or replaces one record: `CREATED`, `UPDATED` or `UNCHANGED`.

        :param raw: the record with its ``kind``, ``id`` and, if ``organisation`` is None, its
            ``organisation`` (a name).
        :param source: the source in the metadata of its events.
        Raises the refusals of the contract for the field concerned.
        """
        work = await self._read(raw, organisation)

        async def ask_again(work: Registration) -> Registration:
            work.context = await self._load_context(work.organisation, work.kind, work.fields)
            return work

        async def attempt(work: Registration) -> str | None:
            async with self._locks.hold(work.stream):
                return await self._attempt(work, source)

        result = await retry_on_conflict(work, attempt, ask_again)
        return RegistrationResult(result, work.revealed)

    async def stored(self, raw: Mapping[str, Any], organisation: str | None) -> JsonObject:
        """The kind and fields of the record that this one would replace; empty if there is none."""
        try:
            kind, id_ = _kind(raw), record_id(raw.get("id"))
            organisation = await self._organisation(kind, id_, raw, organisation)
        except Refusal:
            return {}
        stream = record_stream_id(organisation, kind.key, id_)
        record = (await self._ledger.load(organisation, [stream])).aggregates.get(stream)
        return {"kind": kind.key} | record.fields if isinstance(record, Record) else {}

    async def _read(self, raw: Mapping[str, Any], name: str | None) -> Registration:
        kind, id_ = _kind(raw), record_id(raw.get("id"))
        organisation = await self._organisation(kind, id_, raw, name)
        context = ReadContext(self._zone, utc_now().astimezone(self._zone).date())
        fields = kind.read(raw, context)
        secrets = {
            name: SECRETS[name].read(raw[name], name, context)
            for name in kind.secrets
            if not is_blank(raw.get(name))
        }
        if "password" in secrets and kind.key == "user":
            check_password(secrets["password"], fields["username"])
        if kind.key == "web_api_key" and "key" in secrets:
            check_key(secrets["key"])
        call_context = await self._load_context(organisation, kind, fields)
        retired = kind.read_retired(raw, context)
        return Registration(kind, id_, fields, secrets, retired, organisation, call_context)

    async def _organisation(
        self, kind: RecordKind, id_: str, raw: Mapping[str, Any], name: str | None
    ) -> str:
        if kind.key == "organisation":
            if "organisation" in raw:
                raise InvalidParameterValue("organisation")
            return id_
        raw_name = raw.get("organisation")
        name = name if is_blank(raw_name) else read_text(raw_name, "organisation")
        if not name:
            raise MandatoryParameter("organisation")
        context = await load_context_by_name(
            self._ledger, read_text(name, "organisation"), ContextQuery()
        )
        if context is None:
            raise EntityNotFound("organisation")
        return context.directory.organisation

    async def _load_context(
        self, organisation: str, kind: RecordKind, fields: JsonObject
    ) -> CallContext:
        identifiers = tuple(
            _identifier(link, target) for link, target in stored_links(kind, fields)
        )
        return await self._ledger.load_context(organisation, ContextQuery(identifiers=identifiers))

    async def _attempt(self, work: Registration, source: str) -> str | None:
        """One attempt: the result, or None if another commit came first."""
        work.side_effects, work.revealed = [], {}
        loaded = await self._ledger.load(work.organisation, [work.stream])
        record = loaded.aggregates.get(work.stream)
        assert record is None or isinstance(record, Record)
        check_links(work, record)
        work.owners = ownership_changes(work, record)
        others = {*map(UUID, work.owners), *await self._tokens(work, record)}
        others |= users_of_key(work, record)
        async with AsyncExitStack() as turns:
            for stream in sorted(others):
                await turns.enter_async_context(self._locks.hold(stream))
            loaded.add(await self._ledger.load(work.organisation, list(others)))
            return await self._decide(work, source, record, loaded)

    async def _tokens(self, work: Registration, record: Record | None) -> list[UUID]:
        """The access tokens that must record the new state of an account or participant."""
        kind = work.kind.key
        if kind not in RELATIONS or record is None or record_state(record) == work.fate:
            return []
        tokens = await self._ledger.related_tokens(work.organisation, kind, work.id)
        # A token that is issued meanwhile must not be missed.
        work.side_effects.append(ExpectTokens(kind, work.id, len(tokens)))
        return tokens

    async def _decide(
        self, work: Registration, source: str, record: Record | None, loaded: LoadResult
    ) -> str | None:
        draft = UnitOfWork.start(work.context.directory, self._zone, loaded)
        by = Attribution(work.context.now)
        rebuild_claims(work, record)
        changed = await self._changed(work, record, by)
        others = [other for other in loaded.aggregates.values() if other is not record]
        for other in others:
            notify_related(work, changed, other, by)
        draft.collect([changed, *others])
        if not draft.events:
            return UNCHANGED
        return await self._append(work, draft, source, CREATED if record is None else UPDATED)

    async def _append(
        self, work: Registration, draft: UnitOfWork, source: str, result: str
    ) -> str | None:
        draft.side_effects += work.side_effects
        metadata = {"at": work.context.now.isoformat(), "source": source}
        change = draft.to_commit(self._ledger, metadata)
        verdict = await self._ledger.append(work.organisation, change)
        if verdict.name == "CLAIMED":
            raise DuplicateEntity(verdict.detail)
        return result if verdict.name == "WRITTEN" else None

    async def _changed(
        self, work: Registration, record: Record | None, by: Attribution
    ) -> Aggregate:
        secrets = await self._secrets(work)
        if record is not None:
            record.replace(work.fields, secrets, by, retired=work.retired)
            return record
        new = Record.create(
            Record.Registered,
            by,
            id=work.stream,
            kind=work.kind.key,
            record_id=work.id,
            fields=work.fields,
            secrets=secrets,
        )
        if work.retired:
            new.raise_event(Record.Retired, by)
        return new

    async def _secrets(self, work: Registration) -> dict[str, str]:
        """The key ids of secrets that differ from the stored ones; adds the effects that store them."""
        keys: dict[str, str] = {}
        for name in dict.fromkeys((*work.secrets, *work.kind.generated)):
            known = await self._ledger.secret(work.organisation, work.ref, name)
            secret, stored = work.secrets.get(name), known.verifier if known else None
            if secret is None and known is None and name in work.kind.generated:
                secret = work.revealed[name] = generate_secret()
            verifier = await self._verifier(work, name, secret, stored) if secret else None
            if verifier is None:
                continue
            keys[name] = uuid4().hex
            _note_secret(f"{work.ref} {name}")
            work.side_effects.append(StoreSecret(keys[name], work.ref, name, verifier))
            if name in work.kind.generated and known:
                work.side_effects.append(retire_secret(known, name, work.context.now))
            if name == work.kind.globally_unique:
                await self._claim_key(work, name, secret or "", stored)
        return keys

    async def _verifier(
        self, work: Registration, name: str, secret: str, stored: str | None
    ) -> str | None:
        """The verifier or ciphertext to store for a secret; None if it is the stored one."""
        hasher = self._hasher
        if name == work.kind.globally_unique:
            macs = hasher.macs(secret)
            return None if stored in macs else macs[0]
        if name in work.kind.encrypted:
            return encrypt_if_changed(hasher, work.organisation, work.ref, name, secret, stored)
        same = stored is not None and await hasher.verify(stored, secret)
        return None if same else await hasher.hash(secret)

    async def _claim_key(self, work: Registration, name: str, key: str, former: str | None) -> None:
        """Claims a web API key over all organisations: it alone identifies the organisation."""
        claim, *others = [f"{work.kind.key}={mac}" for mac in self._hasher.macs(key)]
        # Claims that were made with different service keys do not collide by themselves.
        holder = await self._ledger.claim_holder(*others) if others else None
        if holder not in (None, (work.organisation, work.ref)):
            raise DuplicateEntity(name)
        work.side_effects.append(
            TakeGlobalClaim(stream=work.stream, entity=work.ref, claim=claim, at=name)
        )
        # It may pass to another service key meanwhile.
        for mac in self._hasher.equal_macs(former) if former else ():
            claim = f"{work.kind.key}={mac}"
            work.side_effects.append(ReleaseGlobalClaim(stream=work.stream, claim=claim))


def _note_secret(name: str) -> None:
    """Note for the security log that a secret is set; of an import with many, the first ones."""
    changed = current_principal().changed_secrets
    if len(changed) < NOTED_SECRETS:
        changed.append(name)


def _kind(raw: Mapping[str, Any]) -> RecordKind:
    kind = KINDS.get(str(raw.get("kind")))
    if kind is None:
        raise InvalidParameterValue("kind")
    return kind


def _identifier(link: RecordLink, target: str) -> Identifier:
    return Identifier(link.target_kind, "id", target, link.parameter)
