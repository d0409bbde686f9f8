"""A request as it comes in, and the call that is made of it: all that an endpoint sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from services.context import CallContext, SessionRow
from services.ids import format_id, new_id, record_stream_id
from services.pipeline.guard import never_gone, source_of
from services.pipeline.identifiers import ParsedParameters
from services.pipeline.method import Method
from services.pipeline.shown_secrets import GuessContext, VerifiedSecrets
from services.pipeline.unit_of_work import NewSecret, UnitOfWork
from services.reference_cache import ReferenceCache
from services.reference_expansion import ReferenceExpander
from services.side_effects import SideEffect
from services.staleness import Staleness

__all__ = ["Call", "File", "Request", "Upload"]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a form; ``mime_type`` is what its content is, not what was declared."""

    file_name: str
    content: bytes
    mime_type: str = ""


@dataclass(frozen=True, kw_only=True)
class File(Field):
    """A file of a form."""

    def read(self, value: Any, path: str, context: ReadContext) -> Upload:
        if not isinstance(value, Upload):
            raise InvalidParameterType(path)
        return value

    def schema(self) -> JsonSchema:
        return {"type": "string", "format": "binary"}


class Request(msgspec.Struct, frozen=True):
    """A request as the HTTP layer hands it in.

    ``parameters`` holds the parameters (lists of texts if ``from_query_or_form``), ``web_api_key``
    the key of the Basic header, None if there was no well-formed one.
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
    """The network address of the caller."""
    is_gone: Callable[[], bool] = never_gone
    """True once the caller has hung up."""

    @property
    def source(self) -> str:
        """The source by which limits count."""
        return source_of(self.client)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call from its checks to its answer: what is known of it, and where its changes are collected.

    A step that learns more makes another one. ``parsed`` are the parameters as read, ``params``
    those by field name with references resolved to ids, ``refs`` the entities outside the reference
    cache that they name. ``work`` is the unit of work of one attempt; everything that an endpoint
    draws, keeps or adds goes there.
    """

    method: Method
    request: Request
    reading: ReadContext
    context: CallContext
    session: SessionRow
    parsed: ParsedParameters
    work: UnitOfWork
    params: JsonObject = {}
    refs: tuple[str, ...] = ()
    verified: VerifiedSecrets = msgspec.field(default_factory=VerifiedSecrets)
    asked_at: float = 0.0
    """Before the context was first asked for, on the monotonic clock."""
    request_hashes: Sequence[str] = ("",)
    silent: bool = False
    """The customer has caused as many notices as one may in an hour: no more are made."""

    @property
    def organisation(self) -> str:
        """The id of the organisation."""
        return self.context.directory.organisation

    @property
    def directory(self) -> ReferenceCache:
        """The organisation's set-up."""
        return self.context.directory

    @property
    def settings(self) -> Mapping[str, Any]:
        """The organisation's settings."""
        return self.directory.settings

    @property
    def actor(self) -> Attribution:
        """The caller and the time of the call."""
        return Attribution(self.context.now, self.session.user, self.session.unit)

    @property
    def guess_context(self) -> GuessContext:
        """The caller as the source of tries: its user, customer and network address."""
        customer = self.session.customer
        account = customer.account if customer else ""
        source = f"{self.session.user}/{account}@{self.request.source}"
        return GuessContext(self.directory, source, customer, self.request.is_gone)

    @property
    def key(self) -> str | None:
        """The idempotency key, for methods that write."""
        return self.request.idempotency_key if self.method.writes else None

    @property
    def zone(self) -> ZoneInfo:
        """The service's time zone."""
        return self.reading.zone

    @property
    def wall_clock(self) -> str:
        """The time of the call on the service's wall clock."""
        return wall_clock(self.context.now, self.zone)

    @property
    def default_group(self) -> str | None:
        """The group of the session's unit, the default owner of what is created."""
        group: str | None = self.directory.fields("unit", self.session.unit).get("group")
        return group

    @property
    def related(self) -> Mapping[UUID, Aggregate]:
        """The aggregates that were loaded, by stream."""
        return self.work.loaded.aggregates

    @property
    def side_effects(self) -> list[SideEffect]:
        """The changes beside events and views; an endpoint adds to them."""
        return self.work.side_effects

    @property
    def generated_params(self) -> set[str]:
        """Parameters with generated values: where another entity has one, the call is decided anew."""
        return self.work.generated_params

    @property
    def matching_secrets(self) -> frozenset[str]:
        """The parameters that fit the secret that is stored already."""
        return self.work.matching_secrets

    @property
    def one_time_fields(self) -> JsonObject:
        """Keys of this one answer that no document holds; an endpoint adds to them."""
        return self.work.one_time_fields

    def expander(self, compacts: Mapping[str, bytes]) -> ReferenceExpander:
        """Return an expander of documents for this caller."""
        directory = self.directory
        return ReferenceExpander(
            compacts, directory.compact, last_name_first=directory.last_name_first
        )

    def next_number(self, sequence: str) -> int:
        """Draw the next number of a sequence that the method declares."""
        return self.work.numbers[sequence].pop(0)

    def related_aggregate(self, id_: str | None) -> Aggregate | None:
        """Return an entity that the method looks at, once it is loaded."""
        return self.related.get(UUID(id_)) if id_ else None

    def record_id(self, kind: str, id_: str) -> UUID:
        """Return the stream of a registered record."""
        return record_stream_id(self.organisation, kind, id_)

    def record(self, kind: str, id_: str | None) -> Record | None:
        """Return a registered record that the method looks at, once it is loaded."""
        record = self.related.get(self.record_id(kind, id_)) if id_ else None
        return record if isinstance(record, Record) else None

    def store_secret(
        self,
        owner: str,
        name: str,
        secret: str,
        *,
        slow: bool = True,
        expires_at: datetime | None = None,
    ) -> str:
        """Keep a verifier of a secret of ``owner`` (``kind/id``); return the key id for events."""
        key_id = uuid4().hex
        self.work.secrets.append(NewSecret(owner, name, key_id, secret, slow, expires_at))
        return key_id

    def note_cause(self, new: Aggregate, cause: DomainEvent) -> None:
        """Note that an event has led to a new entity."""
        self.work.causation[str(new.id)] = f"{cause.originator_id}/{cause.originator_version}"

    def new_id(self) -> UUID:
        """Return the id of a new entity."""
        return new_id()

    def new_id_text(self) -> str:
        """Return an id for something inside an entity."""
        return format_id(new_id())

    def compact_object(self, kind: str, id_: str | None) -> JsonObject | None:
        """Return the compact object of an entity as a caller would see it now, if there is one."""
        if not id_:
            return None
        compact: JsonObject | None = orjson.loads(
            self.expander(self.work.loaded.compacts).compact(f"{kind}/{id_}")
        )
        return compact
