"""Methods 11 to 17: the sending queue (contract communications.md, section 9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from domain.communication import CONTACT, EXTERNAL_SYSTEM, MEDIA, Communication
from domain.composite_fields import Reference
from domain.fields import Parameters, ParameterSpec, mandatory
from domain.queue_entry import ENTRY_STATE, ERROR_CODE, ERROR_DESCRIPTION, QueueEntry
from domain.reference.catalogue import identifiable
from services.communications.projection import QUEUE_ENTRY
from services.context import ViewQuery
from services.ids import format_id
from services.pipeline.method import command, query
from services.pipeline.paging import NUMBER, PAGING, page
from services.pipeline.request import Call

__all__ = ["queue_entry_for"]

ON = Reference(name="communication_queue", target=identifiable("communication_queue"))
FILTERS: tuple[ParameterSpec, ...] = (EXTERNAL_SYSTEM, MEDIA, CONTACT)
EITHER = (EXTERNAL_SYSTEM.name, MEDIA.name)
IDENTIFIED: tuple[ParameterSpec, ...] = (mandatory(ON),)


def queue_entry_for(communication: Communication, call: Call) -> Iterator[QueueEntry]:
    """The queue entry of a communication that has just become final and is to be sent (9.1)."""
    details = communication.details
    media, system = details["media"], details.get(EXTERNAL_SYSTEM.name)
    switches = {"EMAIL": "email_server_enabled", "SMS": "sms_server_enabled"}
    is_sent = system or (media in switches and call.settings.get(switches[media], True))
    if communication.state == "COMPLETED" and details["direction"] == "OUTGOING" and is_sent:
        yield QueueEntry.create(
            QueueEntry.Queued,
            call.actor,
            id=call.new_id(),
            number=str(call.next_number("communication_queue")),
            communication=format_id(communication.id),
            contact_information=communication.contact_information,
            media=media,
            external_system=system,
        )


@query(
    11,
    "communications/queue/show",
    Parameters(*IDENTIFIED),
    QUEUE_ENTRY,
    prefetch_from="queue_entries",
)
def show(call: Call) -> ViewQuery:
    """Shows one queue entry."""
    return ViewQuery("queue_entries", {"id": call.params["communication_queue"]})


@query(
    12,
    "communications/queue/list",
    Parameters(*FILTERS, ENTRY_STATE, *PAGING, exactly_one=EITHER),
    QUEUE_ENTRY,
    is_list=True,
)
def list_(call: Call) -> ViewQuery:
    """Lists the queue entries of an external system or of a media, in any or one state."""
    return _page(call, call.params.get("life_cycle_state"))


@query(
    13,
    "communications/queue/get_latest",
    Parameters(*FILTERS, mandatory(NUMBER), exactly_one=EITHER),
    QUEUE_ENTRY,
    is_list=True,
)
def get_latest(call: Call) -> ViewQuery:
    """Lists the latest entries that still wait to be sent, newest first."""
    return _page(call, "PENDING", descending=True)


@query(
    14,
    "communications/queue/get_pending_completed",
    Parameters(*FILTERS, *PAGING, NUMBER, exactly_one=EITHER),
    QUEUE_ENTRY,
    is_list=True,
)
def get_pending_completed(call: Call) -> ViewQuery:
    """Lists the entries that readers still show, pending and completed ones, newest first."""
    return _page(call, ("PENDING", "COMPLETED"), descending=True)


def _page(call: Call, state: Any, *, descending: bool = False) -> ViewQuery:
    params = call.params
    where = {
        "external_system": params.get(EXTERNAL_SYSTEM.name),
        "media": params.get("media"),
        "contact_information": params.get("contact_information"),
        "life_cycle_state": state,
    }
    return page("queue_entries", where, params, descending=descending)


@command(
    15, "communications/queue/process", Parameters(*IDENTIFIED), QUEUE_ENTRY, identified_by=(ON,)
)
def process(entry: QueueEntry, call: Call) -> None:
    """Says that the message was sent."""
    entry.process(call.actor)


@command(
    16,
    "communications/queue/reject",
    Parameters(*IDENTIFIED, mandatory(ERROR_CODE), mandatory(ERROR_DESCRIPTION)),
    QUEUE_ENTRY,
    identified_by=(ON,),
)
def reject(entry: QueueEntry, call: Call) -> None:
    """Says that the message could not be sent, and why."""
    entry.reject(call.params["error_code"], call.params["error_description"], call.actor)


@command(
    17, "communications/queue/remove", Parameters(*IDENTIFIED), QUEUE_ENTRY, identified_by=(ON,)
)
def remove(entry: QueueEntry, call: Call) -> None:
    """Takes an entry off the list that readers show."""
    entry.remove(call.actor)
