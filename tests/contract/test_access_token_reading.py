"""Methods 26 to 28, what is shown of access tokens and by whom which secret: sections 6.1, 6.2, 7 and 8."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.contract.shapes import SHAPES, assert_shape
from tests.fixtures.access_tokens import (
    BARE,
    ON,
    PASS_CODE,
    VERIFIED,
    TokensClient,
    by_code,
    tokens_client,
    unique_code,
)
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
LIST = "access_tokens/list"
ACCOUNT, PARTICIPANT = "accounts_receivable_identifier", "rewards_participant_identifier"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


async def ids(client: TokensClient, **query: Any) -> list[str]:
    return [token["id"] for token in await client.api.get(LIST, **query)]


async def test_tokens_of_an_account_or_participant_in_their_order(client: TokensClient) -> None:
    account = await client.register_account()
    participant = await client.register_participant(account)
    of_both = await client.create_token(
        **{ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}}
    )
    of_account = await client.create_token(**{ACCOUNT: {"id": account}})
    of_participant = await client.create_pending_token(**{PARTICIPANT: {"id": participant}})
    off = await client.create_disabled_token(**{ACCOUNT: {"id": account}})
    expected = [of_both["id"], of_account["id"], off["id"]]
    assert await ids(client, **{ACCOUNT: f"number={account}"}) == expected
    found = await client.api.get(LIST, **{PARTICIPANT: f"id={participant}"})
    assert found == [await client.show_token(token) for token in (of_both, of_participant)]
    page = {"number_of_results": 1, "offset": 1, ACCOUNT: f"id={account}"}
    assert await ids(client, **page) == expected[1:2]
    assert await ids(client, **page | {"offset": 3}) == []


async def test_the_filter_on_classifications(client: TokensClient) -> None:
    account = await client.register_account()
    of = {ACCOUNT: {"id": account}}
    bare, pending = await client.create_token(**of), await client.create_pending_token(**of)
    named = {ACCOUNT: f"id={account}"}
    for classification, token in ((BARE, bare), (VERIFIED, pending)):
        query = named | {"classification_identifier": f"name={classification['name']}"}
        assert await ids(client, **query) == [token["id"]]


async def test_a_retired_account_can_still_be_asked_for(client: TokensClient) -> None:
    account = await client.register_account()
    token = await client.create_token(**{ACCOUNT: {"id": account}})
    await client.register_account(account, retired=True)
    assert await ids(client, **{ACCOUNT: f"number={account}"}) == [token["id"]]


LISTS: list[tuple[Json, str, str]] = [
    ({}, "SEMIOPTIONALPARAMETER", ""),
    ({ACCOUNT: "id=AR1", PARTICIPANT: "id=RP1"}, "SEMIOPTIONALPARAMETER", ""),
    ({"classification_identifier": "name=Bare"}, "SEMIOPTIONALPARAMETER", ""),
    ({ACCOUNT: "id=nothing"}, "ENTITYNOTFOUND", ACCOUNT),
    ({PARTICIPANT: "number=nothing"}, "ENTITYNOTFOUND", PARTICIPANT),
    ({ACCOUNT: "id=AR1", "classification_identifier": "name=x"}, "ENTITYNOTFOUND", "classification_identifier"),
    ({ACCOUNT: "{}"}, "SEMIOPTIONALPARAMETER", ""),
    ({ACCOUNT: "id=AR1", "offset": "-1"}, "INVALIDPARAMETERVALUE", "offset"),
]  # fmt: skip


@pytest.mark.parametrize("case", LISTS, ids=lambda c: f"{c[1]}-{c[0]}")
async def test_lists_refused(client: TokensClient, case: tuple[Json, str, str]) -> None:
    query, name, description = case
    found = refusal(await client.api.call("GET", LIST, query=query))
    assert found[0] == name
    assert not description or found[1] == description


async def test_both_spellings_select_the_participant(client: TokensClient) -> None:
    token = await client.create_token(**{PARTICIPANT: {"id": "RP1"}})
    for name in ("reward_participant", "rewards_participant"):
        for method, more in (("show", {}), ("update", {"udf_string_1": name})):
            shown = await client.call_token(method, token, fields_set=f"id, {name}", **more)
            assert shown.keys() == {"id", "reward_participant"}
            assert shown["reward_participant"]["number"] == "RPN1"
        listed = await client.api.get(LIST, **{PARTICIPANT: "id=RP1"}, fields_set=name)
        assert {tuple(token) for token in listed} == {("reward_participant",)}
    assert await client.show_token(token, fields_set="nothing") == {}


async def test_reading_stores_nothing(client: TokensClient) -> None:
    token = await client.create_keyed_token(**{ACCOUNT: {"id": "AR1"}})
    async with untouched(client.api):
        await client.show_token(token)
        await ids(client, **{ACCOUNT: "id=AR1"})
        await client.api.get("access_tokens/get_not_associated", number=5)


SECRETS = ("pass_code", "random_pass_code", "one_time_password")
SHOWS: dict[str, tuple[str, ...]] = {
    "create": (),
    "create pending": ("verification_code",),
    "show": (),
    "list": (),
    "get_not_associated": (),
    "update": (),
    "verify": ("verification_code",),
    "reset_pass_code": ("random_pass_code",),
    "reset_verification_code": ("verification_code",),
    "generate_otp": ("one_time_password",),
    "set_as_effective": (),
    "set_as_not_effective": (),
}
"""Which secret each method may show (section 8); none shows a second one."""


async def answers(client: TokensClient) -> dict[str, Json]:
    """One answer of each method; in the lists a token with every secret."""
    account = await client.register_account()
    of = {ACCOUNT: {"id": account}}
    keyed = await client.create_keyed_token(**of)
    await client.one_time_password(keyed)
    pending = await client.create_pending_token(identifier=unique_code(), pass_code=PASS_CODE, **of)
    found = {"create": keyed, "create pending": pending}
    found["show"] = await client.show_token(pending)
    found["update"] = await client.call_token(
        "update", pending, pass_code="Other1", udf_string_1="x"
    )
    (found["list"],) = await client.api.get(LIST, **{ACCOUNT: f"id={account}"}, offset=1)
    (found["get_not_associated"],) = await client.api.get(
        "access_tokens/get_not_associated", number=1
    )
    found["reset_verification_code"] = reset = await client.call_token(
        "reset_verification_code", pending
    )
    code = {"verification_code": reset["verification_code"]}
    found["verify"] = await client.call_token("verify", pending, **code)
    for method in ("reset_pass_code", "generate_otp", "set_as_not_effective", "set_as_effective"):
        found[method] = await client.call_token(method, keyed)
    return found


async def test_which_method_shows_which_secret(client: TokensClient) -> None:
    await client.create_pending_token()  # one that is not associated
    found = await answers(client)
    assert found.keys() == SHOWS.keys()
    for case, answer in found.items():
        shown = [n for n in (*SECRETS, "verification_code") if answer.get(n) is not None]
        assert tuple(shown) == SHOWS[case], case
        assert not (set(SECRETS) - set(SHOWS[case])) & answer.keys(), case
        path = f"access_tokens/{case.partition(' ')[0]}"
        shape = SHAPES[path]
        assert_shape([answer] if path.endswith(("list", "associated")) else answer, shape)


async def test_a_secret_cannot_be_asked_for_again(client: TokensClient) -> None:
    token = await client.create_pending_token()
    fields = "verification_code,pass_code,random_pass_code,one_time_password"
    assert await client.show_token(token, fields_set=fields) == {"verification_code": None}
    cut = await client.call_token("reset_verification_code", token, fields_set="id")
    assert cut == {"id": token["id"]}


async def test_the_compact_object_in_communications(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    for shown in (by_code(token), {"identifier": token["identifier"]}):
        said = await client.create(referring_to={ON: shown})
        names = ("id", "number", "authentication_code", "life_cycle_state")
        assert said["referring_to"]["access_token"] == {name: token[name] for name in names}


async def test_it_shows_the_token_as_it_is_now(client: TokensClient) -> None:
    token = await client.create_token()
    said = await client.create(referring_to={ON: by_code(token)})
    await client.call_token("set_as_not_effective", token)
    now = (await client.show(said))["referring_to"]["access_token"]
    assert now["life_cycle_state"] == "NOT_EFFECTIVE"
