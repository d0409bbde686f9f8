"""The answers of all methods that read, as of an earlier position of the ledger.

The endpoint functions are those of the API. They get the set-up and the clock of that time and read
the views as they were: an answer as of a position equals that after a replay of the events up to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from domain.composite_fields import Reference
from domain.errors import InvalidIdentifier, InvalidParameterValue, Refusal
from domain.fields import Field, JsonSchema, Parameters, ReadContext, mandatory
from domain.identifiers import IdentifierFields
from domain.parsing import read_moment
from domain.token_credentials import ACCESS_TOKEN, Credential, CredentialReference
from services.audit.access import AuditAccess, AuthorizedReader
from services.context import ContextQuery
from services.pipeline.identifiers import identifiers, stored_identifiers
from services.pipeline.method import METHODS, Method
from services.pipeline.query_runner import CallState, read_parameters, resolve, run_query
from services.ports import ReadModels
from services.reference_cache import Match

__all__ = ["AS_OF", "AsOf", "LedgerPosition", "PositionOrDate", "TemporalStore", "methods"]

MAX_DIGITS = 18
"""The most digits of a position; no ledger is longer."""

BEFORE = datetime.fromtimestamp(0, UTC)
"""The clock before the first event: no answer can depend on it."""

TOKEN = IdentifierFields(ACCESS_TOKEN.entity, ("id", "number", *ACCESS_TOKEN.fields))
"""The identifier fields by which an auditor names an access token; callers must prove possession."""


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """A position of a ledger and when it was recorded; 0 is before the first event."""

    position: int
    recorded_at: datetime = BEFORE


class TemporalStore(Protocol):
    """Ledgers and views as they were."""

    async def find_position(self, organisation: str, when: int | datetime) -> LedgerPosition | None:
        """The given position, or the last one recorded until a time; None beyond the ledger's end."""

    async def read_models_at(self, organisation: str, moment: LedgerPosition) -> ReadModels:
        """The views as they were after a position.

        Raises `ServiceUnavailable` if they are not projected so far yet, and that takes long.
        """


@dataclass(frozen=True, kw_only=True)
class PositionOrDate(Field):
    """A position, or a date (common.md, section 8), here with a fraction of a second."""

    def read(self, value: Any, path: str, context: ReadContext) -> int | datetime:
        text = value.strip() if isinstance(value, str) else ""
        if text.isascii() and text.isdigit():
            if len(text) > MAX_DIGITS:
                raise InvalidParameterValue(path)
            return int(text)
        return read_moment(text, path, context.zone)

    def schema(self) -> JsonSchema:
        return {"type": "string", "examples": ["120", "2014-05-05T15:49:59"]}


AS_OF = Parameters(mandatory(PositionOrDate(name="as_of")))


def methods() -> list[Method]:
    """The methods that can be called as of the past: all queries, as an auditor calls them.

    All are GETs, and where a caller would have to present an access token, an auditor names it.
    """
    return [
        replace(method, verb="GET", parameters=method.parameters.map_fields(_name_token))
        for method in METHODS.values()
        if method.kind == "query"
    ]


def _name_token(field: Field) -> Field:
    return (
        Reference(name=field.name, target=TOKEN)
        if isinstance(field, CredentialReference)
        else field
    )


class AsOf:
    """Answers methods as of a moment, and records each call."""

    def __init__(self, store: TemporalStore, audit_access: AuditAccess, zone: ZoneInfo) -> None:
        self._store = store
        self._audit_access = audit_access
        self._zone = zone

    async def answer(
        self, method: Method, reader: AuthorizedReader
    ) -> tuple[LedgerPosition, bytes]:
        """The position that ``as_of`` means, and the answer as JSON.

        :param method: one of `methods`.
        Raises the refusals of the method itself, `InvalidParameterValue` for a moment in the
        future, and `ServiceUnavailable`.
        """
        organisation, request = reader.organisation, reader.request
        moment = await self._position(reader)
        today = moment.recorded_at.astimezone(self._zone).date()
        read_context = ReadContext(self._zone, today, textual=True)
        params, response_keys = read_parameters(method, request, read_context)
        named_entities = identifiers(params)
        stored = stored_identifiers(named_entities)
        views = await self._store.read_models_at(organisation, moment)
        context = await views.load_context(organisation, ContextQuery(identifiers=stored))
        state = CallState(
            method,
            request,
            organisation,
            context,
            reader.session,
            read_context,
            params,
            named_entities,
            stored,
            response_keys=response_keys,
        )
        refusal = await _refusal(state)
        about = {"position": moment.position, "entities": list(state.refs)}
        await self._audit_access.record_reading(reader, f"as_of/{method.path}", about)
        if refusal is not None:
            raise refusal
        return moment, await run_query(views, state)

    async def _position(self, reader: AuthorizedReader) -> LedgerPosition:
        read_context = ReadContext(self._zone, reader.context.now.date(), textual=True)
        when = AS_OF.read(reader.request.parameters, read_context)["as_of"]
        moment = await self._store.find_position(reader.organisation, when)
        if moment is None:
            raise InvalidParameterValue("as_of")
        return moment


async def _refusal(state: CallState) -> Refusal | None:
    """Resolves a call. Returns the refusal, if any: it is an answer, too, and is recorded."""
    try:
        await resolve(state, _refuse_credential)
    except Refusal as error:
        return error
    return None


async def _refuse_credential(credential: Credential, matches: Sequence[Match]) -> str:
    raise InvalidIdentifier(credential.path)
