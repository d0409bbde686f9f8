"""The console: who sees it, what it says, what it costs, and how it looks in a real browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import pytest_asyncio

from infra.audit.seal_builder import seal_next
from infra.audit.sealer import signer_of
from infra.diagnostics.dashboard import MOST, OVERDUE, REQUESTS, WAITING, DashboardReader
from infra.http.browser.console import CONSOLE, SITE
from infra.http.browser.templates import HEADERS
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.postgres.pool import ConnectionPool
from infra.projections.projector import Projector
from tests.fixtures import databases
from tests.fixtures.browser import CHROMIUM, Tab, tab
from tests.fixtures.organisation import EXTERNAL_SYSTEM, UNIT
from tests.fixtures.read_models import connection
from tests.fixtures.service import PASSWORD, RING, Service, environment, run_in_process
from tests.fixtures.service_requests import ServiceRequestsClient, service_requests_client

ZONE = ZoneInfo("Asia/Nicosia")
WAITING_FOR = (0, 0, 0, 0, 0, 20, 20, 240, 240, 2_000)
"""Minutes that the e-mails have waited."""
STATES = ("PENDING",) * 5 + ("RESPONDED",) * 3 + ("TEMPORARY_RESOLVED",) + ("FINAL_RESOLVED",) * 2
AGE = """
UPDATE ledger.events SET recorded_at = clock_timestamp() - $2 * interval '1 minute'
 WHERE organisation = $1 AND position <= $3 AND recorded_at > clock_timestamp() - $2 * interval '1 minute'
"""
HASH = """
UPDATE ledger.events
   SET event_hash = ledger.event_hash(organisation, position, stream_id, version, topic, schema_version,
                                      subject, payload::text, metadata::text, recorded_at)
"""
SEED = """
INSERT INTO views.queue_entries
       (organisation, id, created, version, document, refs, communication, contact_information, media,
        external_system, life_cycle_state)
SELECT 'BIG', n::text, n, 1, '{}', '{}', '', '', CASE WHEN n % 3 = 0 THEN 'SMS' ELSE 'EMAIL' END, 'ES1',
       CASE WHEN n % 2 = 0 THEN 'PENDING' ELSE 'COMPLETED' END
  FROM generate_series(1, 60000) AS n;
ANALYZE views.queue_entries
"""


@dataclass
class ConsoleFixture:
    """An organisation with work before it, and how far its ledger had come before each age."""

    desk: ServiceRequestsClient
    url: str


async def write(desk: ServiceRequestsClient, **more: object) -> None:
    said = {"direction": "OUTGOING", "media": "EMAIL", "to": "ada@example.org"}
    named = {"contact_information_identifier": {"id": desk.customer}, "subject": "Hello"}
    await desk.api.post("communications/create", **said | named | {"content": "Hi"} | more)


async def worked(service: Service) -> ConsoleFixture:
    """An organisation whose messages and requests are of many ages, part of it sealed."""
    desk, url = await service_requests_client(service), service.database
    for username, role in (("operator", "operator"), ("auditor", "auditor")):
        fields = {"username": username, "person_name": "Olga Operator", "roles": [role]}
        await desk.register("user", username, default_unit_id=UNIT, password=PASSWORD, **fields)
    marks = []
    for minutes in sorted(WAITING_FOR, reverse=True):
        await write(desk, communication_queue_external_system_identifier={"id": EXTERNAL_SYSTEM})
        async with connection(url) as owner:
            head = await owner.fetchval(
                "SELECT max(position) FROM ledger.events WHERE organisation = $1",
                desk.api.organisation,
            )
        marks.append((minutes, head))
    for _ in range(3):
        await write(desk, media="SMS", to="35799123456")
    now = datetime.now(ZONE).replace(tzinfo=None, microsecond=0)
    for n, state in enumerate(STATES):
        begun = (now - timedelta(days=5 if n % 3 == 0 else 1)).isoformat()
        await desk.create_in_state(state, start_date=begun)
    for _ in range(3):
        await desk.api.call("GET", "communications/show", query={})
    await desk.api.call(
        "GET", "contact_information/show", query={"contact_information_identifier": "id=0"}
    )
    await aged(url, desk.api.organisation, marks)
    return ConsoleFixture(desk, url)


async def aged(url: str, organisation: str, marks: list[tuple[int, int]]) -> None:
    """Lets events have been recorded earlier, which only the owner without the guards can do."""
    projector = Projector(url, RING)
    async with connection(url) as owner:
        await owner.execute("ALTER TABLE ledger.events DISABLE TRIGGER USER")
        for minutes, head in reversed(marks):
            await owner.execute(AGE, organisation, minutes, head)
        await owner.execute(HASH)
        await projector.once()
        await projector.close()
        signer = signer_of(environment(url)["CRMLEDGER_SERVICE_KEY"])
        for most in (60, 25, 40, 10, 20):
            await seal_next(owner, organisation, signer, RING, most)


@pytest_asyncio.fixture(scope="module")
async def office(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[ConsoleFixture]:
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        yield await worked(service)


async def seen(
    office: ConsoleFixture, *, username: str = "", path: str = CONSOLE
) -> tuple[int, str, str]:
    """Status, HTML and the location of a page, for a user or for nobody."""
    api = office.desk.api
    cookies = {SITE.cookie: await api.login(username)} if username else {}
    async with (
        aiohttp.ClientSession(cookies=cookies) as browser,
        browser.get(api.service.url + path, allow_redirects=False) as answer,
    ):
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        return answer.status, unescape(await answer.text()), answer.headers.get("Location", "")


def section(html: str, id_: str) -> str:
    found = re.search(rf'<section class="card" id="{id_}">.*?</section>', html, re.DOTALL)
    assert found, html
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[0]))


async def test_operators_only(office: ConsoleFixture) -> None:
    assert (await seen(office))[::2] == (303, f"{SITE.sign_in}?next=%2Fconsole")
    status, html, _ = await seen(office, username="auditor")
    assert (status, "You need the operator role" in html) == (403, True)
    status, html, _ = await seen(office, path=SITE.sign_in)
    assert (status, "For users with the operator role." in html) == (200, True)


async def test_what_it_says(office: ConsoleFixture) -> None:
    status, html, _ = await seen(office, username="operator")
    assert status == 200
    assert re.search(r"Postman 5 2 2 1 10\b", section(html, "queue"))
    assert re.search(r"SMS, no system 3 0 0 0 3\b", section(html, "queue"))
    assert re.search(r"Pending 2 3 5\b", section(html, "requests"))
    assert "4 of them overdue" in section(html, "requests")
    assert re.search(r"number 4, .* covers positions up to 131", section(html, "seals"))
    assert "Lag: Daily events " in section(html, "views")
    assert re.search(
        r"COM\.CRM\.EXCEPTION\.CORE\.MANDATORYPARAMETEREXCEPTION 3\b", section(html, "errors")
    )
    assert " 24 hours" in section(html, "events")
    assert "SMS 3 queued, oldest " in section(html, "outgoing")
    assert "SMS: not configured." in section(html, "outgoing")
    assert html.count('role="img"') == 7 == html.count("<desc ")
    assert not re.search(r"<script|\son\w+=|<style|\sstyle=|https?://(?!www\.w3)", html)


async def test_another_organisation_sees_nothing_of_it(office: ConsoleFixture) -> None:
    other = await service_requests_client(office.desk.api.service)
    fields = {"username": "operator", "default_unit_id": UNIT, "roles": ["operator"]}
    await other.register("user", "9", password=PASSWORD, **fields)
    _, html, _ = await seen(ConsoleFixture(other, office.url), username="operator")
    assert "No queued messages." in section(html, "queue")
    assert "No queued messages for the built-in sender." in section(html, "outgoing")
    assert "No open service requests." in section(html, "requests")
    assert "No seals; " in section(html, "seals")
    assert "No errors in the last" in section(html, "errors")
    assert "No webhook subscriptions." in section(html, "webhooks")
    await other.register("webhook", "W", name="Till", url="https://till.example/told")
    _, html, _ = await seen(ConsoleFixture(other, office.url), username="operator")
    assert re.search(r"Till active, lag \d+ events, [^;]*\.", section(html, "webhooks"))


async def test_a_look_is_bounded_and_stays_on_indexes(database: str) -> None:
    async with connection(database) as owner:
        await owner.execute(SEED)
        await owner.execute("SET plan_cache_mode = force_generic_plan; SET jit = off")
        for sql, types, values in (
            (
                WAITING,
                "text, text[], int, bigint, bigint, bigint",
                "'BIG', '{EMAIL}', 10001, 9, 8, 7",
            ),
            (REQUESTS, "text, text[], int", "'BIG', '{PENDING}', 10000"),
            (OVERDUE, "text, timestamp, int", "'BIG', '2026-01-01', 10000"),
        ):
            await owner.execute(f"PREPARE asked ({types}) AS {sql}")
            plan = await owner.fetch(f"EXPLAIN EXECUTE asked ({values})")
            assert "Seq Scan" not in str(plan), plan
            await owner.execute("DEALLOCATE asked")
    lanes = ConnectionPool(database, 1)
    board = await DashboardReader(lanes).read("BIG", "2026-01-01T00:00:00")
    await lanes.close()
    assert [one.entries for one in board.waiting] == [MOST + 1 + 10_000]
    assert board.full == ["EMAIL"]


@pytest.mark.skipif(
    CHROMIUM is None, reason="THE CONSOLE WAS NOT LOOKED AT: there is no Chromium on this machine"
)
async def test_in_a_browser(office: ConsoleFixture, tmp_path: Path) -> None:
    async with tab(tmp_path) as chromium:
        await chromium.scripts(allowed=False)
        await _signed_in(office, chromium)
        drawn = "document.querySelectorAll('figure > svg rect').length"
        assert await chromium.run(drawn) > 40
        outside = (
            "[...document.querySelectorAll('figure > svg text')].filter(text => {"
            " const box = text.getBBox(); return box.x < -1 || box.x + box.width > 561 })"
            ".map(text => text.textContent)"
        )
        assert (await chromium.picture("console")).stat().st_size > 30_000
        assert await chromium.run(outside) == []
        await _printed(chromium)


async def _signed_in(office: ConsoleFixture, chromium: Tab) -> None:
    api = office.desk.api
    await chromium.go(api.service.url + CONSOLE)
    for name, value in (
        ("organisation", api.organisation),
        ("username", "operator"),
        ("password", PASSWORD),
    ):
        await chromium.run(f"document.forms[0].elements.{name}.value = '{value}'")
    await chromium.turning(chromium.run("document.querySelector('main button').click()"))
    assert await chromium.run("location.pathname") == CONSOLE
    assert await chromium.run("document.cookie") == ""


async def _printed(chromium: Tab) -> None:
    await chromium.tell("Emulation.setEmulatedMedia", media="print")
    shown = "getComputedStyle(document.querySelector('.bar form')).display"
    assert await chromium.run(shown) == "none"
    await chromium.picture("console-print")
    pdf = await chromium.tell("Page.printToPDF")
    assert len(pdf["data"]) > 20_000
