"""``/console``: the dashboard of an organisation, for its operators.

Charts are drawn by the server and need no scripts; browsers refresh the page every minute.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from domain.parsing import wall_clock
from domain.reference.organisation import OPERATOR
from infra.diagnostics.dashboard import MOST, Dashboard, DashboardReader
from infra.diagnostics.refusals import Refusals
from infra.http.browser.console_sections import LATE, duration, sections
from infra.http.browser.sign_in import BrowserPages, PageSite
from infra.http.browser.templates import ASSETS
from infra.http.router import Exchange, Router
from services.audit.access import AuditAccess, AuthorizedReader
from services.authentication import LoginServices
from services.pipeline.dispatcher import Dispatcher

__all__ = ["CONSOLE", "ConsolePages"]

CONSOLE = "/console"
SITE = PageSite(
    path=CONSOLE,
    cookie="crmledger_console",
    role=OPERATOR,
    word="console",
    invitation="For users with the operator role.",
    home="Back to the console",
    assets={"console.css": ASSETS["history.css"]},
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A key figure at the top of the page; ``kind`` is calm or late."""

    figure: str
    name: str
    kind: str


class ConsolePages:
    """The handler of the console page."""

    def __init__(
        self,
        dashboards: DashboardReader,
        refusals: Refusals,
        auditing: AuditAccess,
        runner: Dispatcher,
        desk: LoginServices,
    ) -> None:
        self._dashboards = dashboards
        self._refusals = refusals
        self._zone = desk.zone
        self._pages = BrowserPages(SITE, auditing, runner, desk)

    def routes(self, edge: Router) -> None:
        """Add the routes of the console."""
        self._pages.routes(edge)
        edge.add("GET", CONSOLE, self._pages.page_handler(self._console), "console")

    async def _console(self, reader: AuthorizedReader, exchange: Exchange) -> web.Response:
        """The page. It contains no personal data, so the access is not recorded."""
        context = reader.context
        references = context.directory
        clock = wall_clock(context.now, self._zone)
        dashboard = await self._dashboards.read(reader.organisation, clock)
        name = str(references.settings.get("name"))
        errors, seconds = self._refusals.recent(name), self._refusals.seconds
        return self._pages.page(
            "console.html",
            reader=reader,
            organisation=name,
            now=dashboard.now,
            tiles=_tiles(dashboard),
            sections=sections(dashboard, references, self._zone, errors, seconds),
        )


def _tiles(dashboard: Dashboard) -> list[Tile]:
    queued = sum(depth.entries for depth in dashboard.waiting)
    oldest = sum(depth.by_age[-1] for depth in dashboard.waiting)
    overdue = sum(late for late, _ in dashboard.requests.values())
    lag = max((lag.seconds for lag in dashboard.lags.values()), default=0.0)
    unsealed = dashboard.unsealed
    return [
        Tile(_count(queued), "Queued messages", "late" if oldest else "calm"),
        Tile(_count(overdue), "Overdue requests", "late" if overdue else "calm"),
        Tile(duration(lag), "Projection lag", "late" if lag > LATE else "calm"),
        Tile(f"{unsealed:,}", "Unsealed events", "late" if unsealed < 0 else "calm"),
    ]


def _count(count: int) -> str:
    return f"{MOST:,}+" if count > MOST else f"{count:,}"
