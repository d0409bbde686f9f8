"""Names that nobody has cost the same work as names that somebody has: access_tokens.md, section 1.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

from infra.password_hasher import SecretHasher
from infra.store.postgres_store import PostgresStore
from tests.fixtures.access_tokens import (
    CONSUMER_KEY_LOGIN,
    LOGIN,
    ON,
    TokensClient,
    basic,
    tokens_client,
    unique_code,
)
from tests.fixtures.service import Service

Json = dict[str, Any]
WORK = ((SecretHasher, "verify"), (PostgresStore, "count_guess"), (PostgresStore, "secret"))


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    made = await tokens_client(service)
    made.api.token = await made.api.login()
    return made


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The costly steps that calls take, in their order."""
    steps: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        async def step(*arguments: Any, **more: Any) -> Any:
            steps.append(name)
            return await real(*arguments, **more)

        return step

    for owner, name in WORK:
        monkeypatch.setattr(owner, name, noted(name, getattr(owner, name)))
    return steps


def places(client: TokensClient, shown: Json) -> list[tuple[str, Json, Json]]:
    """Every place where a name with its secret is shown."""
    named = {"organisation": client.api.organisation}
    return [
        ("access_tokens/show", {ON: shown}, {}),
        ("access_tokens/update", {ON: shown}, {}),
        (*client.reference_to(shown), {}),
        (LOGIN, {ON: shown} | named, {}),
        (CONSUMER_KEY_LOGIN, {ON: shown}, basic(client.key)),
    ]


async def test_unknown_and_known_names_cost_the_same(client: TokensClient, done: list[str]) -> None:
    keyed, bare = await client.create_keyed_token(), await client.create_token()
    names = [keyed["identifier"], unique_code(), bare["authentication_code"]]
    for n in range(5):
        found = []
        for name in names:
            path, body, headers = places(client, {"identifier": name, "pass_code": "wrong"})[n]
            done.clear()
            answer = await client.api.open(path, {"token": client.api.token} | body, headers)
            found.append((done[:], answer))
        # A web API key is counted, too, where there is one.
        assert found[0][0][-3:] == ["secret", "count_guess", "verify"]
        assert found == [found[0]] * len(names)


async def test_one_time_passwords_of_unknown_names_too(
    client: TokensClient, done: list[str]
) -> None:
    account = {"id": await client.register_account()}
    token = await client.create_keyed_token(accounts_receivable_identifier=account)
    await client.one_time_password(token)
    found = []
    for name in (token["identifier"], unique_code()):
        done.clear()
        refused = await client.add_reference({"identifier": name, "one_time_password": "wrong"})
        found.append((done[:], refused))
    assert found == [(["secret", "count_guess"], "INVALIDONETIMEPASSWORD")] * 2


async def test_logins_to_unknown_organisations_are_as_slow(
    client: TokensClient, done: list[str]
) -> None:
    shown = {"identifier": unique_code(), "pass_code": "x"}
    for body in ({ON: shown}, {"username": "demo", "password": "x"}):
        done.clear()
        await client.api.open(LOGIN, body | {"organisation": "nowhere"})
        assert "verify" in done
