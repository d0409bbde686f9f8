"""An organisation with a subscription, a consumer on loopback, and deliverers of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from infra.password_hasher import SecretHasher
from infra.postgres.notify import Listener
from infra.postgres.pool import ConnectionPool
from infra.webhooks.dispatcher import ROLE, WebhookDispatcher
from infra.webhooks.http_client import HttpWebhookClient
from infra.webhooks.subscription_worker import DeliveryPolicy
from tests.operators import Operator
from tests.programs import Program, attended
from tests.service import OPERATOR_KEY, Api, Json, Service, environment
from tests.world import World, world

__all__ = [
    "LOOPBACK",
    "QUICK",
    "Consumer",
    "Subscribed",
    "consuming",
    "deliverer",
    "program",
    "subscribed",
]

LOOPBACK = (ip_network("127.0.0.0/8"),)
QUICK = DeliveryPolicy(
    lease=2, timeout=0.5, pause=0.02, first=0.02, longest=0.05, max_backoff_when_down=0.05
)
"""Fast enough for tests; a consumer that is away is tried 20 times a second."""

Answering = Callable[["Consumer", Json], Awaitable[web.StreamResponse | int]]


async def _acknowledges(consumer: Consumer, message: Json) -> int:
    return 204


@dataclass
class Consumer:
    """A server that is told; ``told`` are the messages that it has acknowledged, in order.

    ``answering`` decides what it answers, ``seen`` are all requests (headers, body).
    """

    url: str = ""
    answering: Answering = _acknowledges
    told: list[Json] = field(default_factory=list)
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.read()
        self.seen.append((dict(request.headers), content))
        message = json.loads(content)
        answer = await self.answering(self, message)
        if isinstance(answer, web.StreamResponse):
            return answer
        if 200 <= answer < 300:
            self.told.append(message)
        return web.Response(status=answer)

    @property
    def positions(self) -> list[int]:
        """The positions of the events that it has acknowledged."""
        return [message["data"]["position"] for message in self.told]

    def verified(self, secret: str) -> list[Json]:
        """All that it was sent, each checked with the library that consumers use."""
        key = Webhook(secret)
        return [key.verify(content, headers) for headers, content in self.seen]

    def by_entity(self) -> dict[str, list[int]]:
        """The versions that it was told of each entity, in that order."""
        found: dict[str, list[int]] = {}
        for message in self.told:
            data = message["data"]
            name = f"{data['entity']['kind']}/{data['entity']['id']}"
            found.setdefault(name, []).append(data["version"])
        return found


@asynccontextmanager
async def consuming(answering: Answering = _acknowledges, port: int = 0) -> AsyncIterator[Consumer]:
    """A consumer that listens, on a port of its own unless one is given."""
    consumer = Consumer(answering=answering)
    runner = web.ServerRunner(web.Server(consumer.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    consumer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield consumer
    finally:
        await runner.cleanup()


@dataclass
class Subscribed(World):
    """A usable organisation with the subscription ``W``."""

    secret: str = ""

    @property
    def operator(self) -> Operator:
        """Who registers it."""
        return Operator(self.api)

    async def subscribe(self, url: str, id_: str = "W", **fields: Any) -> Json:
        """Registers a subscription: what is answered."""
        data = json.dumps({"url": url} | fields).encode()
        status, answer = await self.operator.send("PUT", f"webhook/{id_}", data=data)
        assert status == 200, answer
        self.secret = answer["data"].get("secret", self.secret)
        return dict(answer["data"])

    async def asked(self, verb: str, path: str, **query: Any) -> tuple[int, Json]:
        """Status and envelope of a call of an operator."""
        given = {"organisation": self.api.organisation}
        given |= {name.rstrip("_"): str(value) for name, value in query.items()}
        key = {"Authorization": f"Bearer {OPERATOR_KEY}"}
        path = f"/operator/v1/webhooks{path}"
        status, answer, _ = await self.api.service.send(verb, path, query=given, headers=key)
        return status, answer

    async def stands(self, id_: str = "W") -> Json:
        """How the subscription stands."""
        status, answer = await self.asked("GET", "")
        assert status == 200, answer
        return next(dict(one) for one in answer["data"] if one["id"] == id_)

    async def log(self, id_: str = "W", **query: Any) -> list[Json]:
        """The delivery log, the last request first."""
        status, answer = await self.asked("GET", f"/{id_}/deliveries", **query)
        assert status == 200, answer
        return list(answer["data"])

    async def reaches(self, seconds: float = 20, id_: str = "W", **wanted: Any) -> Json:
        """Waits until the subscription stands so."""
        async with asyncio.timeout(seconds):
            while True:
                now = await self.stands(id_)
                if all(now[name] == value for name, value in wanted.items()):
                    return now
                await asyncio.sleep(0.02)

    async def told_all(self, id_: str = "W") -> Json:
        """Waits until the subscriber lacks nothing."""
        return await self.reaches(id_=id_, lag_positions=0)


async def subscribed(service: Service, url: str, **fields: Any) -> Subscribed:
    """A fresh organisation with a subscription to its events."""
    made = await world(Api(service))
    own = Subscribed(made.api)
    await own.subscribe(url, **fields)
    return own


@asynccontextmanager
async def deliverer(
    url: str, pace: DeliveryPolicy = QUICK, *, networks: Any = LOOPBACK, **more: Any
) -> AsyncIterator[WebhookDispatcher]:
    """A deliverer that runs in this process."""
    lanes, stop = ConnectionPool(url, 2, role=ROLE), asyncio.Event()
    secrets = SecretHasher(environment(url)["CRMLEDGER_SERVICE_KEY"])
    async with HttpWebhookClient(networks, timeout=pace.timeout) as sender:
        made = WebhookDispatcher(lanes, Listener(url, ROLE), sender, secrets, pace=pace, **more)
        running = asyncio.create_task(made.run(stop))
        try:
            yield made
        finally:
            stop.set()
            await running
    await lanes.close()
    secrets.close()


def program(url: str, **settings: str) -> AbstractAsyncContextManager[Program]:
    """``crmledger deliver`` on a database, killed at the end."""
    words = ("--lease", "1", "--timeout", "0.5", "--pause", "0.05", "--first-retry", "0.05")
    known = environment(url, CRMLEDGER_WEBHOOK_NETWORKS="127.0.0.0/8", **settings)
    return attended(known, "deliver", *words)
