"""Notifications of the caller about a new status (contract service_requests.md, section 4).

A notification is an outgoing communication with its queue entry, made in the same commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast
from uuid import UUID

from msgspec import structs

from domain.aggregate import Aggregate, DomainEvent
from domain.communication import AUTOMATIC, TEXTS, Communication, are_addresses
from domain.contact_addresses import email_addresses, normalise_email, phone_numbers
from domain.contact_information import ContactInformation
from domain.mail_addresses import split_addresses
from domain.phone_numbers import search_key
from domain.queue_entry import QueueEntry
from domain.reference.fields import NOTICE_LIMIT
from domain.service_request import ServiceRequest
from services.communications.payload import creation_payload
from services.communications.queue import queue_entry_for
from services.ids import format_id
from services.pipeline.request import Call
from services.side_effects import CountNotices

__all__ = ["NOTIFICATION_SEQUENCES", "notified_customer", "status_notifications"]

NOTIFICATION_SEQUENCES = ("communication", "communication_code", "communication_queue") * 2
"""The sequences of an e-mail and an SMS."""

RULES = (("EMAIL", "notify_by_email", "caller_email"), ("SMS", "notify_by_sms", "caller_phone"))
"""By media: the type's rule that requires it, and the field of the address."""


def status_notifications(
    request: ServiceRequest, former: str, call: Call
) -> Iterator[Communication | QueueEntry]:
    """The communications, with queue entries, about a status other than the ``former`` one.

    Their cause is the event that set the status. Those that a customer causes are counted.
    """
    if request.status == former or call.silent:
        return
    cause = next(
        event for event in reversed(request.pending_events) if getattr(event, "status", None)
    )
    messages = list(_messages(request, call))
    if messages and call.session.customer:
        most = call.settings.get("notice_limit_per_hour", NOTICE_LIMIT)
        call.side_effects.append(CountNotices(call.session.customer.contact, len(messages), most))
    for message in messages:
        for new in _compose(request, message, call):
            call.note_cause(new, cast(DomainEvent, cause))
            yield new


def notified_customer(call: Call) -> Iterator[UUID]:
    """The stream of the customer whose call may cause notices: these go to its own addresses only."""
    if call.session.customer:
        yield UUID(call.session.customer.contact)


def _messages(request: ServiceRequest, call: Call) -> Iterator[dict[str, str]]:
    """Media, address and text of what the type's rules require and the addresses allow."""
    type_ = call.directory.fields("service_request_type", request.type)
    for media, rule, address in RULES:
        to = (request.details.get(address) or "").strip()
        if call.session.customer:
            to = _registered(call.related_aggregate(call.session.customer.contact), media, to)
        reachable = are_addresses(to) if media == "EMAIL" else to
        text = _text(request, media, call)
        if type_.get(rule) and reachable and text:
            yield {"media": media, "to": to, "content": text}


def _registered(contact: Aggregate | None, media: str, to: str) -> str:
    """Those of some addresses that the contact has, as they are registered: whoever calls types what they like."""
    assert isinstance(contact, ContactInformation)
    if media == "SMS":
        return phone_numbers(contact).get(search_key(to), "")
    known = email_addresses(contact)
    return ", ".join(
        known[key] for key in map(normalise_email, split_addresses(to)) if key in known
    )


def _compose(
    request: ServiceRequest, message: dict[str, str], call: Call
) -> Iterator[Communication | QueueEntry]:
    params = message | {
        "contact_information": request.contact_information,
        "direction": "OUTGOING",
        "subject": f"Service request {request.number}: {_status(request, call)}"[
            : TEXTS[0].max_length
        ],
        "referring_to": {"service_request": format_id(request.id)},
    }
    # It comes from the organisation, whoever called.
    payload = creation_payload(
        structs.replace(call, params=params, session=structs.replace(call.session, customer=None))
    )
    payload["details"][AUTOMATIC] = True
    event = Communication.Recorded
    communication = Communication.create(event, call.actor, id=call.new_id(), **payload)
    yield communication
    yield from queue_entry_for(communication, call)


def _text(request: ServiceRequest, media: str, call: Call) -> str:
    """The text of a notification, cut to the limit of the media."""
    type_ = call.directory.fields("service_request_type", request.type).get("name") or ""
    text = f"Your service request {request.number} ({type_}) is now: {_status(request, call)}."
    return text[: (call.settings.get("content_limits") or {}).get(media)]


def _status(request: ServiceRequest, call: Call) -> str:
    status = call.directory.fields("service_request_status", request.status)
    return str(status.get("name") or request.state.replace("_", " ").lower())
