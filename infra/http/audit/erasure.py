"""Erasure of contacts: ``POST /audit/v1/contacts/{id or number}/forget``, for operators."""

from __future__ import annotations

import orjson
from aiohttp import web

from domain.errors import MandatoryParameter, MethodNotFound
from domain.fields import Parameters, ReadContext, mandatory
from domain.reference.organisation import OPERATOR
from domain.scalar_fields import Text
from infra.http.api.body import read_body
from infra.http.api.envelope import ok
from infra.http.api.json_body import parse_json_object
from infra.http.api.routes import BODY_TIMEOUT
from infra.http.audit.routes import AuditRoutes, Query
from infra.http.router import Exchange, Router, response
from infra.store.postgres_store import PostgresStore
from services.audit.access import AuthorizedReader
from services.contacts.erasure import ContactErasure, find_contact

__all__ = ["add_erasure_routes"]

BODY_LIMIT = 64 * 1024
BODY_PARAMETERS = Parameters(mandatory(Text(name="reason")))


def add_erasure_routes(
    audit: AuditRoutes, router: Router, erasure: ContactErasure, ledger: PostgresStore
) -> None:
    """Serve the erasure of a contact to operators and its certificate to auditors."""

    async def erase(
        reader: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        name = _contact_name(exchange, "forget")
        body = parse_json_object(await read_body(exchange.request, BODY_LIMIT, BODY_TIMEOUT))
        today = reader.context.now.astimezone(ledger.zone).date()
        reason = BODY_PARAMETERS.read(body, ReadContext(ledger.zone, today))["reason"]
        organisation, actor = reader.organisation, reader.actor
        id_ = await erasure.erase(organisation, name, reason, actor, reader.metadata)
        _, contact = await find_contact(ledger, organisation, id_)
        return response(ok(orjson.dumps(await ledger.certificate(organisation, contact))))

    async def certify(
        reader: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        name = _contact_name(exchange, "certificate")
        _, contact = await find_contact(ledger, reader.organisation, name)
        await audit.access.record_reading(reader, "certificate", {"contact": contact.hex.upper()})
        certificate = await ledger.certificate(reader.organisation, contact)
        return response(ok(orjson.dumps(certificate)))

    audit.add(router, "POST", "contacts/*", erase, OPERATOR)
    audit.add(router, "GET", "contacts/*", certify)


def _contact_name(exchange: Exchange, act: str) -> str:
    """Return the contact that the path names. Raises `MethodNotFound` for a path of another form."""
    name, _, named_act = exchange.path_rest.partition("/")
    if named_act != act:
        raise MethodNotFound
    if not name:
        raise MandatoryParameter("contact")
    return name
