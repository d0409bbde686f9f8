"""Access tokens: the credentials of consumers (contract access_tokens.md).

Events never contain secrets: an event names the key id of a verifier, which is stored outside the
ledger. ``secrets`` of the aggregate are the valid key ids by the secret's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from domain.aggregate import Aggregate, Attribution, CreationEvent, DomainEvent
from domain.diff import apply_diff, diff
from domain.errors import InvalidLifeCycleState
from domain.fields import Field, JsonObject
from domain.scalar_fields import IDENTIFYING, Text, udf

__all__ = [
    "AUTHENTICATION_CODE",
    "IDENTIFIER",
    "LIFE_CYCLE_STATES",
    "RELATIONS",
    "UDF",
    "AccessToken",
    "related_state",
]

LIFE_CYCLE_STATES = ("EFFECTIVE", "NOT_EFFECTIVE", "PENDING_VERIFICATION")
AUTHENTICATION_CODE = Text(name="authentication_code", max_length=IDENTIFYING, personal=True)
IDENTIFIER = Text(name="identifier", max_length=IDENTIFYING, personal=True)
UDF: tuple[Field, ...] = udf(string=8, floating=4, date=4)

ALIVE, TERMINATED, RETIRED = "ALIVE", "TERMINATED", "RETIRED"
"""The states of an account or participant that a token is related to."""

RELATIONS = ("accounts_receivable", "rewards_participant")
"""The kinds of entity that a token can be related to."""

CODES = frozenset({AUTHENTICATION_CODE.name, IDENTIFIER.name})
_UDF = frozenset(field.name for field in UDF)


class AccessTokenCreated(DomainEvent):
    """The payload of a token's first event; ``secrets`` are key ids by the secret's name."""

    PERSONAL = {"codes": CODES, "details": _UDF}
    number: str
    codes: JsonObject
    secrets: dict[str, str]
    classification: str | None
    relations: dict[str, str]
    details: JsonObject

    def apply_to(self, aggregate: AccessToken) -> None:
        aggregate.number, aggregate.codes = self.number, self.codes
        aggregate.secrets, aggregate.classification = self.secrets, self.classification
        aggregate.relations, aggregate.details = self.relations, self.details
        aggregate.related_states = dict.fromkeys(self.relations, ALIVE)


class AccessToken(Aggregate):
    """The credential of a consumer.

    ``codes`` are its authentication code and identifier, ``relations`` the ids of the account and
    participant that it belongs to, by kind, and ``related_states`` the states of both.
    """

    TOPIC = "access_token"
    EFFECTIVE: ClassVar[str] = "EFFECTIVE"
    PENDING: ClassVar[str] = "PENDING_VERIFICATION"

    def __init__(self) -> None:
        super().__init__()
        self.number = ""
        self.codes: JsonObject = {}
        self.secrets: Mapping[str, str] = {}
        self.classification: str | None = None
        self.relations: Mapping[str, str] = {}
        self.related_states: Mapping[str, str] = {}
        self.details: JsonObject = {}
        self.verified: Attribution | None = None

    class Event(Aggregate.Event):
        """The base of the events of an access token."""

    class Issued(Event, AccessTokenCreated, CreationEvent):
        """An access token was made that can be used at once."""

        TOPIC = "access_token.issued"
        TO = "EFFECTIVE"

    class IssuedUnverified(Event, AccessTokenCreated, CreationEvent):
        """An access token was made that authenticates nobody until its code is verified."""

        TOPIC = "access_token.issued_unverified"
        TO = "PENDING_VERIFICATION"

    class CredentialsChanged(Event):
        """Codes were changed (null: taken away) or a pass code set; a one-time password is void.

        ``pass_code`` is the new key id, empty where there is no pass code any more.
        """

        TOPIC = "access_token.credentials_changed"
        PERSONAL = {"codes": CODES}
        ENDS_SESSIONS = True
        codes: JsonObject
        pass_code: str | None

        def apply_to(self, aggregate: AccessToken) -> None:
            aggregate.codes = apply_diff(aggregate.codes, self.codes)
            secrets = _without(aggregate.secrets, "one_time_password")
            if self.pass_code is not None:
                secrets = _without(secrets, "pass_code")
            aggregate.secrets = secrets | ({"pass_code": self.pass_code} if self.pass_code else {})

    class Amended(Event):
        """User-defined fields were changed."""

        TOPIC = "access_token.amended"
        PERSONAL = {"changes": _UDF}
        changes: JsonObject

        def apply_to(self, aggregate: AccessToken) -> None:
            aggregate.details = apply_diff(aggregate.details, self.changes)

    class Verified(Event):
        """The verification code was shown; ``pass_code`` is the key id of a new one, if any."""

        TOPIC = "access_token.verified"
        FROM = ("PENDING_VERIFICATION",)
        TO = "EFFECTIVE"
        ENDS_SESSIONS = True
        pass_code: str | None

        def apply_to(self, aggregate: AccessToken) -> None:
            aggregate.verified = self.stamp
            new = {"pass_code": self.pass_code} if self.pass_code else {}
            aggregate.secrets = _without(aggregate.secrets, "verification_code") | new

    class PassCodeReset(Event):
        """A new pass code took the place of the former one; a one-time password is void."""

        TOPIC = "access_token.pass_code_reset"
        FROM = ("EFFECTIVE",)
        ENDS_SESSIONS = True
        pass_code: str

        def apply_to(self, aggregate: AccessToken) -> None:
            secrets = _without(aggregate.secrets, "one_time_password")
            aggregate.secrets = secrets | {"pass_code": self.pass_code}

    class VerificationCodeReset(Event):
        """A new verification code took the place of the former one."""

        TOPIC = "access_token.verification_code_reset"
        FROM = ("PENDING_VERIFICATION",)
        verification_code: str

        def apply_to(self, aggregate: AccessToken) -> None:
            new = {"verification_code": self.verification_code}
            aggregate.secrets = {**aggregate.secrets, **new}

    class OneTimePasswordGenerated(Event):
        """A one-time password was given out; a former one is void. ``expires_at`` is in UTC."""

        TOPIC = "access_token.one_time_password_generated"
        FROM = ("EFFECTIVE",)
        UPDATES_LOG_INFORMATION = False
        one_time_password: str
        expires_at: str

        def apply_to(self, aggregate: AccessToken) -> None:
            new = {"one_time_password": self.one_time_password}
            aggregate.secrets = {**aggregate.secrets, **new}

    class OneTimePasswordUsed(Event):
        """A one-time password identified what the token is related to, and is used up."""

        TOPIC = "access_token.one_time_password_used"
        FROM = ("EFFECTIVE",)
        UPDATES_LOG_INFORMATION = False
        one_time_password: str

        def apply_to(self, aggregate: AccessToken) -> None:
            aggregate.secrets = _without(aggregate.secrets, "one_time_password")

    class Disabled(Event):
        """The token was set as not effective; a one-time password is void."""

        TOPIC = "access_token.disabled"
        FROM = ("EFFECTIVE",)
        TO = "NOT_EFFECTIVE"
        ENDS_SESSIONS = True

        def apply_to(self, aggregate: AccessToken) -> None:
            aggregate.secrets = _without(aggregate.secrets, "one_time_password")

    class Enabled(Event):
        """The token was set as effective again."""

        TOPIC = "access_token.enabled"
        FROM = ("NOT_EFFECTIVE",)
        TO = "EFFECTIVE"

    class RelatedEntityChanged(Event):
        """An account or participant of the token was terminated, retired, or came back (alive)."""

        TOPIC = "access_token.related_entity_changed"
        UPDATES_LOG_INFORMATION = False
        entity: str
        fate: str

        def apply_to(self, aggregate: AccessToken) -> None:
            aggregate.related_states = {**aggregate.related_states, self.entity: self.fate}

    class LastRelatedEntityRetired(RelatedEntityChanged):
        """The token lost the last entity it was related to, and with it its effect."""

        TOPIC = "access_token.last_related_entity_retired"
        FROM = ("EFFECTIVE",)
        TO = "NOT_EFFECTIVE"
        ENDS_SESSIONS = True

        def apply_to(self, aggregate: AccessToken) -> None:
            super().apply_to(aggregate)
            aggregate.secrets = _without(aggregate.secrets, "one_time_password")

    class GuessesForgiven(Event):
        """An operator lifted the waits that wrong guesses had brought about."""

        TOPIC = "access_token.guesses_forgiven"
        UPDATES_LOG_INFORMATION = False

    class Forgotten(Event):
        """The customer was forgotten: the key of the token's events is destroyed."""

        TOPIC = "access_token.forgotten"
        TO = "NOT_EFFECTIVE"
        ENDS_SESSIONS = True
        reason: str

        def apply_to(self, aggregate: AccessToken) -> None:
            aggregate.codes, aggregate.secrets, aggregate.details = {}, {}, {}

    @property
    def data_subject(self) -> UUID:
        """The token itself: it may belong to nobody, and has a key of its own."""
        return self.id

    @property
    def is_associated(self) -> bool:
        """True if an entity that it is related to is neither terminated nor retired."""
        return ALIVE in self.related_states.values()

    def amend(
        self, codes: JsonObject, pass_code: str | None, details: JsonObject, by: Attribution
    ) -> None:
        """Changes codes and user-defined fields that differ, and sets a new pass code.

        :param pass_code: the key id of a new one; empty to remove it, None to leave it as it is.
        """
        changed_codes = diff(self.codes, codes)
        if changed_codes or pass_code is not None:
            self.raise_event(self.CredentialsChanged, by, codes=changed_codes, pass_code=pass_code)
        changes = diff(self.details, details)
        if changes:
            self.raise_event(self.Amended, by, changes=changes)

    def disable(self, by: Attribution) -> None:
        """Sets it as not effective.

        Raises `InvalidLifeCycleState` while its participant is alive, or if it is not effective.
        """
        self.require(self.EFFECTIVE)
        if self.related_states.get("rewards_participant") == ALIVE:
            raise InvalidLifeCycleState
        self.raise_event(self.Disabled, by)

    def track_related_entity(
        self, entity: str, state: str, by: Attribution, *, loses_effect: bool
    ) -> None:
        """Notes the new state of a related entity; ``entity`` is its kind.

        :param loses_effect: true if a token is disabled when its last entity is retired.
        """
        if self.related_states.get(entity) == state:
            return
        others = [f for kind, f in self.related_states.items() if kind != entity]
        last = state == RETIRED and all(other == RETIRED for other in others)
        effective = self.state == self.EFFECTIVE
        ends = last and effective and loses_effect
        event = self.LastRelatedEntityRetired if ends else self.RelatedEntityChanged
        self.raise_event(event, by, entity=entity, fate=state)


def related_state(fields: Mapping[str, object], *, retired: bool) -> str:
    """The state of an account or participant with these ``fields``: `ALIVE`, `TERMINATED`, `RETIRED`."""
    if retired:
        return RETIRED
    return TERMINATED if fields.get("life_cycle_state") == "TERMINATED" else ALIVE


def _without(secrets: Mapping[str, str], name: str) -> dict[str, str]:
    return {other: key for other, key in secrets.items() if other != name}
