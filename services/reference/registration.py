"""One record on its way into the ledger, and what it brings about for others.

Contract reference_entities.md, section 1 (side effects), contact_information.md section 9,
access_tokens.md section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from domain.access_token import AccessToken, fate_of
from domain.access_token_policy import TokenSettings
from domain.aggregate import Aggregate, Stamp
from domain.contact_information import ContactInformation
from domain.errors import EntityNotFound
from domain.fields import Values
from domain.reference.catalogue import KINDS
from domain.reference.records import Kind, Link, Record
from services.context import Told
from services.ids import id_text, record_stream

__all__ = ["Work", "check_links", "fate", "follow", "owners", "reclaim", "stored_links"]

RULES = {"unique_person": "PERSON", "unique_company": "COMPANY"}


@dataclass(slots=True)
class Work:
    """One record on its way: as read, and what is stored of it.

    ``owners`` are the contacts that lose (False) or gain (True) the account that it is, ``revealed``
    are secrets that were made up for it.
    """

    kind: Kind
    id: str
    fields: Values
    secrets: dict[str, str]
    retired: bool
    organisation: str
    told: Told
    verifiers: list[Values] = field(default_factory=list)
    effects: Values = field(default_factory=dict)
    owners: dict[str, bool] = field(default_factory=dict)
    revealed: Values = field(default_factory=dict)

    @property
    def stream(self) -> UUID:
        """The stream of the record."""
        return record_stream(self.organisation, self.kind.key, self.id)

    @property
    def ref(self) -> str:
        """The record as ``kind/id``."""
        return f"{self.kind.key}/{self.id}"

    @property
    def fate(self) -> str:
        """What an access token of this account or participant is told of it."""
        return fate_of(self.fields, retired=self.retired)


def stored_links(kind: Kind, fields: Values) -> list[tuple[Link, str]]:
    """The links that lead outside the directory."""
    return [(link, t) for link, t in kind.links(fields) if not _in_directory(link.to)]


def _in_directory(kind: str) -> bool:
    return kind in KINDS and KINDS[kind].directory


def check_links(work: Work, record: Record | None) -> None:
    """Targets of new links must exist and not be retired."""
    former = set()
    if record is not None:
        former = {(link.name, target) for link, target in work.kind.links(record.fields)}
    stored = zip(stored_links(work.kind, work.fields), work.told.matches, strict=True)
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


def owners(work: Work, record: Record | None) -> dict[str, bool]:
    """The contacts that lose (False) or gain (True) an account by this record."""
    if work.kind.key != "accounts_receivable":
        return {}
    former = record.fields.get("account_owner") if record and not record.is_retired else None
    owner = None if work.retired else work.fields.get("account_owner")
    if former == owner:
        return {}
    return {id_: gains for id_, gains in ((former, False), (owner, True)) if id_}


def fate(record: Record) -> str:
    """What access tokens were told of an account or participant."""
    return fate_of(record.fields, retired=record.is_retired)


def follow(work: Work, other: Aggregate, by: Stamp) -> None:
    """Tells a contact or access token what became of its account or participant."""
    if isinstance(other, ContactInformation):
        gains = work.owners[id_text(other.id)]
        (other.gain_account if gains else other.lose_account)(work.id, by)
    if isinstance(other, AccessToken):
        _follow(work, other, by)


def _follow(work: Work, token: AccessToken, by: Stamp) -> None:
    directory = work.told.directory
    own = directory.fields("access_token_classification", token.classification)
    settings = TokenSettings.of(own if token.classification else None, directory.settings)
    token.follow(work.kind.key, work.fate, by, loses_effect=settings.ends_unrelated)


def reclaim(work: Work, record: Record | None) -> None:
    """Where an organisation changes what must be unique, all its contacts are claimed anew."""
    if work.kind.key != "organisation" or record is None:
        return
    changed = [name for name in RULES if work.fields.get(name) != record.fields.get(name)]
    if changed:
        work.effects["reclaim"] = [
            {"type": RULES[name], "rule": sorted(work.fields.get(name) or ())} for name in changed
        ]
