"""History for people: pages that a browser shows and prints, with scripts or without."""

from __future__ import annotations

from urllib.parse import quote, unquote

from aiohttp import web

from domain.reference.catalogue import ENTITIES
from domain.scalar_fields import Integer
from infra.http.api.query_string import parse_query
from infra.http.browser.sign_in import BrowserPages, PageSite, redirect
from infra.http.browser.templates import ASSETS, timeline
from infra.http.router import Exchange, Router
from services.audit.access import AUDITOR, AuditAccess, AuthorizedReader
from services.audit.history_service import ENTITY, HistoryService
from services.authentication import LoginServices
from services.pipeline.dispatcher import Dispatcher

__all__ = ["COOKIE", "PAGES", "SIGN_IN", "SIGN_OUT", "HistoryPages"]

PAGES = "/history"
COOKIE = "crmledger_history"
SITE = PageSite(
    path=PAGES,
    cookie=COOKIE,
    role=AUDITOR,
    word="history",
    invitation="Histories are open to auditors. Everything that you read is recorded.",
    denied="Histories are open to auditors only",
    wrong_role_message="This user is no auditor.",
    home="Find a history",
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
        """Serves the pages."""
        self._pages.routes(edge)
        edge.add("GET", PAGES, self._pages.page_handler(self._find), "history")
        edge.add("GET", f"{PAGES}/*", self._pages.page_handler(self._timeline), "history/entity")

    async def _find(self, admitted: AuthorizedReader, exchange: Exchange) -> web.Response:
        """A form to name an entity in, or the way to the one that is named."""
        named = parse_query(exchange.query).get(ENTITY)
        if named:
            entity = await self._historian.find_entity(admitted.organisation, named[-1])
            return redirect(f"{PAGES}/{quote(entity.ref)}")
        return self._pages.page("find.html", admitted=admitted, kinds=sorted(ENTITIES))

    async def _timeline(self, admitted: AuthorizedReader, exchange: Exchange) -> web.Response:
        """The history of one entity, and how it was at the version that the query names."""
        entity = await self._historian.find_entity(
            admitted.organisation, unquote(exchange.path_rest)
        )
        versions = parse_query(exchange.query).get(VERSION.name)
        version = versions and VERSION.read(versions[-1], VERSION.name, self._pages.read_context())
        view = await self._historian.snapshot(admitted, entity, version or None)
        return self._pages.page(
            "timeline.html",
            admitted=admitted,
            organisation=admitted.context.directory.settings.get("name"),
            now=admitted.context.now,
            **timeline(view),
        )
