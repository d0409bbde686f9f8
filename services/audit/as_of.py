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
from services.pipeline.identifiers import parse_parameters, resolve_identifiers
from services.pipeline.method import METHODS, Method, Query
from services.pipeline.query_runner import Answer, run_query
from services.pipeline.request import Call
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import ReadModels
from services.reference_cache import Match

__all__ = ["AS_OF", "AsOf", "LedgerPosition", "PositionOrDate", "TemporalStore", "methods"]

LONGEST = 18
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
            if len(text) > LONGEST:
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
        replace(method, verb="GET", parameters=method.parameters.map_fields(_named))
        for method in METHODS.values()
        if isinstance(method, Query)
    ]


def _named(field: Field) -> Field:
    return (
        Reference(name=field.name, target=TOKEN)
        if isinstance(field, CredentialReference)
        else field
    )


class AsOf:
    """Answers methods as of a moment, and records each call."""

    def __init__(self, past: TemporalStore, auditing: AuditAccess, zone: ZoneInfo) -> None:
        self._past = past
        self._auditing = auditing
        self._zone = zone

    async def answer(
        self, method: Method, admitted: AuthorizedReader
    ) -> tuple[LedgerPosition, Answer]:
        """Return the position that ``as_of`` means, and the answer as JSON.

        :param method: one of `methods`.
        Raises the refusals of the method itself, `InvalidParameterValue` for a moment in the
        future, and `ServiceUnavailable`.
        """
        organisation, request = admitted.organisation, admitted.request
        moment = await self._moment(admitted)
        today = moment.recorded_at.astimezone(self._zone).date()
        reading = ReadContext(self._zone, today, textual=True)
        parsed = parse_parameters(method, request, reading)
        views = await self._past.read_models_at(organisation, moment)
        context = await views.load_context(organisation, ContextQuery(identifiers=parsed.stored))
        call = Call(
            method=method,
            request=request,
            reading=reading,
            context=context,
            session=admitted.session,
            parsed=parsed,
            work=UnitOfWork(context.directory, self._zone),
        )
        refusal: Refusal | None = None
        try:
            call = await resolve_identifiers(call, _unproved)
        except Refusal as error:
            # That there is no such entity is an answer, too, and to be recorded.
            refusal = error
        about = {"position": moment.position, "entities": list(call.refs)}
        await self._auditing.record_reading(admitted, f"as_of/{method.path}", about)
        if refusal is not None:
            raise refusal
        return moment, await run_query(views, call)

    async def _moment(self, admitted: AuthorizedReader) -> LedgerPosition:
        context = ReadContext(self._zone, admitted.context.now.date(), textual=True)
        when = AS_OF.read(admitted.request.parameters, context)["as_of"]
        moment = await self._past.find_position(admitted.organisation, when)
        if moment is None:
            raise InvalidParameterValue("as_of")
        return moment


async def _unproved(credential: Credential, matches: Sequence[Match]) -> str:
    raise InvalidIdentifier(credential.path)
