"""Registration of records over HTTP, for operators (contract reference_entities.md, section 1)."""

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
from infra.http.api.data_response import data_response, json_array
from infra.http.api.envelope import ok
from infra.http.api.json_body import parse_json_object
from infra.http.api.query_string import parse_query
from infra.http.api.routes import BODY_TIMEOUT, FORM_LIMIT
from infra.http.operators.authorization import OperatorGate, act_source
from infra.http.operators.sessions import read_organisation
from infra.http.router import Exchange, Router, response
from infra.store.postgres_store import PostgresStore
from services.clock import utc_now
from services.context import ContextQuery
from services.pipeline.paging import PAGING, limit_and_offset
from services.pipeline.tenancy import load_context_by_name
from services.reference.importer import import_lines
from services.reference.registrar import Registrar

__all__ = ["REFERENCE", "ReferenceRoutes"]

REFERENCE = "/reference/v1/"
ORGANISATION = "organisation"
LIST_PARAMETERS = Parameters(mandatory(Text(name=ORGANISATION)), *PAGING)
NO_PARAMETERS = Parameters()


class ReferenceRoutes:
    """Handlers of ``/reference/v1``; each call carries the operator key as a bearer token."""

    def __init__(
        self,
        registrar: Registrar,
        ledger: PostgresStore,
        gate: OperatorGate,
        zone: ZoneInfo,
    ) -> None:
        self._registrar = registrar
        self._ledger = ledger
        self._gate = gate
        self._zone = zone

    def routes(self, router: Router) -> None:
        """Serve ``PUT kind/id``, ``POST kind`` and ``GET kind[/id]``."""
        for verb, handler in (("PUT", self._put), ("POST", self._post), ("GET", self._get)):
            router.add(verb, f"{REFERENCE}*", handler, "reference")

    async def _put(self, exchange: Exchange) -> web.StreamResponse:
        kind, id_ = await self._authorize(exchange)
        if not id_:
            raise MethodNotFound
        body = await read_body(exchange.request, FORM_LIMIT, BODY_TIMEOUT)
        record = parse_json_object(body) | {"kind": kind, "id": id_}
        with _refusal_status(exchange, 400):
            registered = await self._registrar.register(
                record, read_organisation(exchange), act_source(exchange)
            )
        result = {"id": record_id(id_), "result": registered.result}
        return response(ok(orjson.dumps(result | registered.generated_secrets)))

    async def _post(self, exchange: Exchange) -> web.StreamResponse:
        kind, id_ = await self._authorize(exchange)
        if id_:
            raise MethodNotFound
        body = await read_body(exchange.request, FORM_LIMIT, BODY_TIMEOUT)
        report = await import_lines(
            self._registrar,
            body.split(b"\n"),
            organisation=read_organisation(exchange),
            kind=kind,
            source=act_source(exchange),
        )
        return response(ok(orjson.dumps(report.summary())))

    async def _get(self, exchange: Exchange) -> web.StreamResponse:
        kind, id_ = await self._authorize(exchange)
        read_context = ReadContext(
            self._zone, utc_now().astimezone(self._zone).date(), textual=True
        )
        with _refusal_status(exchange, 400):
            # An organisation does not belong to another one.
            accepted = NO_PARAMETERS if kind == ORGANISATION and id_ else LIST_PARAMETERS
            params = accepted.read(parse_query(exchange.query), read_context)
        with _refusal_status(exchange, 404):
            id_ = _normalised_id(id_) if id_ else ""
            organisation = await self._find_organisation(params.get(ORGANISATION), id_)
            head = {"kind": kind}
            if kind != ORGANISATION:
                head |= {ORGANISATION: params[ORGANISATION]}
            if id_:
                return response(ok(await self._record(organisation, kind, id_, head)))
            records = self._ledger.records(organisation, kind, *limit_and_offset(params))
            return await data_response(json_array(records, head))

    async def _record(self, organisation: str, kind: str, id_: str, head: JsonObject) -> bytes:
        record = await self._ledger.record(organisation, kind, id_)
        if record is None:
            raise EntityNotFound("id")
        return orjson.dumps(head | record)

    async def _find_organisation(self, name: str | None, id_: str) -> str:
        if name is None:
            return id_
        context = await load_context_by_name(self._ledger, name, ContextQuery())
        if context is None:
            raise EntityNotFound(ORGANISATION)
        return context.directory.organisation

    async def _authorize(self, exchange: Exchange) -> tuple[str, str]:
        """Return kind and id of the path. Raises `InvalidToken` (401) and `MethodNotFound`."""
        await self._gate.check(exchange)
        kind, _, id_ = unquote(exchange.path_rest).partition("/")
        if kind not in KINDS or "/" in id_:
            raise MethodNotFound
        return kind, id_


def _normalised_id(id_: str) -> str:
    """Return the id as it is stored. Raises `EntityNotFound` for an invalid one."""
    try:
        return record_id(id_)
    except Refusal as error:
        raise EntityNotFound("id") from error


@contextmanager
def _refusal_status(exchange: Exchange, status: int) -> Iterator[None]:
    """Give refusals of the enclosed code this HTTP status."""
    try:
        yield
    except Refusal:
        exchange.status = status
        raise
