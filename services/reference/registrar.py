"""Registration of reference entities: one record at a time, upserted as a whole.

Contract reference_entities.md, section 1. Registering an accounts receivable moves its owners
between MARKETING and FINANCIAL (contact_information.md, section 9) in the same commit, and access
tokens record the new state of their account or participant (access_tokens.md, section 2).
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
from domain.aggregate import Aggregate, Attribution
from domain.errors import (
    ConcurrentUpdate,
    DuplicateEntity,
    EntityNotFound,
    InvalidParameterValue,
    MandatoryParameter,
    Refusal,
)
from domain.fields import JsonObject, ReadContext
from domain.identifiers import Identifier
from domain.parsing import read_text
from domain.reference.catalogue import KINDS, SECRETS
from domain.reference.records import Record, RecordKind, RecordLink, record_id
from services.context import CallContext, ContextQuery, LoadResult
from services.ids import record_stream_id
from services.pipeline.command_runner import ATTEMPTS
from services.pipeline.dispatcher import utc_now
from services.pipeline.stream_locks import StreamLocks
from services.pipeline.tenancy import load_context_by_name
from services.pipeline.unit_of_work import UnitOfWork, start_unit_of_work
from services.ports import Store
from services.reference.registration import (
    Registration,
    check_links,
    notify_related,
    ownership_changes,
    rebuild_claims,
    record_state,
    stored_links,
)
from services.reference.signing_secrets import generate_secret, retire_secret
from services.secret_encryption import SecretCipher, encrypt_if_changed

__all__ = ["CREATED", "UNCHANGED", "UPDATED", "Registrar", "RegistrationResult"]

CREATED, UPDATED, UNCHANGED = "CREATED", "UPDATED", "UNCHANGED"


@dataclass(frozen=True, slots=True)
class RegistrationResult:
    """The result for a record, and the secrets generated for it, which are shown only here."""

    result: str
    generated_secrets: JsonObject


class Registrar:
    """Upserts records for an operator."""

    def __init__(self, store: Store, cipher: SecretCipher, zone: ZoneInfo) -> None:
        self._store = store
        self._cipher = cipher
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
        registration = await self._read(raw, organisation)
        for attempt in range(ATTEMPTS):
            async with self._locks.hold(registration.stream):
                result = await self._attempt(registration, source)
            if result:
                return RegistrationResult(result, registration.generated_secrets)
            await asyncio.sleep(random.random() * 0.01 * attempt)  # noqa: S311 (no secret)
            registration.context = await self._load_context(
                registration.organisation, registration.kind, registration.fields
            )
        raise ConcurrentUpdate

    async def stored(self, raw: Mapping[str, Any], organisation: str | None) -> JsonObject:
        """The kind and fields of the record that this one would replace; empty if there is none."""
        try:
            kind, id_ = _kind(raw), record_id(raw.get("id"))
            organisation = await self._organisation(kind, id_, raw, organisation)
        except Refusal:
            return {}
        stream = record_stream_id(organisation, kind.key, id_)
        record = (await self._store.load(organisation, [stream])).aggregates.get(stream)
        return {"kind": kind.key} | record.fields if isinstance(record, Record) else {}

    async def _read(self, raw: Mapping[str, Any], name: str | None) -> Registration:
        kind, id_ = _kind(raw), record_id(raw.get("id"))
        organisation = await self._organisation(kind, id_, raw, name)
        read_context = ReadContext(self._zone, utc_now().astimezone(self._zone).date())
        fields = kind.read(raw, read_context)
        secrets = {
            name: SECRETS[name].read(raw[name], name, read_context)
            for name in kind.secrets
            if raw.get(name) not in (None, "")
        }
        context = await self._load_context(organisation, kind, fields)
        retired = kind.read_retired(raw, read_context)
        given_secrets = {name: secret for name, secret in secrets.items() if secret}
        return Registration(kind, id_, fields, given_secrets, retired, organisation, context)

    async def _organisation(
        self, kind: RecordKind, id_: str, raw: Mapping[str, Any], name: str | None
    ) -> str:
        if kind.key == "organisation":
            if "organisation" in raw:
                raise InvalidParameterValue("organisation")
            return id_
        raw_name = raw.get("organisation")
        name = name if raw_name in (None, "") else read_text(raw_name, "organisation")
        if not name:
            raise MandatoryParameter("organisation")
        context = await load_context_by_name(
            self._store, read_text(name, "organisation"), ContextQuery()
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
        return await self._store.load_context(organisation, ContextQuery(identifiers=identifiers))

    async def _attempt(self, registration: Registration, source: str) -> str | None:
        """One attempt: the result, or None if another commit came first."""
        loaded = await self._store.load(registration.organisation, [registration.stream])
        record = loaded.aggregates.get(registration.stream)
        assert record is None or isinstance(record, Record)
        check_links(registration, record)
        registration.ownership_changes = ownership_changes(registration, record)
        others = {
            *map(UUID, registration.ownership_changes),
            *await self._tokens(registration, record),
        }
        async with AsyncExitStack() as locks:
            for stream in sorted(others):
                await locks.enter_async_context(self._locks.hold(stream))
            loaded_related = await self._store.load(registration.organisation, list(others))
            loaded.aggregates |= loaded_related.aggregates
            loaded.keys |= loaded_related.keys
            return await self._decide(registration, source, record, loaded)

    async def _tokens(self, registration: Registration, record: Record | None) -> list[UUID]:
        """The access tokens that must record the new state of an account or participant."""
        registration.effects.pop("expect_tokens", None)
        kind = registration.kind.key
        if (
            kind not in RELATIONS
            or record is None
            or record_state(record) == registration.related_state
        ):
            return []
        tokens = await self._store.related_tokens(registration.organisation, kind, registration.id)
        # A token that is issued meanwhile must not be missed.
        expected = {"column": kind, "id": registration.id, "count": len(tokens)}
        registration.effects["expect_tokens"] = [expected]
        return tokens

    async def _decide(
        self, registration: Registration, source: str, record: Record | None, loaded: LoadResult
    ) -> str | None:
        unit_of_work = start_unit_of_work(registration.context.directory, self._zone, loaded)
        by = Attribution(registration.context.now)
        rebuild_claims(registration, record)
        changed = await self._apply(registration, record, by)
        others = [other for other in loaded.aggregates.values() if other is not record]
        for other in others:
            notify_related(registration, other, by)
        unit_of_work.collect([changed, *others])
        if not unit_of_work.events:
            return UNCHANGED
        return await self._append(
            registration, unit_of_work, source, CREATED if record is None else UPDATED
        )

    async def _append(
        self, registration: Registration, unit_of_work: UnitOfWork, source: str, result: str
    ) -> str | None:
        unit_of_work.effects |= registration.effects
        metadata = {"at": registration.context.now.isoformat(), "source": source}
        commit = unit_of_work.to_commit(self._store, metadata)
        append_result = await self._store.append(registration.organisation, commit)
        if append_result.name == "CLAIMED":
            raise DuplicateEntity(append_result.detail)
        return result if append_result.name == "WRITTEN" else None

    async def _apply(
        self, registration: Registration, record: Record | None, by: Attribution
    ) -> Aggregate:
        secrets = await self._secrets(registration)
        if record is not None:
            record.replace(registration.fields, secrets, by, retired=registration.retired)
            return record
        new = Record.create(
            Record.Registered,
            by,
            id=registration.stream,
            kind=registration.kind.key,
            record_id=registration.id,
            fields=registration.fields,
            secrets=secrets,
        )
        if registration.retired:
            new.raise_event(Record.Retired, by)
        return new

    async def _secrets(self, registration: Registration) -> dict[str, str]:
        """The key ids of secrets that differ from the stored ones; adds the effects that store them."""
        keys: dict[str, str] = {}
        registration.generated_secrets = {}
        for effect in ("secrets", "take_worldwide", "release_worldwide"):
            registration.effects.pop(effect, None)
        for name in dict.fromkeys((*registration.secrets, *registration.kind.generated)):
            known = await self._store.secret(registration.organisation, registration.ref, name)
            secret, stored = registration.secrets.get(name), known.verifier if known else None
            if secret is None and known is None and name in registration.kind.generated:
                secret = registration.generated_secrets[name] = generate_secret()
            verifier = await self._verifier(registration, name, secret, stored) if secret else None
            if verifier is None:
                continue
            keys[name] = uuid4().hex
            row = {
                "key_id": keys[name],
                "owner": registration.ref,
                "name": name,
                "verifier": verifier,
            }
            registration.effects.setdefault("secrets", []).append(row)
            if name in registration.kind.generated and known:
                registration.effects["secrets"].append(
                    retire_secret(known, name, registration.context.now)
                )
            if name == registration.kind.globally_unique:
                self._claim_key(registration, name, stored, verifier)
        return keys

    async def _verifier(
        self, registration: Registration, name: str, secret: str, stored: str | None
    ) -> str | None:
        """The verifier or ciphertext to store for a secret; None if it is the stored one."""
        cipher = self._cipher
        if name == registration.kind.globally_unique:
            verifier = cipher.mac(secret)
            return None if stored == verifier else verifier
        if name in registration.kind.encrypted:
            return encrypt_if_changed(
                cipher, registration.organisation, registration.ref, name, secret, stored
            )
        same = stored is not None and await cipher.verify(stored, secret)
        return None if same else await cipher.hash(secret)

    @staticmethod
    def _claim_key(
        registration: Registration, name: str, former: str | None, verifier: str
    ) -> None:
        """Claims a web API key over all organisations: it alone identifies the organisation."""
        entity = {"stream": str(registration.stream), "entity": registration.ref, "at": name}
        registration.effects["take_worldwide"] = [
            entity | {"claim": f"{registration.kind.key}={verifier}"}
        ]
        if former:
            released = {
                "stream": str(registration.stream),
                "claim": f"{registration.kind.key}={former}",
            }
            registration.effects["release_worldwide"] = [released]


def _kind(raw: Mapping[str, Any]) -> RecordKind:
    kind = KINDS.get(str(raw.get("kind")))
    if kind is None:
        raise InvalidParameterValue("kind")
    return kind


def _identifier(link: RecordLink, target: str) -> Identifier:
    return Identifier(link.target_kind, "id", target, link.parameter)
