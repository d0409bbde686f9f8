"""Erasure of a contact: the key of its events is destroyed, and personal data leaves every view.

One commit does it all: the event with its reason, the keys, the rows of everything that the keys
encrypted, photo, claims, and stored responses. No event is altered, so seals and hashes still prove
the rest.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.access_token import AccessToken
from domain.aggregate import Aggregate, Attribution
from domain.contact_information import ContactInformation
from domain.errors import ConcurrentUpdate, EntityNotFound, InvalidLifeCycleState
from domain.fields import JsonObject
from domain.identifiers import Identifier, normalised
from domain.queue_entry import QueueEntry
from domain.reference.records import Record
from services.context import CallContext, ContextQuery, LoadResult
from services.ids import format_id, record_stream_id
from services.pipeline.command_runner import ATTEMPTS
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import Store
from services.projections import project

__all__ = ["ContactErasure", "find_contact"]


async def find_contact(store: Store, organisation: str, name: str) -> tuple[CallContext, UUID]:
    """The context of an organisation, and the contact with an id or number, erased or not.

    Raises `EntityNotFound`.
    """
    identifiers = tuple(
        Identifier("contact_information", field, normalised(field, name), "contact")
        for field in ("id", "number")
    )
    context = await store.load_context(organisation, ContextQuery(identifiers=identifiers))
    contacts = [match for matches in context.matches for match in matches]
    if not contacts:
        raise EntityNotFound("contact")
    return context, UUID(contacts[0].id)


class ContactErasure:
    """Erases contacts."""

    def __init__(self, store: Store, zone: ZoneInfo) -> None:
        self._store = store
        self._zone = zone

    async def forget(
        self, organisation: str, name: str, reason: str, by: Attribution, metadata: JsonObject
    ) -> str:
        """Erases the contact with an id or a number for good. Returns the contact's id.

        The access tokens of the accounts that it owned last are erased as well, and its pending
        entries are removed from the queue.

        :param reason: why; a text without personal data, because it stays.
        Raises `EntityNotFound`, and `InvalidLifeCycleState` for a contact that owns an account or
        is erased already.
        """
        for attempt in range(ATTEMPTS):
            context, contact = await find_contact(self._store, organisation, name)
            unit_of_work = await self._unit_of_work(context, contact, reason, by)
            commit = unit_of_work.to_commit(self._store, metadata | {"at": by.at.isoformat()})
            result = await self._store.append(organisation, commit)
            if result.name == "WRITTEN":
                return format_id(contact)
            await asyncio.sleep(random.random() * 0.01 * attempt)  # noqa: S311 (no secret)
        raise ConcurrentUpdate

    async def _unit_of_work(
        self, context: CallContext, contact: UUID, reason: str, by: Attribution
    ) -> UnitOfWork:
        organisation = context.directory.organisation
        belongings = await self._store.streams_of_contact(organisation, contact)
        tokens = await self._tokens(organisation, contact)
        streams = [contact, *belongings, *tokens]
        data_subjects = {contact, *tokens}
        readable = await self._store.load(organisation, streams)
        erased = await self._store.load(organisation, streams, erased=data_subjects)
        unit_of_work = UnitOfWork(context.directory, self._zone, erased)
        for stream, aggregate in readable.aggregates.items():
            unit_of_work.projections_before[stream] = project(
                aggregate, context.directory.settings, self._zone
            )
        _forget(erased.aggregates.values(), reason, by)
        unit_of_work.collect(erased.aggregates.values())
        self._show_erased(unit_of_work, context, erased)
        unit_of_work.effects["forget"] = [
            {
                "subject": str(data_subject),
                "streams": len(belongings) if data_subject == contact else 0,
            }
            for data_subject in data_subjects
        ]
        unit_of_work.effects["drop_photo_of"] = format_id(contact)
        return unit_of_work

    async def _tokens(self, organisation: str, contact: UUID) -> list[UUID]:
        """The access tokens of the accounts of which the contact was the last owner."""
        loaded = await self._store.load(organisation, [contact])
        owner = loaded.aggregates.get(contact)
        if not isinstance(owner, ContactInformation):
            raise EntityNotFound("contact")
        if owner.forgotten:
            raise InvalidLifeCycleState("contact")
        kind = "accounts_receivable"
        records = [record_stream_id(organisation, kind, id_) for id_ in owner.ever_owned]
        accounts = (await self._store.load(organisation, records)).aggregates.values()
        owned = [
            account.record_id
            for account in accounts
            if isinstance(account, Record)
            and account.fields.get("account_owner") == format_id(contact)
        ]
        return await self._store.tokens_of_accounts(organisation, owned)

    def _show_erased(
        self, unit_of_work: UnitOfWork, context: CallContext, erased: LoadResult
    ) -> None:
        """Writes the rows of aggregates that have no new event but lose personal data."""
        unchanged = {
            id_: a for id_, a in erased.aggregates.items() if id_ not in unit_of_work.events
        }
        for stream, aggregate in unchanged.items():
            unit_of_work.projections_after[stream] = project(
                aggregate, context.directory.settings, self._zone
            )
        unit_of_work.expect_versions(
            {stream: aggregate.version for stream, aggregate in unchanged.items()}
        )


def _forget(aggregates: Iterable[Aggregate], reason: str, by: Attribution) -> None:
    for aggregate in aggregates:
        if isinstance(aggregate, ContactInformation):
            aggregate.forget(reason, by)
        elif isinstance(aggregate, AccessToken):
            aggregate.raise_event(AccessToken.Forgotten, by, reason=reason)
        elif isinstance(aggregate, QueueEntry) and aggregate.state == "PENDING":
            aggregate.remove(by)
