"""Forgetting contacts over HTTP: ``POST /audit/v1/contacts/{id or number}/forget`` for operators."""

from __future__ import annotations

import orjson
from aiohttp import web

from domain.errors import MandatoryParameter, MethodNotFound
from domain.fields import Parameters, ReadContext, mandatory
from domain.scalar_fields import NOTES, Text
from infra.http.api.body import read_body
from infra.http.api.envelope import ok
from infra.http.api.json_body import parse_json_object
from infra.http.audit.routes import AuditRoutes, Query
from infra.http.router import Exchange, Router, response
from infra.store.postgres_store import PostgresStore
from services.audit.access import OPERATOR, AuthorizedReader
from services.contacts.erasure import ContactErasure, find_contact

__all__ = ["erasure_routes"]

LIMIT = 64 * 1024
SECONDS = 30.0
BODY = Parameters(mandatory(Text(name="reason", max_length=NOTES)))


def erasure_routes(
    audit: AuditRoutes, edge: Router, forget: ContactErasure, ledger: PostgresStore
) -> None:
    """Serves the forgetting of a contact to operators, its certificate to auditors."""

    async def erase(
        admitted: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        name = _named(exchange, "forget")
        body = parse_json_object(await read_body(exchange.request, LIMIT, SECONDS))
        today = admitted.context.now.astimezone(ledger.zone).date()
        reason = BODY.read(body, ReadContext(ledger.zone, today))["reason"]
        organisation, by = admitted.organisation, admitted.actor
        id_ = await forget.forget(organisation, name, reason, by, admitted.metadata)
        _, contact = await find_contact(ledger, organisation, id_)
        return response(ok(orjson.dumps(await ledger.certificate(organisation, contact))))

    async def certify(
        admitted: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        name = _named(exchange, "certificate")
        _, contact = await find_contact(ledger, admitted.organisation, name)
        await audit.auditing.record_reading(
            admitted, "certificate", {"contact": contact.hex.upper()}
        )
        found = await ledger.certificate(admitted.organisation, contact)
        return response(ok(orjson.dumps(found)))

    audit.add(edge, "POST", "contacts/*", erase, OPERATOR)
    audit.add(edge, "GET", "contacts/*", certify)


def _named(exchange: Exchange, act: str) -> str:
    """The contact that the path names. Raises `MethodNotFound` for a path of another form."""
    name, _, rest = exchange.path_rest.partition("/")
    if rest != act:
        raise MethodNotFound
    if not name:
        raise MandatoryParameter("contact")
    return name
