"""What the guard must not give away, and whom it must not keep out (access_tokens.md, section 9)."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.contract.test_guard import (
    LIMITS,
    NAMED,
    PER_SOURCE,
    PER_SPRAY,
    PER_TOKEN,
    Kind,
    address,
    authentication_code,
    code_in_an_identifier,
    customer_token,
    name_of,
    new_user,
    one_time_password_alone,
    password,
)
from tests.fixtures.access_tokens import (
    CONSUMER_KEY_LOGIN,
    LOGIN,
    ON,
    TokensClient,
    basic,
    by_code,
    from_address,
    tokens_client,
    try_secrets,
    unique_code,
)
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import PASSWORD, Api, Service

Json = dict[str, Any]
COUNT_ROWS = "SELECT count(*) FROM ledger.guesses WHERE organisation = $1"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    made = await tokens_client(service)
    await made.register_settings(guess_limits=LIMITS)
    made.api.token = await made.api.login()
    return made


@pytest.mark.parametrize(
    "kind",
    [*NAMED, authentication_code, code_in_an_identifier, one_time_password_alone],
    ids=name_of,
)
async def test_from_where_it_was_right_before_tries_are_limited_as_well(
    client: TokensClient, kind: Kind
) -> None:
    """Else a code that somebody there has shown could be found by trying all of them."""
    secret = await kind(client)
    async with from_address(client.api, address()) as home:
        assert await secret.show(home, None) == ("OK", 0)
        for n in range(PER_SOURCE):
            assert await secret.show(home, f"wrong-{n}") == (secret.refused, 0)
        name, wait = await secret.show(home, None)
        assert (name, wait > 0) == (secret.refused, True)


async def test_one_who_sprays_learns_no_code_that_is_known_there(client: TokensClient) -> None:
    """The wait of a source that has tried many secrets holds for codes, too, right or wrong."""
    code, users = await authentication_code(client), [await password(client) for _ in range(9)]
    assert len(users) == PER_SPRAY
    async with from_address(client.api, address()) as home:
        assert await code.show(home, None) == ("OK", 0)
        for user in users:
            assert (await user.show(home, "wrong"))[1] == 0
        waits = [(await code.show(home, wrong))[1] > 0 for wrong in (None, "wrong")]
        assert waits == [True, True]


async def test_a_code_with_a_wrong_one_time_password_is_a_try_of_the_code(
    client: TokensClient,
) -> None:
    """Else the refusal of the one would tell without limit whether there is the other."""
    token = await customer_token(client)
    session = await client.api.login(await new_user(client))
    guesser = Api(client.api.service, client.api.organisation, session)

    async def show(code: str) -> tuple[str, bool]:
        shown = {"authentication_code": code, "one_time_password": "X"}
        name, wait = await try_secrets(guesser, *client.reference_to(shown))
        return name, wait > 0

    for n in range(PER_SOURCE):
        assert await show(f"wrong-{n}") == ("ENTITYNOTFOUND", False)
    right = token["authentication_code"]
    assert [await show(code) for code in ("wrong", right)] == [("ENTITYNOTFOUND", True)] * 2


async def test_whoever_waits_leaves_nothing_behind(client: TokensClient) -> None:
    body = {"organisation": client.api.organisation, "password": "wrong"}
    async with from_address(client.api, address()) as source:
        for _ in range(PER_SPRAY):
            await try_secrets(source, LOGIN, body | {"username": unique_code("nobody")}, {})
        before = (await query_rows(client.api, COUNT_ROWS))[0][0]
        for _ in range(PER_SPRAY):
            name = {"username": unique_code("nobody")}
            assert (await try_secrets(source, LOGIN, body | name, {}))[1] > 0
        assert (await query_rows(client.api, COUNT_ROWS))[0][0] == before


async def test_a_right_login_takes_its_own_wait_back(client: TokensClient) -> None:
    """Behind one address are many: one who logs in as the last free try must not let the others wait."""
    one, other, *wrong = [await password(client) for _ in range(PER_SPRAY + 1)]
    async with from_address(client.api, address()) as office:
        for secret in wrong:
            assert (await secret.show(office, "wrong"))[1] == 0
        assert await one.show(office, None) == ("OK", 0)
        assert await other.show(office, None) == ("OK", 0)
        assert (await wrong[0].show(office, "wrong"))[1] == 0
        assert (await wrong[1].show(office, "wrong"))[1] > 0


async def test_from_many_addresses_a_right_login_takes_its_own_wait_back(
    client: TokensClient,
) -> None:
    secret = await password(client)
    for n in range(PER_TOKEN - 1):
        async with from_address(client.api, address()) as stranger:
            assert await secret.show(stranger, f"wrong-{n}") == (secret.refused, 0)
    for _ in range(3):
        async with from_address(client.api, address()) as place:
            assert await secret.show(place, None) == ("OK", 0)


async def test_an_operator_lifts_waits_and_not_the_memory_of_success(client: TokensClient) -> None:
    username = await new_user(client)
    named = {"username": username, "organisation": client.api.organisation}

    async def attack() -> None:
        for _ in range(PER_TOKEN):
            async with from_address(client.api, address()) as stranger:
                await try_secrets(stranger, LOGIN, named | {"password": "wrong"}, {})

    right = named | {"password": PASSWORD}
    async with from_address(client.api, address()) as home:
        assert await try_secrets(home, LOGIN, right, {}) == ("OK", 0)
        await attack()
        await client.forgive(f"users/{username}")
        await attack()
        assert await try_secrets(home, LOGIN, right, {}) == ("OK", 0)


async def test_codes_at_unknown_organisations_are_tries_of_codes(client: TokensClient) -> None:
    async with from_address(client.api, address()) as source:
        for organisation in (client.api.organisation, "NOWHERE"):
            waits = []
            for n in range(6):
                body = {ON: {"authentication_code": f"code-{n}"}, "organisation": organisation}
                name, wait = await try_secrets(source, LOGIN, body)
                assert name == "INVALIDCREDENTIALS"
                waits.append(wait > 0)
            assert (waits[0], waits[-1]) == (False, True)


async def test_a_right_code_is_read_and_nothing_is_written(client: TokensClient) -> None:
    token = await customer_token(client)
    sql = "SELECT count(*), max(g::text) FROM ledger.guesses g WHERE organisation = $1"
    before = await query_rows(client.api, sql)
    for _ in range(3):
        shown = {ON: by_code(token)}
        assert await try_secrets(client.api, "access_tokens/show", shown) == ("OK", 0)
        headers = basic(client.key)
        assert await try_secrets(client.api, CONSUMER_KEY_LOGIN, shown, headers) == ("OK", 0)
    assert await query_rows(client.api, sql) == before
