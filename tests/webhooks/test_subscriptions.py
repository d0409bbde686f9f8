"""Registering webhooks, their secrets, and what operators see and do; over HTTP and at the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from cyclopts import App

from infra.cli import webhooks as cli_webhooks
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.postgres.notify import Listener
from infra.postgres.pool import ConnectionPool, PooledConnection
from infra.webhooks.dispatcher import ROLE, WebhookDispatcher
from infra.webhooks.http_client import HttpWebhookClient
from infra.webhooks.subscriptions import MAX_ATTEMPT_AGE
from tests.contract.test_registration_http import SECRET
from tests.fixtures import databases
from tests.fixtures.organisation import query_rows, untouched
from tests.fixtures.service import OPERATOR_KEY, RING, Service, environment, refusal, run_in_process
from tests.fixtures.webhooks import (
    LOOPBACK,
    QUICK,
    WebhooksClient,
    run_consumer,
    webhook_dispatcher,
    webhooks_client,
)

URL = "https://192.0.2.1/told"
"""An address that no request goes to, and no name server is asked for."""


@pytest_asyncio.fixture(scope="module")
async def own_service(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Service]:
    """A service on a database of this file's own."""
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        yield service


@pytest_asyncio.fixture(scope="module")
async def client(own_service: Service) -> WebhooksClient:
    return await webhooks_client(own_service, URL)


async def everything(made: WebhooksClient) -> str:
    """All that the ledger and the views hold of an organisation, as text."""
    found = await query_rows(
        made.api,
        """SELECT payload::text || metadata::text AS said FROM ledger.events WHERE organisation = $1
           UNION ALL SELECT document::text FROM views.records WHERE organisation = $1
           UNION ALL SELECT verifier || key_id FROM ledger.secrets WHERE organisation = $1""",
    )
    return "\n".join(row["said"] for row in found)


async def test_a_secret_is_made_up_and_shown_once(
    client: WebhooksClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await client.subscribe(URL, id_="ONCE")
    secret = answer["secret"]
    assert answer.keys() == {"id", "result", "secret"}
    async with untouched(client.api):
        assert await client.subscribe(URL, id_="ONCE") == {"id": "ONCE", "result": "UNCHANGED"}
        assert await client.subscribe(URL, id_="ONCE", secret=secret) == {
            "id": "ONCE",
            "result": "UNCHANGED",
        }
    assert "secret" not in await client.operator.get("webhook/ONCE")
    assert await client.subscribe(f"{URL}/2", id_="ONCE") == {"id": "ONCE", "result": "UPDATED"}
    assert secret.removeprefix("whsec_") not in await everything(client)
    assert secret not in str(await client.status("ONCE"))
    captured = capsys.readouterr()
    assert secret not in captured.out + captured.err


async def test_a_report_on_lines_shows_what_was_made_up(client: WebhooksClient) -> None:
    report = await client.operator.lines(
        "webhook",
        {"id": "L1", "url": URL},
        {"id": "L2", "url": URL, "secret": SECRET},
        {"id": "L3"},
    )
    assert (report["created"], [one["line"] for one in report["refused"]]) == (2, [3])
    assert [one["line"] for one in report["secrets"]] == [1]
    assert report["secrets"][0]["secret"].startswith("whsec_")


@pytest.mark.parametrize(
    ("fields", "name", "at"),
    [
        ({"url": None}, "MANDATORYPARAMETER", "url"),
        ({"url": "ftp://x.example"}, "INVALIDPARAMETERVALUE", "url"),
        ({"secret": "hunter2"}, "INVALIDPARAMETERVALUE", "secret"),
        ({"secret": {}}, "INVALIDPARAMETERTYPE", "secret"),
        ({"topics": ["communication.flown"]}, "INVALIDPARAMETERVALUE", "topics[0]"),
        ({"entities": "unit"}, "INVALIDPARAMETERTYPE", "entities"),
        ({"colour": 1}, "INVALIDPARAMETERVALUE", "colour"),
    ],
)
async def test_refused(client: WebhooksClient, fields: dict[str, Any], name: str, at: str) -> None:
    async with untouched(client.api):
        assert await client.operator.refused("webhook", "NO", **{"url": URL} | fields) == (name, at)


async def test_two_who_register_the_same_get_one_secret(client: WebhooksClient) -> None:
    answers = await asyncio.gather(*(client.subscribe(URL, id_="RACE") for _ in range(6)))
    assert sorted(answer["result"] for answer in answers) == ["CREATED"] + ["UNCHANGED"] * 5
    assert sum("secret" in answer for answer in answers) == 1


async def test_operators_see_pages(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        await made.subscribe(URL, id_="V", name="Second", retired=True)
        for _ in range(3):
            await made.new_contact()
        async with webhook_dispatcher(own_service.database):
            await made.wait_until_acknowledged()
    stands = await made.status()
    assert stands == {
        "id": "W",
        "name": None,
        "url": consumer.url,
        "state": "ACTIVE",
        "position": stands["head"],
        "head": stands["head"],
        "pending": 0,
        "lag_positions": 0,
        "lag_seconds": 0,
        "delivered_at": stands["delivered_at"],
        "failing_since": None,
        "stopped_at": None,
    }
    status, page = await made.request("GET", "", number_of_results=1)
    assert (status, [one["id"] for one in page["data"]]) == (200, ["V"])
    log = await made.deliveries()
    assert len({a["position"] for a in log}) == len(log) == len(consumer.told)
    assert [a["made_at"] for a in log] == sorted((a["made_at"] for a in log), reverse=True)
    assert log[0].keys() == {"position", "try", "made_at", "milliseconds", "outcome", "status"}
    assert (log[0]["try"], log[0]["outcome"], log[0]["status"]) == (1, "DELIVERED", 204)
    assert await made.deliveries(number_of_results=2, offset=1) == log[1:3]
    assert (await made.request("GET", "/w/deliveries"))[0] == 404


@pytest.mark.parametrize(
    ("verb", "path", "query", "status", "name"),
    [
        ("GET", "", {"organisation": "NOBODY"}, 404, "ENTITYNOTFOUND"),
        ("GET", "", {"number_of_results": "0"}, 400, "INVALIDPARAMETERVALUE"),
        ("GET", "/NONE/deliveries", {}, 404, "ENTITYNOTFOUND"),
        ("GET", "/W/nothing", {}, 404, "METHODNOTFOUND"),
        ("POST", "/W/replay", {}, 400, "MANDATORYPARAMETER"),
        ("POST", "/NONE/resume", {}, 404, "ENTITYNOTFOUND"),
        ("POST", "/W/deliveries", {}, 404, "METHODNOTFOUND"),
        ("POST", "", {}, 405, "METHODNOTALLOWED"),
        ("PUT", "/W/resume", {}, 405, "METHODNOTALLOWED"),
    ],
)
async def test_what_is_not_there(
    client: WebhooksClient, verb: str, path: str, query: dict[str, Any], status: int, name: str
) -> None:
    found, answer = await client.request(verb, path, **query)
    assert (found, refusal(answer)[0]) == (status, name)


@pytest.mark.parametrize(
    ("verb", "path"), [("GET", ""), ("GET", "/W/deliveries"), ("POST", "/W/resume")]
)
async def test_operators_only(client: WebhooksClient, verb: str, path: str) -> None:
    for key in ("", "Bearer wrong", f"Basic {OPERATOR_KEY}"):
        status, answer, _ = await client.api.service.send(
            verb,
            f"/operator/v1/webhooks{path}",
            query={"organisation": client.api.organisation},
            headers={"Authorization": key},
        )
        assert (status, refusal(answer)[0]) == (401, "INVALIDTOKEN")


async def test_at_the_terminal(
    own_service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        await made.new_contact()
        async with webhook_dispatcher(own_service.database):
            await made.wait_until_acknowledged()
    for name, value in environment(own_service.database, COLUMNS="250").items():
        monkeypatch.setenv(name, value)

    async def typed(*words: str) -> str:
        app = App(name="crmledger", result_action="return_value")
        app.command(cli_webhooks.webhooks)
        capsys.readouterr()
        await app.run_async(["webhooks", *words])
        return capsys.readouterr().out

    name = made.api.organisation
    assert "W  │ ACTIVE" in await typed("list", name)
    assert "DELIVERED" in await typed("deliveries", name, "W")
    assert "replayed from 1" in await typed("replay", name, "W", "--from", "1")
    assert (await made.status())["position"] == 0
    assert "resumed W" in await typed("resume", name, "W")
    for words in (
        ("replay", name, "W", "--from", "9999"),
        ("resume", name, "NONE"),
        ("list", "NO"),
    ):
        with pytest.raises(SystemExit) as ended:
            await typed(*words)
        assert ended.value.code == 1


async def test_without_the_right_key_nothing_is_sent(own_service: Service) -> None:
    class Closed:
        def decrypt(self, box: str, place: str) -> str:
            raise ValueError(f"what is sealed for {place} cannot be opened")

    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        await made.new_contact()
        lanes, stop = ConnectionPool(own_service.database, 1, role=ROLE), asyncio.Event()
        async with HttpWebhookClient(LOOPBACK) as sender:
            closed = WebhookDispatcher(
                lanes, Listener(own_service.database, ROLE), sender, Closed(), RING, policy=QUICK
            )
            await closed.once(stop)
            await closed.close()
        assert any("cannot be opened" in problem for problem in await closed.readiness_problems())
        await lanes.close()
        assert consumer.seen == []
        await made.subscribe(URL, retired=True)


async def test_the_log_is_bounded(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        for _ in range(4):
            await made.new_contact()
        async with webhook_dispatcher(own_service.database):
            await made.wait_until_acknowledged()
        log = await made.deliveries()
        connection = await asyncpg.connect(own_service.database)
        await connection.execute(
            "UPDATE webhooks.attempts SET made_at = made_at - $1::interval WHERE organisation = $2 AND position <> ALL ($3)",
            MAX_ATTEMPT_AGE,
            made.api.organisation,
            [one["position"] for one in log[:2]],
        )
        await connection.close()
        # A process drops what is old when it begins, and every now and then.
        async with webhook_dispatcher(own_service.database):
            async with asyncio.timeout(60):
                while len(await made.deliveries()) > 2:
                    await asyncio.sleep(0.02)
        assert await made.deliveries() == log[:2]


FORBIDDEN = [
    "UPDATE ledger.events SET topic = 'x'",
    "SELECT * FROM ledger.secrets",
    "SELECT * FROM views.records",
    "SELECT * FROM views.contacts",
    "SELECT * FROM ledger.append('X', now(), '{}', '{}', '{}')",
    "SELECT webhooks.replay('X', 'W', 1)",
    "CREATE TABLE webhooks.mine ()",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
async def test_the_deliverer_may_only_deliver(own_service: Service, sql: str) -> None:
    lane = await PooledConnection.open(own_service.database, 10, ROLE)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await lane.connection.execute(sql)
    await lane.connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM webhooks.pending",
        "UPDATE webhooks.subscriptions SET position = 0",
        "SELECT webhooks.signing_secrets('X', 'W')",
    ],
)
async def test_the_service_only_asks_for_it(own_service: Service, sql: str) -> None:
    lane = await PooledConnection.open(own_service.database, 10)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await lane.connection.execute(sql)
    await lane.connection.close()
