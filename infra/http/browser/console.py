"""``/console``: how an organisation's work stands, at one look, for its operators.

Pictures are made here and need no scripts; browsers load the page again every minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from aiohttp import web

from domain.parsing import wall_clock
from infra.diagnostics.dashboard import AGES, MOST, Dashboard, DashboardReader, QueueDepth
from infra.diagnostics.refusals import Refusals
from infra.http.browser.charts import Series, bar_chart, column_chart, log_gauges, segment_bar
from infra.http.browser.console_sections import Section, duration, outgoing
from infra.http.browser.sign_in import BrowserPages, PageSite
from infra.http.browser.templates import ASSETS
from infra.http.router import Exchange, Router
from services.audit.access import OPERATOR, AuditAccess, AuthorizedReader
from services.audit.event_descriptions import humanize
from services.authentication import LoginServices
from services.pipeline.dispatcher import Dispatcher
from services.reference_cache import ReferenceCache

__all__ = ["CONSOLE", "ConsolePages"]

CONSOLE = "/console"
SITE = PageSite(
    path=CONSOLE,
    cookie="crmledger_console",
    role=OPERATOR,
    word="console",
    invitation="The console is open to operators.",
    denied="The console is open to operators only",
    wrong_role_message="This user is no operator.",
    home="To the console",
    assets={"console.css": ASSETS["history.css"]},
)
SYSTEM = "communication_queue_external_system"
AGE_SERIES = [Series(f"age{n}", name) for n, (name, _) in enumerate(AGES)]
DUE_SERIES = [Series("late", "overdue"), Series("calm", "in time")]
CODES = 8
"""Codes of refusals that are shown."""
LATE = 60.0
"""Seconds from which on a view or a seal counts as late."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that is seen first; ``kind`` is calm or late."""

    figure: str
    name: str
    kind: str


class ConsolePages:
    """The handler of the console."""

    def __init__(
        self,
        boards: DashboardReader,
        refusals: Refusals,
        auditing: AuditAccess,
        runner: Dispatcher,
        desk: LoginServices,
    ) -> None:
        self._boards = boards
        self._refusals = refusals
        self._zone = desk.zone
        self._pages = BrowserPages(SITE, auditing, runner, desk)

    def routes(self, edge: Router) -> None:
        """Serves the console."""
        self._pages.routes(edge)
        edge.add("GET", CONSOLE, self._pages.page_handler(self._console), "console")

    async def _console(self, admitted: AuthorizedReader, exchange: Exchange) -> web.Response:
        """The page; nothing on it belongs to a person, so that it was read is not recorded."""
        directory, zone = admitted.context.directory, self._zone
        clock = wall_clock(admitted.context.now, zone)
        board = await self._boards.read(admitted.organisation, clock)
        name = str(directory.settings.get("name"))
        refused = self._refusals.recent(name)
        return self._pages.page(
            "console.html",
            admitted=admitted,
            organisation=name,
            now=board.now,
            tiles=_tiles(board),
            sections=[
                _queue(board, directory),
                outgoing(board.outgoing, directory.settings),
                _requests(board),
                _events(board, zone),
                _derived(board),
                _webhooks(board),
                _seals(board, zone),
                _refused(refused, self._refusals.seconds),
            ],
        )


def _tiles(board: Dashboard) -> list[Tile]:
    waiting = sum(one.entries for one in board.waiting)
    overdue = sum(late for late, _ in board.requests.values())
    lag = max((lag.seconds for lag in board.lags), default=0.0)
    old = sum(one.by_age[-1] for one in board.waiting)
    return [
        Tile(_many(waiting), "messages wait", "late" if old else "calm"),
        Tile(_many(overdue), "requests overdue", "late" if overdue else "calm"),
        Tile(duration(lag), "views behind", "late" if lag > LATE else "calm"),
        Tile(f"{board.unsealed:,}", "events unsealed", "late" if board.unsealed < 0 else "calm"),
    ]


def _queue(board: Dashboard, directory: ReferenceCache) -> Section:
    rows = [(_system(one, directory), one.by_age) for one in board.waiting]
    if not rows:
        return Section("queue", "Sending queue", "Nothing waits to be sent.")
    said = "By the system that is to send them, and by how long they have waited."
    if board.full:
        said += f" Of {', '.join(map(humanize, board.full))} the oldest {MOST:,} are counted."
    described = f"{len(rows)} queues; the longest is that of {rows[0][0]}."
    return Section("queue", "Sending queue", said, bar_chart(described, "system", AGE_SERIES, rows))


def _system(one: QueueDepth, directory: ReferenceCache) -> str:
    """What sends them: the external system by its name, else our own way for the media."""
    if one.system is None:
        return f"{one.media}, no system"
    return str(directory.fields(SYSTEM, one.system).get("name") or one.system)


def _requests(board: Dashboard) -> Section:
    heading, said = (
        "Open service requests",
        f"By state, up to {MOST:,} of each; overdue ones should be completed by now.",
    )
    if not any(map(sum, board.requests.values())):
        return Section("requests", heading, "No service request is open.")
    rows = [(humanize(state).capitalize(), counts) for state, counts in board.requests.items()]
    overdue = sum(late for late, _ in board.requests.values())
    described = f"Open service requests in {len(rows)} states, {overdue:,} of them overdue."
    return Section("requests", heading, said, bar_chart(described, "state", DUE_SERIES, rows))


def _events(board: Dashboard, zone: ZoneInfo) -> Section:
    first = board.now - timedelta(hours=len(board.events))
    hours = [_hour(first + timedelta(hours=n), zone) for n in range(1, len(board.events))]
    values = list(zip([*hours, "now"], board.events, strict=True))
    described = f"{sum(board.events):,} events in {len(board.events)} hours."
    said = f"{described} Each column is the hour up to the time below it."
    return Section(
        "events", "What was recorded", said, column_chart(described, "hour up to", "calm", values)
    )


def _hour(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%H:%M}"


def _derived(board: Dashboard) -> Section:
    rows = [
        (
            humanize(lag.view).capitalize(),
            lag.seconds,
            f"{lag.positions:,} events, {duration(lag.seconds)}{_parked(lag.parked)}",
            "late" if lag.seconds > LATE or lag.positions < 0 or lag.parked else "calm",
        )
        for lag in board.lags
    ]
    said = f"The ledger stands at position {board.head:,}. "
    said += "; ".join(f"{name} is {figure} behind" for name, _, figure, _ in rows) + "."
    if any(lag.parked for lag in board.lags):
        said += " What is parked is named, with the reason, by `crmledger views parked`."
    said += " What calls read is written with the events and never behind."
    return Section("views", "Views of analysts", said, log_gauges(said, "view", rows))


def _parked(entities: int) -> str:
    return f", {entities:,} parked" if entities else ""


def _webhooks(board: Dashboard) -> Section:
    rows = [
        (
            str(one.document["name"] or one.webhook),
            one.lag_seconds if one.is_active else 0.0,
            f"{one.display_state.lower()}, {one.lag_positions:,} events, {duration(one.lag_seconds)}",
            "calm" if one.display_state == "ACTIVE" and one.lag_seconds <= LATE else "late",
        )
        for one in board.webhooks
        if one.display_state not in ("RETIRED", "NOT_EFFECTIVE")
    ]
    if not rows:
        return Section("webhooks", "Webhooks", "Nobody is told what happens here.")
    said = "; ".join(f"{name} is {figure} behind" for name, _, figure, _ in rows) + "."
    return Section("webhooks", "Webhooks", said, log_gauges(said, "subscriber", rows))


def _seals(board: Dashboard, zone: ZoneInfo) -> Section:
    heading = "Seals"
    if not board.seals:
        return Section("seals", heading, f"Nothing is sealed yet; {board.head:,} events wait.")
    last = board.seals[-1]
    when = f"{last.sealed_at.astimezone(zone):%d %b %Y, %H:%M:%S}"
    said = f"The last one, number {last.number}, of {when}, covers everything up to {last.last:,}."
    pieces = [
        (
            one.last - one.first + 1,
            f"seal{one.number % 2}",
            f"seal {one.number}: {one.first:,} to {one.last:,}",
        )
        for one in board.seals
    ]
    pieces.append((max(board.unsealed, 0), "open", f"not sealed: {board.unsealed:,}"))
    drawn = segment_bar(said, ["seal", "from", "to", "sealed at"], pieces)
    drawn.rows = [
        [one.number, one.first, one.last, f"{one.sealed_at.astimezone(zone):%Y-%m-%d %H:%M:%S}"]
        for one in reversed(board.seals)
    ]
    drawn.legend = [
        Series("seal1", "sealed events, a piece for each seal"),
        Series("open", "not sealed yet"),
    ]
    return Section("seals", heading, said, drawn)


def _refused(refused: Sequence[tuple[str, int]], seconds: float) -> Section:
    heading = "Refusals"
    since = f"in the last {duration(seconds)}, by the process that shows this page"
    if not refused:
        return Section("refusals", heading, f"None {since}.")
    rows = [(_code(code), (count,)) for code, count in refused[:CODES]]
    said = f"{sum(count for _, count in refused):,} calls were refused {since}."
    return Section(
        "refusals", heading, said, bar_chart(said, "code", [Series("calm", "calls")], rows)
    )


def _code(code: str) -> str:
    """The part of an error's code that tells it from others."""
    return code.rpartition(".")[2].removesuffix("EXCEPTION").lower()


def _many(count: int) -> str:
    return f"{MOST:,}+" if count > MOST else f"{count:,}"
