"""Registration over HTTP, for operators (contract reference_entities.md, section 1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web

from domain.errors import EntityNotFound, MethodNotFound, Refusal
from domain.fields import JsonObject, Parameters, ReadContext, mandatory
from domain.reference.catalogue import KINDS
from domain.reference.records import record_id
from domain.scalar_fields import Text
from infra.http.api.body import read_body
from infra.http.api.envelope import ok
from infra.http.api.json_body import parse_json_object
from infra.http.api.query_string import parse_query
from infra.http.api.routes import FORM_LIMIT, SECONDS
from infra.http.operators.sessions import check_operator, organisation_named
from infra.http.router import Exchange, Router, response
from infra.store.postgres_store import PostgresStore
from services.context import ContextQuery
from services.pipeline.dispatcher import utc_now
from services.pipeline.paging import PAGING, page
from services.pipeline.tenancy import load_context_by_name
from services.reference.importer import import_lines
from services.reference.registrar import Registrar

__all__ = ["REFERENCE", "ReferenceRoutes"]

REFERENCE = "/reference/v1/"
ORGANISATION = "organisation"
LIST = Parameters(mandatory(Text(name=ORGANISATION)), *PAGING)
ITSELF = Parameters()


class ReferenceRoutes:
    """Handlers of the operator's own paths; each call shows the operator key as a bearer."""

    def __init__(
        self, registrar: Registrar, ledger: PostgresStore, operator_key: str, zone: ZoneInfo
    ) -> None:
        self._registrar = registrar
        self._ledger = ledger
        self._key = operator_key.encode()
        self._zone = zone

    def routes(self, edge: Router) -> None:
        """Serves ``PUT kind/id``, ``POST kind`` and ``GET kind[/id]``."""
        for verb, handler in (("PUT", self._put), ("POST", self._post), ("GET", self._get)):
            edge.add(verb, f"{REFERENCE}*", handler, "reference")

    async def _put(self, exchange: Exchange) -> web.StreamResponse:
        kind, id_ = self._checked(exchange)
        if not id_:
            raise MethodNotFound
        body = await read_body(exchange.request, FORM_LIMIT, SECONDS)
        record = parse_json_object(body) | {"kind": kind, "id": id_}
        with _status(exchange, 400):
            registered = await self._registrar.register(
                record, organisation_named(exchange), exchange.request_id
            )
        said = {"id": record_id(id_), "result": registered.result}
        return response(ok(orjson.dumps(said | registered.generated_secrets)))

    async def _post(self, exchange: Exchange) -> web.StreamResponse:
        kind, id_ = self._checked(exchange)
        if id_:
            raise MethodNotFound
        body = await read_body(exchange.request, FORM_LIMIT, SECONDS)
        report = await import_lines(
            self._registrar,
            body.split(b"\n"),
            organisation=organisation_named(exchange),
            kind=kind,
            source=exchange.request_id,
        )
        return response(ok(orjson.dumps(report.summary())))

    async def _get(self, exchange: Exchange) -> web.StreamResponse:
        kind, id_ = self._checked(exchange)
        reading = ReadContext(self._zone, utc_now().astimezone(self._zone).date(), textual=True)
        with _status(exchange, 400):
            # An organisation stands in no other one.
            listed = ITSELF if kind == ORGANISATION and id_ else LIST
            given = listed.read(parse_query(exchange.query), reading)
        records = await self._records(exchange, kind, id_, given)
        return response(ok(orjson.dumps(records[0] if id_ else records)))

    async def _records(
        self, exchange: Exchange, kind: str, id_: str, given: JsonObject
    ) -> list[JsonObject]:
        with _status(exchange, 404):
            id_ = _existing(id_) if id_ else ""
            organisation = await self._organisation(given.get(ORGANISATION), id_)
            wanted = page("records", {}, given)
            records = await self._ledger.records(
                organisation, kind, id_ or None, wanted.limit, wanted.offset
            )
            if id_ and not records:
                raise EntityNotFound("id")
        said = {"kind": kind}
        if kind != ORGANISATION:
            said |= {ORGANISATION: given[ORGANISATION]}
        return [said | record for record in records]

    async def _organisation(self, name: str | None, id_: str) -> str:
        if name is None:
            return id_
        told = await load_context_by_name(self._ledger, name, ContextQuery())
        if told is None:
            raise EntityNotFound(ORGANISATION)
        return told.directory.organisation

    def _checked(self, exchange: Exchange) -> tuple[str, str]:
        """Kind and id of the path. Raises `InvalidToken` (401) and `MethodNotFound`."""
        check_operator(exchange, self._key)
        kind, _, id_ = unquote(exchange.path_rest).partition("/")
        if kind not in KINDS or "/" in id_:
            raise MethodNotFound
        return kind, id_


def _existing(id_: str) -> str:
    """The id as it is kept; what can be none is not found."""
    try:
        return record_id(id_)
    except Refusal as error:
        raise EntityNotFound("id") from error


@contextmanager
def _status(exchange: Exchange, status: int) -> Iterator[None]:
    """Operators' refusals have an HTTP status of their own."""
    try:
        yield
    except Refusal:
        exchange.status = status
        raise
