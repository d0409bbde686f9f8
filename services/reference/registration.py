"""The registration of one record, and its effects on other aggregates.

Contract reference_entities.md, section 1 (side effects), contact_information.md section 9,
access_tokens.md section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from domain.access_token import AccessToken, related_state
from domain.access_token_policy import TokenSettings
from domain.aggregate import Aggregate, Attribution
from domain.contact_information import ContactInformation
from domain.errors import EntityNotFound
from domain.fields import JsonObject
from domain.reference.catalogue import KINDS
from domain.reference.records import Record, RecordKind, RecordLink
from services.context import CallContext
from services.ids import format_id, record_stream_id
from services.side_effects import RebuildClaims, SideEffect

__all__ = [
    "Registration",
    "check_links",
    "notify_related",
    "ownership_changes",
    "rebuild_claims",
    "record_state",
    "stored_links",
    "users_of_key",
]

RULES = {"unique_person": "PERSON", "unique_company": "COMPANY"}


@dataclass(slots=True)
class Registration:
    """The registration of one record: its values, its context and its side effects.

    ``ownership_changes`` are the contacts that lose (False) or gain (True) the account, where it is
    one; ``generated_secrets`` are secrets that were generated for it.
    """

    kind: RecordKind
    id: str
    fields: JsonObject
    secrets: dict[str, str]
    retired: bool
    organisation: str
    context: CallContext
    side_effects: list[SideEffect] = field(default_factory=list)
    owners: dict[str, bool] = field(default_factory=dict)
    revealed: JsonObject = field(default_factory=dict)

    @property
    def stream(self) -> UUID:
        """The stream of the record."""
        return record_stream_id(self.organisation, self.kind.key, self.id)

    @property
    def ref(self) -> str:
        """The record as ``kind/id``."""
        return f"{self.kind.key}/{self.id}"

    @property
    def fate(self) -> str:
        """The new state of this account or participant for its access tokens."""
        return related_state(self.fields, retired=self.retired)


def stored_links(kind: RecordKind, fields: JsonObject) -> list[tuple[RecordLink, str]]:
    """The links to records that are not cached, each with an id."""
    return [(link, t) for link, t in kind.links(fields) if not _in_directory(link.target_kind)]


def _in_directory(kind: str) -> bool:
    return kind in KINDS and KINDS[kind].cached


def check_links(work: Registration, record: Record | None) -> None:
    """Raises `EntityNotFound` for a new link to a record that is missing or retired."""
    former = set()
    if record is not None:
        former = {(link.name, target) for link, target in work.kind.links(record.fields)}
    stored = zip(stored_links(work.kind, work.fields), work.context.matches, strict=True)
    matching = {(link.target_kind, target): matches for (link, target), matches in stored}
    for link, target in work.kind.links(work.fields):
        if (link.name, target) in former:
            continue
        if _in_directory(link.target_kind):
            entry = work.context.directory.entry(link.target_kind, target)
            exists = entry is not None and not entry.retired
        else:
            exists = any(not match.retired for match in matching[link.target_kind, target])
        if not exists:
            raise EntityNotFound(link.parameter)


def ownership_changes(work: Registration, record: Record | None) -> dict[str, bool]:
    """The contacts that lose (False) or gain (True) an account by this record."""
    if work.kind.key != "accounts_receivable":
        return {}
    former = record.fields.get("account_owner") if record and not record.is_retired else None
    owner = None if work.retired else work.fields.get("account_owner")
    if former == owner:
        return {}
    return {id_: gains for id_, gains in ((former, False), (owner, True)) if id_}


def record_state(record: Record) -> str:
    """The present state of an account or participant for its access tokens."""
    return related_state(record.fields, retired=record.is_retired)


def users_of_key(work: Registration, record: Record | None) -> set[UUID]:
    """The streams of the former and the new user of a web API key, whose sessions end when it changes."""
    if work.kind.key != "web_api_key" or record is None:
        return set()
    users = {record.fields["user"], work.fields["user"]}
    return {record_stream_id(work.organisation, "user", id_) for id_ in users if id_}


def notify_related(
    work: Registration, changed: Aggregate, other: Aggregate, by: Attribution
) -> None:
    """Lets a contact or access token record the new state of its account or participant, a user the end of sessions."""
    if isinstance(other, Record) and changed.pending_events:
        other.raise_event(Record.SessionsEnded, by)
    if isinstance(other, ContactInformation):
        gains = work.owners[format_id(other.id)]
        (other.gain_account if gains else other.lose_account)(work.id, by)
    if isinstance(other, AccessToken):
        _follow(work, other, by)


def _follow(work: Registration, token: AccessToken, by: Attribution) -> None:
    directory = work.context.directory
    own = directory.fields("access_token_classification", token.classification)
    settings = TokenSettings.for_token(own if token.classification else None, directory.settings)
    token.track_related_entity(
        work.kind.key, work.fate, by, loses_effect=settings.disable_when_unrelated
    )


def rebuild_claims(work: Registration, record: Record | None) -> None:
    """Adds the effect that rebuilds the claims of contacts where an organisation changes its rules."""
    if work.kind.key != "organisation" or record is None:
        return
    changed = [name for name in RULES if work.fields.get(name) != record.fields.get(name)]
    work.side_effects += [
        RebuildClaims(RULES[name], sorted(work.fields.get(name) or ())) for name in changed
    ]
