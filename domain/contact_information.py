"""Contact information: persons and companies, their addresses, phones, emails and relations.

Contract: contact_information.md. The life cycle (section 9) is moved by the accounts that the
contact comes to own, never by a caller.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from domain.aggregate import ENTIRE_VALUE, Aggregate, Attribution, CreationEvent
from domain.contact_fields import PERSONAL
from domain.contact_sets import check_entry
from domain.diff import apply_diff, diff
from domain.errors import EntityNotFound, EntityNotUnique
from domain.fields import JsonObject
from domain.identifiers import Identifier, normalised

__all__ = ["ContactInformation"]

Entry = JsonObject

PROFILE_NUMBERS = {
    "PERSON": ("demographics", ("id_number", "passport_number", "social_security_number")),
    "COMPANY": ("company_profile", ("vat_registration_number",)),
}
"""The profile that holds the numbers which a uniqueness rule can name, and their fields, by type."""

_BLANKS = {0x1E: " ", 0x1F: " "}


class ContactInformation(Aggregate):
    """A person or company; ``details`` holds the passive fields, ``sets`` the entries by set."""

    TOPIC = "contact_information"

    def __init__(self) -> None:
        super().__init__()
        self.number = ""
        self.type = ""
        self.details: JsonObject = {}
        self.sets: dict[str, list[JsonObject]] = {}
        self.marketing: dict[str, JsonObject] = {}
        self.photo: JsonObject | None = None
        self.photographed = False
        self.accounts: frozenset[str] = frozenset()
        self.ever_owned: frozenset[str] = frozenset()
        self.forgotten = False

    class Event(Aggregate.Event):
        """The base of the events of a contact."""

    class Registered(Event, CreationEvent):
        """A contact was registered, with its first entries."""

        TOPIC = "contact_information.registered"
        TO = "MARKETING"
        PERSONAL = {"details": PERSONAL, "sets": ENTIRE_VALUE}
        number: str
        type: str
        details: JsonObject
        sets: dict[str, list[JsonObject]]

        def apply_to(self, aggregate: ContactInformation) -> None:
            aggregate.number, aggregate.type = self.number, self.type
            aggregate.details, aggregate.sets = self.details, self.sets

    class Amended(Event):
        """Passive fields changed; nested objects name only the keys that changed."""

        TOPIC = "contact_information.amended"
        PERSONAL = {"changes": PERSONAL}
        changes: JsonObject

        def apply_to(self, aggregate: ContactInformation) -> None:
            aggregate.details = apply_diff(aggregate.details, self.changes)

    class EntryAdded(Event):
        """An address, phone, email or relation was added at the end of its set."""

        TOPIC = "contact_information.entry_added"
        PERSONAL = {"entry": ENTIRE_VALUE}
        set_name: str
        entry: JsonObject

        def apply_to(self, aggregate: ContactInformation) -> None:
            entries = [*aggregate.sets.get(self.set_name, []), self.entry]
            aggregate.sets = aggregate.sets | {self.set_name: entries}

    class EntryChanged(Event):
        """Fields of an entry changed."""

        TOPIC = "contact_information.entry_changed"
        PERSONAL = {"changes": ENTIRE_VALUE}
        set_name: str
        entry_id: str
        changes: JsonObject

        def apply_to(self, aggregate: ContactInformation) -> None:
            aggregate.sets = aggregate.sets | {
                self.set_name: [
                    entry | self.changes if entry.get("id") == self.entry_id else entry
                    for entry in aggregate.sets.get(self.set_name, ())
                ]
            }

    class EntryRemoved(Event):
        """An entry was removed from its set."""

        TOPIC = "contact_information.entry_removed"
        set_name: str
        entry_id: str

        def apply_to(self, aggregate: ContactInformation) -> None:
            entries = aggregate.sets.get(self.set_name, ())
            remaining = [entry for entry in entries if entry.get("id") != self.entry_id]
            aggregate.sets = aggregate.sets | {self.set_name: remaining}

    class MarketingDecided(Event):
        """The contact was asked whether material may be sent; None takes the answer back."""

        TOPIC = "contact_information.marketing_decided"
        material: str
        send: bool | None

        def apply_to(self, aggregate: ContactInformation) -> None:
            decision = {"send": self.send, "at": self.timestamp, "user": self.user}
            unset = {"send": None, "at": None, "user": None}
            aggregate.marketing = aggregate.marketing | {
                self.material: unset if self.send is None else decision
            }

    class ProfilePhotoAdded(Event):
        """A photo took the place of the former one, if any; its bytes are kept beside the ledger."""

        TOPIC = "contact_information.profile_photo_added"
        PERSONAL = {"file_name": ENTIRE_VALUE}
        photo_id: str
        file_name: str
        mime_type: str
        size: int
        digest: str

        def apply_to(self, aggregate: ContactInformation) -> None:
            aggregate.photographed = True
            aggregate.photo = {
                "id": self.photo_id,
                "file_name": self.file_name,
                "mime_type": self.mime_type,
            }

    class ProfilePhotoRemoved(Event):
        """The photo was removed."""

        TOPIC = "contact_information.profile_photo_removed"

        def apply_to(self, aggregate: ContactInformation) -> None:
            aggregate.photo = None

    class AccountGained(Event):
        """The contact became the owner of an accounts receivable."""

        TOPIC = "contact_information.account_gained"
        TO = "FINANCIAL"
        UPDATES_LOG_INFORMATION = False
        accounts_receivable: str

        def apply_to(self, aggregate: ContactInformation) -> None:
            aggregate.accounts = aggregate.accounts | {self.accounts_receivable}
            aggregate.ever_owned = aggregate.ever_owned | {self.accounts_receivable}

    class AccountLost(Event):
        """The contact owns one accounts receivable less, and still another one."""

        TOPIC = "contact_information.account_lost"
        FROM = ("FINANCIAL",)
        UPDATES_LOG_INFORMATION = False
        accounts_receivable: str

        def apply_to(self, aggregate: ContactInformation) -> None:
            aggregate.accounts = aggregate.accounts - {self.accounts_receivable}

    class LastAccountLost(AccountLost):
        """No accounts receivable is related to the contact any more."""

        TOPIC = "contact_information.last_account_lost"
        TO = "MARKETING"

    class Forgotten(Event):
        """Everything personal was erased for good: the key of the contact's events is destroyed."""

        TOPIC = "contact_information.forgotten"
        FROM = ("MARKETING",)
        reason: str

        def apply_to(self, aggregate: ContactInformation) -> None:
            aggregate.details = {k: v for k, v in aggregate.details.items() if k not in PERSONAL}
            aggregate.sets, aggregate.photo, aggregate.forgotten = {}, None, True

    @property
    def data_subject(self) -> UUID:
        return self.id

    def amend(self, details: JsonObject, by: Attribution) -> None:
        """Changes the passive fields that differ; a nested object is merged key by key."""
        changes = diff(self.details, details)
        if changes:
            self.raise_event(self.Amended, by, changes=changes)

    def add_entry(self, set_name: str, entry: Entry, by: Attribution, path: str) -> None:
        """Adds a complete entry; ``path`` is the item's path. Raises what `check_entry` does."""
        check_entry(self.id, set_name, self.sets.get(set_name, []), entry, path)
        self.raise_event(self.EntryAdded, by, set_name=set_name, entry=entry)

    def change_entry(
        self, set_name: str, entry: Entry, changes: JsonObject, by: Attribution, path: str
    ) -> None:
        """Changes the fields of an entry that differ. Raises what `check_entry` does."""
        changes = diff(entry, changes)
        if changes:
            check_entry(self.id, set_name, self.sets[set_name], entry | changes, path)
            self.raise_event(
                self.EntryChanged, by, set_name=set_name, entry_id=entry["id"], changes=changes
            )

    def remove_entry(self, set_name: str, entry: Entry, by: Attribution) -> None:
        """Removes an entry."""
        self.raise_event(self.EntryRemoved, by, set_name=set_name, entry_id=entry["id"])

    def entry(self, set_name: str, identifier: Identifier) -> Entry:
        """The entry with that identifier; by type the active one, else the only one.

        Raises `EntityNotFound`, and `EntityNotUnique` where several are meant (section 2).
        """
        matches = [
            entry
            for entry in self.sets.get(set_name, ())
            if entry.get(identifier.field) == identifier.value
        ]
        active = [entry for entry in matches if entry.get("state") == "Active"]
        if not matches:
            raise EntityNotFound(identifier.path)
        if len(active or matches) > 1:
            raise EntityNotUnique(identifier.path)
        return (active or matches)[0]

    def decide_marketing(self, material: str, send: bool | None, by: Attribution) -> None:  # noqa: FBT001
        """Records the contact's answer about marketing material; None takes it back, if there is one."""
        if send is not None or self.marketing.get(material, {}).get("send") is not None:
            self.raise_event(self.MarketingDecided, by, material=material, send=send)

    def add_photo(self, photo: JsonObject, content: bytes, by: Attribution) -> None:
        """Gives the contact a photo with ``id``, ``file_name`` and ``mime_type``."""
        self.raise_event(
            self.ProfilePhotoAdded,
            by,
            photo_id=photo["id"],
            file_name=photo["file_name"],
            mime_type=photo["mime_type"],
            size=len(content),
            digest=hashlib.sha256(content).hexdigest(),
        )

    def gain_account(self, account: str, by: Attribution) -> None:
        """Makes the contact the owner of an accounts receivable."""
        if account not in self.accounts:
            self.raise_event(self.AccountGained, by, accounts_receivable=account)

    def lose_account(self, account: str, by: Attribution) -> None:
        """Ends the ownership of an accounts receivable."""
        if account in self.accounts:
            last = self.accounts == {account}
            event = self.LastAccountLost if last else self.AccountLost
            self.raise_event(event, by, accounts_receivable=account)

    def forget(self, reason: str, by: Attribution) -> None:
        """Erases the personal data. Raises `InvalidLifeCycleState` while it owns an account."""
        self.require("MARKETING")
        self.raise_event(self.Forgotten, by, reason=reason)

    def uniqueness_values(self) -> dict[str, str]:
        """The values that a uniqueness rule can name and that are set (contact_information.md, 8).

        They are as `normalised` makes them; names are compared without regard to case. The separators
        of values in a claim are replaced by blanks.
        """
        profile, fields = PROFILE_NUMBERS[self.type]
        numbers = self.details.get(profile) or {}
        values = {field: normalised(field, numbers.get(field) or "") for field in fields}
        parts = ("first_name", "last_name") if self.type == "PERSON" else ("company_name",)
        names = [
            normalised(part, self.details.get(part) or "", case_insensitive=True) for part in parts
        ]
        parted = {field: value.translate(_BLANKS) for field, value in values.items()}
        parted["name"] = "\x1f".join(n.translate(_BLANKS) for n in names) if all(names) else ""
        return {field: value for field, value in parted.items() if value}
