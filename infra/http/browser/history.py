"""Audit history as web pages, with scripts or without."""

from __future__ import annotations

from urllib.parse import quote, unquote

from aiohttp import web

from domain.reference.catalogue import ENTITIES
from domain.reference.organisation import AUDITOR
from domain.scalar_fields import Integer
from infra.http.api.query_string import parse_query
from infra.http.browser.sign_in import BrowserPages, PageSite, redirect
from infra.http.browser.templates import ASSETS, timeline
from infra.http.router import Exchange, Router
from services.audit.access import AuditAccess, AuthorizedReader
from services.audit.history_service import ENTITY, HistoryService
from services.authentication import LoginServices
from services.pipeline.dispatcher import Dispatcher

__all__ = ["COOKIE", "PAGES", "SIGN_IN", "SIGN_OUT", "SITE", "HistoryPages"]

PAGES = "/history"
COOKIE = "crmledger_history"
SITE = PageSite(
    path=PAGES,
    cookie=COOKIE,
    role=AUDITOR,
    word="history",
    invitation="For users with the auditor role. Every access is recorded.",
    home="Search audit history",
    assets=ASSETS,
)
SIGN_IN, SIGN_OUT = SITE.sign_in, SITE.sign_out
VERSION = Integer(name="version", minimum=1)


class HistoryPages:
    """Handlers of the pages below `PAGES`."""

    def __init__(
        self,
        historian: HistoryService,
        auditing: AuditAccess,
        runner: Dispatcher,
        desk: LoginServices,
    ) -> None:
        self._historian = historian
        self._pages = BrowserPages(SITE, auditing, runner, desk)

    def routes(self, edge: Router) -> None:
        """Add the routes of the pages."""
        self._pages.routes(edge)
        edge.add("GET", PAGES, self._pages.page_handler(self._find), "history")
        edge.add("GET", f"{PAGES}/*", self._pages.page_handler(self._timeline), "history/entity")

    async def _find(self, reader: AuthorizedReader, exchange: Exchange) -> web.Response:
        """The search form, or a redirect to the entity that the query names."""
        refs = parse_query(exchange.query).get(ENTITY)
        if refs:
            entity = await self._historian.find_entity(reader.organisation, refs[-1])
            return redirect(f"{PAGES}/{quote(entity.ref)}")
        return self._pages.page("find.html", reader=reader, kinds=sorted(ENTITIES))

    async def _timeline(self, reader: AuthorizedReader, exchange: Exchange) -> web.Response:
        """The history of one entity, and its state at the version that the query names."""
        entity = await self._historian.find_entity(reader.organisation, unquote(exchange.path_rest))
        versions = parse_query(exchange.query).get(VERSION.name)
        version = versions and VERSION.read(versions[-1], VERSION.name, self._pages.read_context())
        snapshot = await self._historian.snapshot(reader, entity, version or None)
        return self._pages.page(
            "timeline.html",
            reader=reader,
            organisation=reader.context.directory.settings.get("name"),
            now=reader.context.now,
            **timeline(snapshot),
        )
