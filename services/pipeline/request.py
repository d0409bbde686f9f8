"""One call on its way: what the caller gave, who calls, and what an endpoint may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
import orjson

from domain.aggregate import Aggregate, Attribution, DomainEvent
from domain.errors import InvalidParameterType
from domain.fields import Field, JsonObject, JsonSchema, ReadContext
from domain.parsing import wall_clock
from domain.reference.records import Record
from services.context import SessionRow
from services.ids import format_id, new_id, record_stream_id
from services.reference_cache import ReferenceCache
from services.reference_expansion import ReferenceExpander
from services.side_effects import SideEffect
from services.staleness import Staleness

__all__ = ["Call", "File", "NewSecret", "Request", "Upload"]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a form; ``mime_type`` is what its content is, not what was declared."""

    file_name: str
    content: bytes
    mime_type: str = ""


@dataclass(frozen=True, kw_only=True)
class File(Field):
    """A file of a form."""

    def read(self, value: Any, at: str, reading: ReadContext) -> Upload:
        if not isinstance(value, Upload):
            raise InvalidParameterType(at)
        return value

    def schema(self) -> JsonSchema:
        return {"type": "string", "format": "binary"}


class Request(msgspec.Struct, frozen=True):
    """A request as the edge hands it in.

    ``parameters`` holds the parameters (lists of texts where ``from_query_or_form``), ``web_api_key`` the key of the
    Basic header, None if there was no well-formed one.
    """

    parameters: Mapping[str, Any]
    from_query_or_form: bool = False
    files: Mapping[str, Upload] = {}
    web_api_key: str | None = None
    idempotency_key: str | None = None
    staleness: Staleness | None = None
    request_id: str = ""
    correlation_id: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A new secret of an entity, to be kept as a verifier.

    Short-lived codes (with ``expires_at``, or not ``slow``) are kept as keyed hashes.
    """

    owner: str
    name: str
    key_id: str
    secret: str
    slow: bool = True
    expires_at: datetime | None = None


@dataclass(slots=True)
class Call:
    """What an endpoint sees.

    ``params`` are the parameters by field name, references already resolved to ids; ``wall_clock`` is the
    service's wall clock; ``numbers`` are drawn by `next_number`, the unused ones go back; ``related`` are
    the further aggregates, by stream, that the method wants to look at. ``secrets`` are new ones to
    keep, ``one_time_fields`` are keys of this one answer that no document holds. ``generated_params`` are
    parameters whose value was made up: where another entity has it already, the call is decided
    anew instead of refused. ``matching_secrets`` are parameters that fit the secret that is kept already,
    ``causation`` says of new entities which event made them necessary.
    """

    session: SessionRow
    directory: ReferenceCache
    params: JsonObject
    actor: Attribution
    reading: ReadContext
    composer: ReferenceExpander
    numbers: dict[str, list[int]] = field(default_factory=dict)
    related: Mapping[UUID, Aggregate] = field(default_factory=dict)
    side_effects: list[SideEffect] = field(default_factory=list)
    secrets: list[NewSecret] = field(default_factory=list)
    generated_params: set[str] = field(default_factory=set)
    matching_secrets: frozenset[str] = frozenset()
    one_time_fields: JsonObject = field(default_factory=dict)
    causation: dict[str, str] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        """The service's time zone."""
        return self.reading.zone

    @property
    def wall_clock(self) -> str:
        """The time of the call on the service's wall clock."""
        return wall_clock(self.actor.at, self.zone)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The organisation's settings."""
        return self.directory.settings

    @property
    def default_group(self) -> str | None:
        """The group of the session's unit, the default owner of what is created."""
        group: str | None = self.directory.fields("unit", self.session.unit).get("group")
        return group

    def next_number(self, sequence: str) -> int:
        """The next number of a sequence that the method declares."""
        return self.numbers[sequence].pop(0)

    def related_aggregate(self, id_: str | None) -> Aggregate | None:
        """An entity that the method looks at, once it is loaded."""
        return self.related.get(UUID(id_)) if id_ else None

    def record_id(self, kind: str, id_: str) -> UUID:
        """The stream of a registered record."""
        return record_stream_id(self.directory.organisation, kind, id_)

    def record(self, kind: str, id_: str | None) -> Record | None:
        """A registered record that the method looks at, once it is loaded."""
        found = self.related.get(self.record_id(kind, id_)) if id_ else None
        return found if isinstance(found, Record) else None

    def store_secret(
        self,
        owner: str,
        name: str,
        secret: str,
        *,
        slow: bool = True,
        expires_at: datetime | None = None,
    ) -> str:
        """Keeps a verifier of a secret of ``owner`` (``kind/id``); the key id for events to name."""
        key_id = uuid4().hex
        self.secrets.append(NewSecret(owner, name, key_id, secret, slow, expires_at))
        return key_id

    def note_cause(self, new: Aggregate, cause: DomainEvent) -> None:
        """Notes that an event has led to a new entity."""
        self.causation[str(new.id)] = f"{cause.originator_id}/{cause.originator_version}"

    def new_id(self) -> UUID:
        """The id of a new entity."""
        return new_id()

    def new_id_text(self) -> str:
        """An id for something inside an entity."""
        return format_id(new_id())

    def compact_object(self, kind: str, id_: str | None) -> JsonObject | None:
        """The compact object of an entity as a caller would see it now; None if there is none."""
        found: JsonObject | None = (
            orjson.loads(self.composer.compact(f"{kind}/{id_}")) if id_ else None
        )
        return found
