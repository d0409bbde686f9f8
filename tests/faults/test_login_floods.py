"""A flood of wrong logins keeps nobody waiting: work is counted, not time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from infra.password_hasher import SecretHasher
from tests.fixtures.access_tokens import LOGIN, TokensClient, from_address, tokens_client
from tests.fixtures.service import PASSWORD, Api, run_in_process

pytestmark = pytest.mark.slow

SOURCES, EACH = 30, 100


class Comparisons:
    """Counts slow comparisons, and holds them up until the flood is there."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self.count = 0
        self.may_go_on = asyncio.Event()
        self._real = real

    async def verify(self, hasher: SecretHasher, *arguments: Any) -> bool:
        await self.may_go_on.wait()
        self.count += 1
        return bool(await self._real(hasher, *arguments))


async def test_a_right_login_waits_for_few_of_three_thousand_wrong_ones(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_in_process(database) as service, AsyncExitStack() as stack:
        client = await tokens_client(service)
        comparisons = Comparisons(SecretHasher.verify)

        async def verify(hasher: SecretHasher, *arguments: Any) -> bool:
            return await comparisons.verify(hasher, *arguments)

        monkeypatch.setattr(SecretHasher, "verify", verify)
        flood = [
            asyncio.create_task(log_in(client, api, f"wrong-{n}"))
            for source in range(SOURCES)
            for api in [
                await stack.enter_async_context(from_address(client.api, f"127.0.3.{source + 1}"))
            ]
            for n in range(EACH)
        ]
        refused = await first(flood, SOURCES * EACH - 400)
        assert {answer["status"]["code"].split(".")[-1] for answer in refused} == {
            "TOOMANYREQUESTSEXCEPTION"
        }
        assert comparisons.count == 0
        home = await stack.enter_async_context(from_address(client.api, "127.0.3.200"))
        right = asyncio.create_task(log_in(client, home, PASSWORD))
        await asyncio.sleep(0)
        comparisons.may_go_on.set()
        answer = await right
        assert answer["status"]["code"] == "OK", answer
        # One turn of each source at most, and those that were under way.
        assert comparisons.count <= 2 * SOURCES
        await asyncio.gather(*flood)
        assert comparisons.count < SOURCES * EACH / 5


async def log_in(client: TokensClient, api: Api, password: str) -> Any:
    body = {"username": "demo", "password": password, "organisation": client.api.organisation}
    return await api.open(LOGIN, body)


async def first(tasks: list[asyncio.Task[Any]], count: int) -> list[Any]:
    """The results of the tasks that are done, once there are so many."""
    async with asyncio.timeout(120):
        while sum(task.done() for task in tasks) < count:
            await asyncio.sleep(0.01)
    return [task.result() for task in tasks if task.done()]
