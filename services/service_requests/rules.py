"""The rules for calls on service requests (contract service_requests.md, sections 3 to 6).

The checks are made in the order of section 8: life cycle state, what the type and the state make
mandatory, allowed lists, status, acceptance, contacts, assignment, references. The sets come last,
when they are applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from domain.composite_fields import Reference
from domain.contact_information import ContactInformation
from domain.errors import (
    InvalidAcceptingContact,
    InvalidAssignment,
    InvalidCaller,
    InvalidLifeCycleState,
    InvalidReference,
    InvalidStatus,
    MandatoryParameter,
    NotAllowedForType,
)
from domain.fields import JsonObject
from domain.service_request import ServiceRequest
from domain.service_request_answers import (
    ANSWER_STATES,
    PROGRESSION,
    Answers,
    check_acceptance,
    check_answers_fit_state,
)
from domain.service_request_fields import CALLER, REASON, STATUS, TYPE
from services.pipeline.request import Call

__all__ = [
    "ACCOUNT",
    "Transition",
    "check_account",
    "check_allowed",
    "check_caller_texts",
    "check_contact",
    "check_state",
    "check_transition",
    "read_answers",
    "related_streams",
    "requested_reason",
    "requested_status",
    "state_of",
    "type_of",
]

ACCOUNT = "accounts_receivable"
ACCEPTED_BY = "accepted_by"


@dataclass(frozen=True, slots=True)
class Transition:
    """A service request as it is and as the call requests it.

    ``type`` holds the fields of its type, ``caller`` and ``account`` are ids; ``to`` is the requested
    state, ``status`` the requested status; ``answers`` are those of the call, ``stored`` those
    before; ``assigned_to`` and ``referring_to`` are given by the call, or None.
    """

    type: Mapping[str, Any]
    account: str
    caller: str
    to: str
    status: str
    answers: Answers
    stored: Answers = field(default_factory=dict)
    assigned_to: JsonObject | None = None
    referring_to: JsonObject | None = None


def type_of(call: Call, id_: str) -> Mapping[str, Any]:
    """The fields of a type of service requests."""
    return call.directory.fields(TYPE.target.entity, id_)


def state_of(call: Call, status: str) -> str:
    """The life cycle state to which a status belongs."""
    state: str = call.directory.fields(STATUS.target.entity, status)["life_cycle_state"]
    return state


def requested_status(call: Call, type_: Mapping[str, Any], state: str) -> str:
    """The given status, else the type's default for a state. Raises `MandatoryParameter`."""
    defaults = type_.get("default_status_ids") or {}
    return call.params.get(STATUS.name) or _default(call, STATUS, defaults.get(state))


def requested_reason(call: Call, type_: Mapping[str, Any]) -> str:
    """The given cancellation reason, else the type's default. Raises `MandatoryParameter`."""
    default = type_.get(f"default_{REASON.name}")
    return call.params.get(REASON.name) or _default(call, REASON, default)


def _default(call: Call, field: Reference, id_: str | None) -> str:
    """The default of a type. Raises `MandatoryParameter` if there is none or it is retired."""
    entry = call.directory.entry(field.target.entity, id_)
    if entry is None or entry.retired:
        raise MandatoryParameter(field.parameter)
    return entry.id


def read_answers(call: Call) -> Answers:
    """The given answers as they are stored; None for those that are null."""
    return {name: _answer(call, name) for name in ANSWER_STATES if name in call.params}


def _answer(call: Call, name: str) -> JsonObject | None:
    param = call.params[name]
    if param is None:
        return None
    answer = {key: value for key, value in param.items() if value is not None}
    if answer.get(ACCEPTED_BY):
        answer.setdefault("accepted_date", call.wall_clock)
    else:
        answer.pop("accepted_date", None)
    category = call.directory.fields(f"service_request_{name}_category", answer["category"])
    return answer | {"acceptance_required": bool(category.get("requires_customer_acceptance"))}


def related_streams(call: Call) -> Iterator[UUID]:
    """The streams that the rules need besides the service request: contacts and records."""
    request, params = call.related_aggregate(call.params.get("service_request")), call.params
    caller: str | None
    if isinstance(request, ServiceRequest):
        caller = request.contact_information
    else:
        yield call.record_id(ACCOUNT, params[ACCOUNT])
        owner = _owner(call)
        caller = params.get(CALLER.name) or owner
        yield from map(UUID, {owner, caller} - {None})
    accepting = {params.get(ACCEPTED_BY)}
    accepting |= {(params.get(name) or {}).get(ACCEPTED_BY) for name in ANSWER_STATES}
    if accepting - {None, caller}:
        yield from map(UUID, (accepting | {caller}) - {None})
    for kind, id_ in (params.get("referring_to") or {}).items():
        if id_:
            yield call.record_id(kind, id_)


def _owner(call: Call) -> str | None:
    """The owner of the account of a new service request, once that is loaded."""
    account = call.record(ACCOUNT, call.params[ACCOUNT])
    owner: str | None = account.fields.get("account_owner") if account else None
    return owner


def check_account(call: Call) -> str:
    """The caller of a new service request.

    Raises `InvalidLifeCycleState` for a terminated account, and `MandatoryParameter` where nobody is
    given and the account has no owner.
    """
    account = call.record(ACCOUNT, call.params[ACCOUNT])
    if account and account.fields.get("life_cycle_state") == "TERMINATED":
        raise InvalidLifeCycleState(f"{ACCOUNT}_identifier")
    caller = call.params.get(CALLER.name) or _owner(call)
    if caller is None:
        raise MandatoryParameter(CALLER.parameter)
    return caller


def check_caller_texts(
    type_: Mapping[str, Any], params: JsonObject, *, amending: bool = False
) -> None:
    """Raises `MandatoryParameter` for a missing address that the type's notifications need (6.1).

    :param amending: a text that is not given stays as it is.
    """
    by_email, by_sms = type_.get("notify_by_email"), type_.get("notify_by_sms")
    for name, required in (("caller_email", by_email and not by_sms), ("caller_phone", by_sms)):
        applies = name in params or not amending
        if required and applies and not (params.get(name) or "").strip():
            raise MandatoryParameter(name)


def check_transition(call: Call, transition: Transition, to: str | None = None) -> None:
    """Checks all rules of a transition, in their order (section 8).

    Raises `MandatoryParameter` and `InvalidParameterValue` for answers that do not fit,
    `NotAllowedForType`, `InvalidStatus`, what `check_acceptance` does, `InvalidCaller`,
    `InvalidAcceptingContact`, `InvalidAssignment` and `InvalidReference`.

    :param to: the state to which the method leads; None if the status decides.
    """
    if to is None and transition.to in PROGRESSION:
        check_answers_fit_state(transition.to, transition.stored, transition.answers)
    _check_allowed(call, transition)
    check_state(call, transition.status, *((to,) if to else PROGRESSION))
    check_acceptance(transition.to, transition.stored, transition.answers)
    if ACCOUNT in call.params and not _are_related(call, _owner(call), transition.caller):
        raise InvalidCaller(CALLER.parameter)
    for name, answer in transition.answers.items():
        check_contact(call, transition.caller, (answer or {}).get(ACCEPTED_BY), f"{name}.")
    _check_assignment(call, transition.assigned_to or {})
    _check_references(call, transition.account, transition.referring_to or {})


def check_state(call: Call, status: str, *states: str) -> None:
    """Raises `InvalidStatus` for a status of another state than ``states``."""
    if state_of(call, status) not in states:
        raise InvalidStatus(STATUS.parameter)


def _check_allowed(call: Call, transition: Transition) -> None:
    chosen = {name: call.params.get(name) for name in ("status", "category")}
    chosen |= {
        f"{name}_category": (answer or {}).get("category")
        for name, answer in transition.answers.items()
    }
    for kind, id_ in chosen.items():
        check_allowed(transition.type, kind, id_)


def check_allowed(type_: Mapping[str, Any], kind: str, id_: str | None) -> None:
    """Raises `NotAllowedForType` for an id that is not on the type's list, if there is one."""
    allowed = type_.get(f"allowed_{kind}")
    if id_ and allowed and id_ not in allowed:
        answer = kind.removesuffix("_category")
        path = f"{answer}.category" if answer in ANSWER_STATES else kind
        raise NotAllowedForType(f"{path}_identifier")


def check_contact(call: Call, caller: str, accepting: str | None, path: str = "") -> None:
    """Raises `InvalidAcceptingContact` unless it is the caller or related to the caller."""
    if accepting and not _are_related(call, caller, accepting):
        raise InvalidAcceptingContact(f"{path}{ACCEPTED_BY}_identifier")


def _are_related(call: Call, contact: str | None, other: str) -> bool:
    """True if two contacts are the same, or one of them has a relation to the other."""
    return (
        contact == other or other in _relations(call, contact) or contact in _relations(call, other)
    )


def _relations(call: Call, id_: str | None) -> set[str]:
    contact = call.related_aggregate(id_)
    entries = (
        contact.sets.get("relation_set", ()) if isinstance(contact, ContactInformation) else ()
    )
    return {entry[CALLER.name] for entry in entries}


def _check_assignment(call: Call, assigned_to: JsonObject) -> None:
    """Raises `InvalidAssignment` for a user of other units, if the user lists any (section 5.4)."""
    units = call.directory.fields("user", assigned_to.get("user")).get("unit")
    if units and assigned_to["unit"] not in units:
        raise InvalidAssignment("assigned_to.user_identifier")


def _check_references(call: Call, account: str, referring_to: JsonObject) -> None:
    """Raises `InvalidReference` for a subscription or job of another account."""
    for kind, id_ in referring_to.items():
        record = call.record(kind, id_)
        own_account = record.fields.get(ACCOUNT) if record else account
        if own_account != account and (own_account or kind == "subscription"):
            raise InvalidReference(f"referring_to.{kind}_identifier")
