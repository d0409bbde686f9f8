"""Notifications of the caller about a new status (contract service_requests.md, section 4).

A notification is an outgoing communication with its queue entry, made in the same commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from msgspec import structs

from domain.aggregate import DomainEvent
from domain.communication import AUTOMATIC, TEXTS, Communication, are_addresses
from domain.queue_entry import QueueEntry
from domain.service_request import ServiceRequest
from services.communications.payload import creation_payload
from services.communications.queue import queue_entry_for
from services.ids import format_id
from services.pipeline.request import Call

__all__ = ["NOTIFICATION_SEQUENCES", "status_notifications"]

NOTIFICATION_SEQUENCES = ("communication", "communication_code", "communication_queue") * 2
"""The sequences of an e-mail and an SMS."""

RULES = (("EMAIL", "notify_by_email", "caller_email"), ("SMS", "notify_by_sms", "caller_phone"))
"""By media: the type's rule that requires it, and the field of the address."""


def status_notifications(
    request: ServiceRequest, former: str, call: Call
) -> Iterator[Communication | QueueEntry]:
    """The communications, with queue entries, about a status other than the ``former`` one.

    Their cause is the event that set the status.
    """
    if request.status == former:
        return
    type_ = call.directory.fields("service_request_type", request.type)
    cause = next(
        event for event in reversed(request.pending_events) if getattr(event, "status", None)
    )
    for media, rule, address in RULES:
        to = request.details.get(address) or ""
        reachable = are_addresses(to) if media == "EMAIL" else to.strip()
        text = _text(request, media, call)
        if type_.get(rule) and reachable and text:
            for new in _compose(request, {"media": media, "to": to, "content": text}, call):
                call.note_cause(new, cast(DomainEvent, cause))
                yield new


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
