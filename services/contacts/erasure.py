"""Erasure of a contact: the key of its events is destroyed, and personal data leaves every view.

One commit does it all: the event with its reason, the keys, the rows of everything that the keys
encrypted, photo, claims, and stored responses. No event is altered, so seals and hashes still prove
the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.access_token import AccessToken
from domain.aggregate import Aggregate, Attribution
from domain.contact_information import ContactInformation
from domain.errors import EntityNotFound, InvalidLifeCycleState
from domain.fields import JsonObject
from domain.identifiers import Identifier, normalised
from domain.queue_entry import QueueEntry
from domain.reference.records import Record
from services.context import CallContext, ContextQuery
from services.ids import format_id, record_stream_id
from services.pipeline.retry import retry_on_conflict
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import ContextSource, EntityRelations, EventStore
from services.side_effects import DropPhoto, EraseSubject

__all__ = ["ContactErasure", "find_contact"]


async def find_contact(
    ledger: ContextSource, organisation: str, name: str
) -> tuple[CallContext, UUID]:
    """The context of an organisation, and the contact with an id or number, erased or not.

    Raises `EntityNotFound`.
    """
    identifiers = tuple(
        Identifier("contact_information", field, normalised(field, name), "contact")
        for field in ("id", "number")
    )
    context = await ledger.load_context(organisation, ContextQuery(identifiers=identifiers))
    candidates = [match for matches in context.matches for match in matches]
    if not candidates:
        raise EntityNotFound("contact")
    return context, UUID(candidates[0].id)


class ErasureStore(EventStore, EntityRelations, Protocol):
    """The ports of an erasure."""


class ContactErasure:
    """Erases contacts."""

    def __init__(self, ledger: ErasureStore, zone: ZoneInfo) -> None:
        self._ledger = ledger
        self._zone = zone

    async def erase(
        self, organisation: str, name: str, reason: str, by: Attribution, metadata: JsonObject
    ) -> str:
        """Erases the contact with an id or a number for good. Returns the contact's id.

        The access tokens of the accounts that it owned last are erased as well, and its pending
        entries are removed from the queue.

        :param reason: why; a text without personal data, because it stays.
        Raises `EntityNotFound`, and `InvalidLifeCycleState` for a contact that owns an account or
        is erased already.
        """

        async def find(_: object = None) -> tuple[CallContext, UUID]:
            return await find_contact(self._ledger, organisation, name)

        async def attempt(state: tuple[CallContext, UUID]) -> str | None:
            context, contact = state
            unit_of_work = await self._unit_of_work(context, contact, reason, by)
            commit = unit_of_work.to_commit(self._ledger, metadata | {"at": by.at.isoformat()})
            result = await self._ledger.append(organisation, commit)
            return format_id(contact) if result.name == "WRITTEN" else None

        return await retry_on_conflict(await find(), attempt, find)

    async def _unit_of_work(
        self, context: CallContext, contact: UUID, reason: str, by: Attribution
    ) -> UnitOfWork:
        organisation = context.directory.organisation
        belongings = await self._ledger.streams_of_contact(organisation, contact)
        tokens = await self._tokens(organisation, contact)
        streams = [contact, *belongings, *tokens]
        subjects = {contact, *tokens}
        known = await self._ledger.load(organisation, streams)
        erased = await self._ledger.load(organisation, streams, erased=subjects)
        unit_of_work = UnitOfWork(context.directory, self._zone, erased)
        for stream, aggregate in known.aggregates.items():
            unit_of_work.projections_before[stream] = unit_of_work.project(aggregate)
        _erase(erased.aggregates.values(), reason, by)
        unit_of_work.collect(erased.aggregates.values())
        # What has no new event is read differently from now on, and its rows are written, too.
        for stream, aggregate in erased.aggregates.items():
            if stream not in unit_of_work.events:
                unit_of_work.projections_after[stream] = unit_of_work.project(aggregate)
        unit_of_work.expect_unchanged()
        unit_of_work.side_effects += [
            EraseSubject(subject, len(belongings) if subject == contact else 0)
            for subject in subjects
        ]
        unit_of_work.side_effects.append(DropPhoto(format_id(contact)))
        return unit_of_work

    async def _tokens(self, organisation: str, contact: UUID) -> list[UUID]:
        """The access tokens of the accounts of which the contact was the last owner."""
        loaded = await self._ledger.load(organisation, [contact])
        owner = loaded.aggregates.get(contact)
        if not isinstance(owner, ContactInformation):
            raise EntityNotFound("contact")
        if owner.forgotten:
            raise InvalidLifeCycleState("contact")
        kind = "accounts_receivable"
        records = [record_stream_id(organisation, kind, id_) for id_ in owner.ever_owned]
        accounts = (await self._ledger.load(organisation, records)).aggregates.values()
        owned = [
            account.record_id
            for account in accounts
            if isinstance(account, Record)
            and account.fields.get("account_owner") == format_id(contact)
        ]
        return await self._ledger.tokens_of_accounts(organisation, owned)


def _erase(aggregates: Iterable[Aggregate], reason: str, by: Attribution) -> None:
    for aggregate in aggregates:
        if isinstance(aggregate, ContactInformation):
            aggregate.forget(reason, by)
        elif isinstance(aggregate, AccessToken):
            aggregate.raise_event(AccessToken.Forgotten, by, reason=reason)
        elif isinstance(aggregate, QueueEntry) and aggregate.state == "PENDING":
            aggregate.remove(by)
