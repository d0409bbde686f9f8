"""Webhooks from the ledger: every event, in order for each entity, whoever is away for how long."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web
from standardwebhooks import Webhook

from infra.diagnostics.ledger import webhooks
from infra.diagnostics.runner import run
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.settings import Settings
from infra.webhooks import subscription_worker
from infra.webhooks.subscription_worker import BREAKER_THRESHOLD, DeliveryPolicy
from tests.fixtures import databases
from tests.fixtures.organisation import organisation_client, query_rows
from tests.fixtures.service import Json, Service, environment, run_in_process
from tests.fixtures.webhooks import (
    QUICK,
    Consumer,
    WebhooksClient,
    deliver_program,
    expire_leases,
    look_again,
    rest,
    run_consumer,
    webhook_dispatcher,
    webhooks_client,
)


@pytest_asyncio.fixture(scope="module")
async def own_service(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Service]:
    """A service on a database of this file's own: a deliverer serves all organisations of one."""
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        yield service


async def checked(url: str) -> tuple[str, str]:
    """What `crmledger check` says of webhooks."""
    [report] = await run(url, Settings.from_environment(environment(url)), [webhooks])
    return report.verdict, report.message


async def recorded(made: WebhooksClient, after: int) -> list[Json]:
    """What the ledger holds after a position, as far as a message says it."""
    sql = "SELECT position, version, topic FROM ledger.events WHERE organisation = $1 AND position > $2 ORDER BY position"
    return [dict(row) for row in await query_rows(made.api, sql, after)]


async def lived(made: WebhooksClient, entities: int = 3, events: int = 4) -> None:
    """Some contacts to whom something happens."""
    contacts = [await made.new_contact() for _ in range(entities)]
    for n in range(events - 1):
        for contact in contacts:
            await made.update_contact(contact, notes=f"note {n}")


def in_order(consumer: Consumer) -> bool:
    """Whether each entity's events were acknowledged one after the other."""
    return all(
        versions == list(range(versions[0], versions[0] + len(versions)))
        for versions in consumer.by_entity().values()
    )


async def test_a_consumer_is_told_everything_and_can_check_it(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        start = (await made.status())["position"]
        await lived(made)
        base = "https://crm.example/"
        async with webhook_dispatcher(own_service.database, base_url=base):
            await made.wait_until_acknowledged()
        events = await recorded(made, start)
        assert sorted(consumer.positions) == [event["position"] for event in events]
        assert in_order(consumer)
        messages = consumer.verified(made.secret)
    assert len(messages) == len(events)
    told = {message["data"]["position"]: message for message in messages}
    for event in events:
        message = told[event["position"]]
        assert message["type"] == event["topic"]
        assert message["data"]["version"] == event["version"]
        assert message.keys() == {"type", "timestamp", "data"}
    headers, content = consumer.seen[0]
    first = json.loads(content)["data"]
    assert headers["webhook-id"] == f"{made.api.organisation}/{first['position']}"
    registered = next(m for m in messages if m["type"] == "contact_information.registered")
    id_ = registered["data"]["entity"]["id"]
    path = f"/crmapi/rest/v2/contact_information/show?contact_information_identifier=id={id_}"
    assert registered["data"]["link"] == f"https://crm.example{path}"
    shown = await made.show_contact(id_)
    assert shown["id"] == id_
    # Names, notes and the like never leave.
    assert "Doe" not in content.decode()
    assert b"note" not in b"".join(content for _, content in consumer.seen)
    with pytest.raises(Exception, match="signature"):
        Webhook(made.secret).verify(content.replace(b"version", b"Version"), headers)


async def test_the_page_for_consumers_is_right(own_service: Service) -> None:
    """Its code takes what is sent; its example has the members of a message."""
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        await made.new_contact()
        async with webhook_dispatcher(own_service.database):
            await made.wait_until_acknowledged()
    example = json.loads(re.findall(r"^\{.*\}$", page, re.MULTILINE)[0])
    for headers, content in consumer.seen:
        message = names["receive"](made.secret, headers, content)
        assert (message.keys(), message["data"].keys()) == (example.keys(), example["data"].keys())
        assert names["receive"](made.secret, headers, content) is None


async def test_a_consumer_that_was_away_lacks_nothing(own_service: Service) -> None:
    async with run_consumer() as gone:
        url = gone.url
    made = await webhooks_client(own_service, url, entities=["contact_information"])
    async with webhook_dispatcher(own_service.database) as running:
        await lived(made, 2, 3)
        await made.wait_for_status(state="FAILING")
        assert {a["outcome"] for a in await made.deliveries()} == {"UNREACHABLE"}
        assert await running.readiness_problems() == []
        await lived(made, 2, 3)
        async with run_consumer(port=int(url.rsplit(":", 1)[1].split("/")[0])) as consumer:
            stands = await made.wait_until_acknowledged()
            assert stands["state"] == "ACTIVE"
            assert stands["failing_since"] is None
            assert len(consumer.positions) == len(set(consumer.positions)) == 12
            assert in_order(consumer)


async def test_an_entity_waits_for_its_earlier_events_and_others_go_on(
    own_service: Service,
) -> None:
    stuck: list[str] = []

    async def answering(consumer: Consumer, message: Json) -> int:
        return 500 if message["data"]["entity"]["id"] in stuck else 200

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url, entities=["contact_information"])
        stuck.append(await made.new_contact())
        async with webhook_dispatcher(own_service.database):
            await made.update_contact(stuck[0], notes="again")
            await lived(made, 3, 3)
            async with asyncio.timeout(60):
                while len(consumer.told) < 9:
                    await asyncio.sleep(0.02)
            await made.wait_for_status(pending=2)
            log = await made.deliveries(number_of_results=1000)
            failed = {a["position"] for a in log if a["outcome"] == "REFUSED"}
            assert len(failed) == 1
            assert {a["status"] for a in log if a["position"] in failed} == {500}
            stuck.clear()
            await made.wait_until_acknowledged()
        assert len(consumer.told) == 11
        assert in_order(consumer)


async def test_what_one_entity_meets_does_not_make_the_consumer_away(own_service: Service) -> None:
    stuck: list[str] = []

    async def answering(consumer: Consumer, message: Json) -> int:
        return 500 if message["data"]["entity"]["id"] in stuck else 200

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url, entities=["contact_information"])
        stuck.extend([await made.new_contact(), await made.new_contact()])
        pace = DeliveryPolicy(
            lease=120,
            timeout=60,
            pause=0.02,
            first_backoff=0.02,
            max_backoff=0.02,
            max_backoff_when_down=600,
        )
        async with webhook_dispatcher(own_service.database, pace):
            async with asyncio.timeout(60):
                while len(consumer.seen) < 12:
                    await asyncio.sleep(0.02)
                assert consumer.told == []
                await made.new_contact()
                while len(consumer.told) < 1:
                    await asyncio.sleep(0.02)
        await made.subscribe(consumer.url, retired=True)


async def test_a_consumer_that_is_away_is_tried_now_and_then(own_service: Service) -> None:
    async def answering(consumer: Consumer, message: Json) -> int:
        return 502

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url, entities=["contact_information"])
        await lived(made, 20, 1)
        pace = DeliveryPolicy(
            lease=120,
            timeout=60,
            pause=0.02,
            first_backoff=600,
            max_backoff=600,
            max_backoff_when_down=600,
        )
        async with webhook_dispatcher(own_service.database, pace) as running:
            await made.wait_for_status(state="FAILING")
            await rest(running, made)
            # Each failure before the consumer counts as away has let another request go.
            assert len(consumer.seen) < pace.concurrency + BREAKER_THRESHOLD
            # An operator who knows better does not wait.
            seen = len(consumer.seen)
            await made.request("POST", "/W/resume")
            async with asyncio.timeout(60):
                while len(consumer.seen) == seen:
                    await asyncio.sleep(0.02)
        await made.subscribe(consumer.url, retired=True)


async def test_a_slow_consumer_is_asked_again(own_service: Service) -> None:
    slow = True

    async def answering(consumer: Consumer, message: Json) -> int:
        if slow:
            await asyncio.Event().wait()
        return 200

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url)
        await made.new_contact()
        pace = DeliveryPolicy(lease=20, timeout=1, pause=0.02, first_backoff=0.02, max_backoff=0.05)
        async with webhook_dispatcher(own_service.database, pace):
            await made.wait_for_status(state="FAILING")
            assert {a["outcome"] for a in await made.deliveries()} == {"TIMEOUT"}
            slow = False
            await made.wait_until_acknowledged()


async def test_what_it_answers_is_not_read_and_not_followed(own_service: Service) -> None:
    mode = "redirect"

    async def answering(consumer: Consumer, message: Json) -> web.StreamResponse | int:
        if mode == "redirect":
            return web.Response(status=307, headers={"Location": other.url})
        consumer.told.append(message)
        return web.Response(body=b"x" * 3_000_000)

    async with run_consumer() as other, run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url)
        await made.new_contact()
        async with webhook_dispatcher(own_service.database):
            await made.wait_for_status(state="FAILING")
            assert {(a["outcome"], a["status"]) for a in await made.deliveries()} == {
                ("REFUSED", 307)
            }
            mode = "much"
            await made.wait_until_acknowledged()
        assert other.seen == []
        assert len(consumer.told) == 1 + (await recorded(made, 0))[-1]["position"] - min(
            consumer.positions
        )


async def test_410_stops_it_until_an_operator_resumes(own_service: Service) -> None:
    gone = True

    async def answering(consumer: Consumer, message: Json) -> int:
        return 410 if gone else 200

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url)
        await made.new_contact()
        async with webhook_dispatcher(own_service.database) as running:
            stands = await made.wait_for_status(state="GONE")
            assert stands["stopped_at"] is not None
            sent = len(consumer.seen)
            await made.new_contact()
            await look_again(running)
            assert len(consumer.seen) == sent
            gone = False
            name = made.api.organisation
            verdict, said = await checked(own_service.database)
            assert (verdict, f"W of {name} is GONE" in said) == ("warning", True)
            assert (await made.request("POST", "/W/resume"))[0] == 200
            stands = await made.wait_until_acknowledged()
        assert (stands["state"], stands["stopped_at"]) == ("ACTIVE", None)
        assert in_order(consumer)


async def test_what_is_never_acknowledged_pauses_it_in_sight(own_service: Service) -> None:
    well = False

    async def answering(consumer: Consumer, message: Json) -> int:
        return 200 if well else 503

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url)
        await made.new_contact()
        pace = DeliveryPolicy(
            lease=120, timeout=60, pause=0.02, first_backoff=0.02, max_backoff=0.05, max_age=0.1
        )
        async with webhook_dispatcher(own_service.database, pace):
            stands = await made.wait_for_status(state="PAUSED")
            assert stands["lag_positions"] > 0
            well = True
            await made.request("POST", "/W/resume")
            await made.wait_until_acknowledged()
        assert in_order(consumer)


async def test_retry_after_is_heeded(own_service: Service) -> None:
    async def answering(consumer: Consumer, message: Json) -> web.StreamResponse | int:
        return web.Response(status=429, headers={"Retry-After": "600"})

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url)
        await lived(made, 8, 1)
        async with webhook_dispatcher(own_service.database) as running:
            await made.wait_for_status(state="FAILING")
            await rest(running, made)
            # Those that were under way with the first; then nothing for ten minutes.
            assert len(consumer.seen) <= QUICK.concurrency
            at = await query_rows(
                made.api,
                "SELECT min(next_at - first_try_at) >= '9 minutes' FROM webhooks.pending WHERE organisation = $1 AND tries > 0",
            )
            assert at[0][0]
        await made.subscribe(consumer.url, retired=True)


async def test_private_addresses_are_refused_unless_allowed(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        port = consumer.url.rsplit(":", 1)[1]
        await made.subscribe(f"http://localhost:{port}", id_="NAMED")
        await made.new_contact()
        async with webhook_dispatcher(own_service.database, networks=()):
            for id_ in ("W", "NAMED"):
                await made.wait_for_status(id_=id_, state="FAILING")
                assert {a["outcome"] for a in await made.deliveries(id_)} == {"FORBIDDEN_ADDRESS"}
                await made.subscribe(consumer.url, id_=id_, retired=True)
        assert consumer.seen == []


async def test_lists_choose_what_is_told(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(
            own_service,
            consumer.url,
            entities=["contact_information", "industry"],
            topics=["contact_information.registered", "record.replaced"],
        )
        contact = await made.new_contact()
        await made.update_contact(contact, notes="x")
        await made.register("industry", "NEW", name="a")
        await made.register("industry", "NEW", name="b")
        await made.register("contact_category", "NEW", name="c")
        await made.register("contact_category", "NEW", name="d")
        async with webhook_dispatcher(own_service.database):
            await made.wait_until_acknowledged()
        told = [(m["type"], m["data"]["entity"], m["data"]["link"] is None) for m in consumer.told]
    assert sorted(told, key=str) == [
        ("contact_information.registered", {"kind": "contact_information", "id": contact}, False),
        ("record.replaced", {"kind": "industry", "id": "NEW"}, True),
    ]


async def test_what_is_not_effective_or_retired_waits(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url, life_cycle_state="NOT_EFFECTIVE")
        await made.new_contact()
        async with webhook_dispatcher(own_service.database) as running:
            await look_again(running)
            assert (await made.status())["state"] == "NOT_EFFECTIVE"
            await made.subscribe(consumer.url, retired=True)
            await look_again(running)
            assert (await made.status())["state"] == "RETIRED"
            assert consumer.seen == []
            await made.subscribe(consumer.url)
            await made.wait_until_acknowledged()
        # Nothing that was recorded meanwhile is left out.
        assert "contact_information.registered" in {m["type"] for m in consumer.told}


async def test_replay_tells_again_with_the_same_ids(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        start = (await made.status())["position"]
        await lived(made, 2, 3)
        async with webhook_dispatcher(own_service.database):
            await made.wait_until_acknowledged()
            once = {h["webhook-id"]: body for h, body in consumer.seen}
            consumer.seen.clear()
            consumer.told.clear()
            # From before it was registered, too.
            assert (await made.request("POST", "/W/replay", from_=1))[0] == 200
            await made.wait_until_acknowledged()
        assert sorted(consumer.positions) == [f["position"] for f in await recorded(made, 0)]
        assert in_order(consumer)
        again = {h["webhook-id"]: body for h, body in consumer.seen}
        assert once.items() <= again.items()
        assert len(again) == len(once) + start


async def test_replay_passes_over_nothing(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        position = (await made.status())["position"]
        await made.new_contact()
        for from_, refused in ((0, "from"), (position + 2, "from"), ("x", "from")):
            status, answer = await made.request("POST", "/W/replay", from_=from_)
            assert (status, answer["status"]["description"]) == (400, refused)
        assert (await made.request("POST", "/W/replay", from_=position + 1))[0] == 200
        assert (await made.request("POST", "/NONE/replay", from_=1))[0] == 404
        assert (await made.status())["position"] == position


async def test_a_replay_that_meets_a_delivery_is_told_after_it(own_service: Service) -> None:
    """What was acknowledged before the operator asked does not count as told again."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def answering(consumer: Consumer, message: Json) -> int:
        arrived.set()
        await go_on.wait()
        return 200

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url, entities=["contact_information"])
        await made.new_contact()
        async with webhook_dispatcher(
            own_service.database,
            DeliveryPolicy(lease=120, timeout=60, pause=0.02, first_backoff=0.02),
        ):
            await arrived.wait()
            await made.request("POST", "/W/replay", from_=1)
            go_on.set()
            await made.wait_until_acknowledged()
        assert len(consumer.positions) == 2
        assert len(set(consumer.positions)) == 1


async def test_a_new_secret_signs_beside_the_former_one(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        former = made.secret
        new = "whsec_" + "QUJD" * 8
        assert await made.subscribe(consumer.url, secret=new) == {"id": "W", "result": "UPDATED"}
        await made.new_contact()
        async with webhook_dispatcher(own_service.database):
            await made.wait_until_acknowledged()
        assert consumer.verified(former) == consumer.verified(new) != []
        connection = await asyncpg.connect(own_service.database)
        await connection.execute(
            "UPDATE ledger.secrets SET expires_at = now() WHERE name = 'former_secret'"
        )
        await connection.close()
        consumer.seen.clear()
        await made.new_contact()
        async with webhook_dispatcher(own_service.database):
            await made.wait_until_acknowledged()
        assert consumer.verified(new)
        with pytest.raises(Exception, match="signature"):
            consumer.verified(former)


async def test_the_bell_makes_it_look_at_once(own_service: Service) -> None:
    """With the longest of pauses only the bell wakes it."""
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        async with webhook_dispatcher(own_service.database, replace(QUICK, pause=600)):
            for _ in range(2):
                await made.new_contact()
                await made.wait_until_acknowledged()
        assert consumer.seen


async def test_two_deliverers_tell_everything_once(own_service: Service) -> None:
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        async with (
            webhook_dispatcher(own_service.database),
            webhook_dispatcher(own_service.database),
        ):
            await lived(made, 4, 4)
            await made.wait_until_acknowledged()
        assert len(consumer.positions) == len(set(consumer.positions))
        assert in_order(consumer)


async def test_leases_that_change_hands_all_the_time_lose_nothing(own_service: Service) -> None:
    async def answering(consumer: Consumer, message: Json) -> int:
        await asyncio.sleep(0.004)
        return 200

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url)
        start = (await made.status())["position"]
        done, short = asyncio.Event(), replace(QUICK, pause=0.005)

        async def expire() -> None:
            while not done.is_set():
                await expire_leases(own_service.database)

        async with (
            webhook_dispatcher(own_service.database, short),
            webhook_dispatcher(own_service.database, short),
            webhook_dispatcher(own_service.database, short),
        ):
            # Requests outlive these leases, as if their processes had been asleep.
            expiring = asyncio.create_task(expire())
            await lived(made, 4, 4)
            await made.wait_until_acknowledged()
            done.set()
            await expiring
        events = [event["position"] for event in await recorded(made, start)]
        assert sorted(set(consumer.positions)) == events
        for versions in consumer.by_entity().values():
            first_told = list(dict.fromkeys(versions))
            assert first_told == sorted(first_told)


async def test_a_backlog_longer_than_may_wait_is_told_in_order(
    own_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_worker, "MAX_PENDING", 5)
    monkeypatch.setattr(subscription_worker, "READ_SIZE", 3)
    async with run_consumer() as consumer:
        made = await webhooks_client(own_service, consumer.url)
        start = (await made.status())["position"]
        await lived(made, 3, 6)
        async with webhook_dispatcher(own_service.database):
            await made.wait_until_acknowledged()
        assert sorted(consumer.positions) == [f["position"] for f in await recorded(made, start)]
        assert in_order(consumer)


@pytest.mark.slow
async def test_killed_while_it_delivers_it_leaves_nothing_out(own_service: Service) -> None:
    async def answering(consumer: Consumer, message: Json) -> int:
        await asyncio.sleep(0.01)
        return 200

    async with run_consumer(answering) as consumer:
        made = await webhooks_client(own_service, consumer.url)
        start = (await made.status())["position"]
        await lived(made, 8, 12)
        async with deliver_program(own_service.database) as running:
            async with asyncio.timeout(60):
                while len(consumer.told) < 20:
                    await asyncio.sleep(0.01)
            os.kill(running.child.pid, signal.SIGKILL)
            await running.child.wait()
        await expire_leases(own_service.database)
        killed_at = len(consumer.told)
        await lived(made, 2, 2)
        async with deliver_program(own_service.database) as running:
            await made.wait_until_acknowledged()
            _, said = await running.ask("/metrics")
            labels = f'organisation="{made.api.organisation}",outcome="DELIVERED",webhook="W"'
            assert f"crmledger_webhook_deliveries_total{{{labels}}}" in said
            assert (await running.ask("/health/ready"))[0] == 200
            running.child.send_signal(signal.SIGTERM)
            assert await running.child.wait() == 0
        events = [event["position"] for event in await recorded(made, start)]
        assert killed_at < len(events)
        assert sorted(set(consumer.positions)) == events
        # What was acknowledged and not yet noted when the process died may come again; nothing else.
        assert len(consumer.positions) - len(events) <= QUICK.concurrency


async def test_a_ledger_that_is_shorter_stops_it(database: str) -> None:
    async with run_in_process(database) as alone, run_consumer() as consumer:
        made = await webhooks_client(alone, consumer.url)
        await made.new_contact()
        async with webhook_dispatcher(database):
            await made.wait_until_acknowledged()
        connection = await asyncpg.connect(database)
        name = made.api.organisation
        await connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
        head = (await made.status())["head"]
        await connection.execute(
            "DELETE FROM ledger.events WHERE organisation = $1 AND position = $2", name, head
        )
        consumer.seen.clear()
        consumer.told.clear()
        async with webhook_dispatcher(database) as running:
            await made.wait_for_status(state="AHEAD")
            assert await checked(database) == ("failed", f"W of {name} is ahead of the ledger")
            said = f"webhook W of {name}: is ahead of the ledger"
            async with asyncio.timeout(60):
                while await running.readiness_problems() != [said]:
                    await asyncio.sleep(0.02)
            # Other events take the place of those that are lost.
            await made.new_contact()
            await made.new_contact()
            async with asyncio.timeout(60):
                while "another event" not in str(await running.readiness_problems()):
                    await asyncio.sleep(0.02)
            assert consumer.seen == []
            # The operator says from where on to tell anew.
            assert (await made.request("POST", "/W/replay", from_=head))[0] == 200
            await made.wait_until_acknowledged()
            assert await running.readiness_problems() == []
            assert (await checked(database))[0] == "ok"
        assert min(consumer.positions) == head
        await connection.close()


async def test_one_organisation_hears_nothing_of_another(own_service: Service) -> None:
    async with run_consumer() as mine, run_consumer() as theirs:
        one, two = (
            await webhooks_client(own_service, mine.url),
            await webhooks_client(own_service, theirs.url),
        )
        await one.new_contact()
        await two.new_contact()
        async with webhook_dispatcher(own_service.database):
            await one.wait_until_acknowledged()
            await two.wait_until_acknowledged()
    for made, consumer in ((one, mine), (two, theirs)):
        assert {m["data"]["organisation"] for m in consumer.told} == {made.api.organisation}
        assert [s["id"] for s in (await made.request("GET", ""))[1]["data"]] == ["W"]
    assert (await organisation_client(one.api)).api is one.api
