"""Canonically equal texts are one text wherever texts are compared (contract common.md, section 7).

Each value is stored in one form of Unicode and named in the other; it is sent back as it came.
"""

from __future__ import annotations

from typing import Any
from unicodedata import normalize

import pytest
import pytest_asyncio

from tests.fixtures.access_tokens import (
    ON,
    TokensClient,
    by_code,
    by_pass_code,
    tokens_client,
    unique_code,
)
from tests.fixtures.organisation import UNIT, OrganisationClient
from tests.fixtures.read_models import run_verify
from tests.fixtures.service import PASSWORD, Service, refusal

FORMS = [("NFC", "NFD"), ("NFD", "NFC")]
Json = dict[str, Any]

pytestmark = pytest.mark.parametrize(("stored", "shown"), FORMS)


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


def person(form: str, name: str, number: str, **more: Any) -> Json:
    """A person whose texts are in one form of Unicode."""
    texts = {"first_name": normalize(form, "José"), "last_name": normalize(form, name)}
    return {
        "type": "PERSON",
        **texts,
        "demographics": {"id_number": normalize(form, number)},
        **more,
    }


def other_case(text: str, form: str) -> str:
    return normalize(form, text.swapcase())


async def test_contacts(client: TokensClient, stored: str, shown: str) -> None:
    number, name = unique_code("É"), unique_code("Ἄγιος")
    email = {"type": "PERSONAL", "email_address": normalize(stored, f"{number}@é.example")}
    created = await client.create_contact(person(stored, name, number, email_set=[email]))
    assert created["last_name"] == normalize(stored, name)
    assert created["demographics"]["id_number"] == normalize(stored, number)
    again = person(shown, other_case(name, shown), number)
    assert await client.api.refused("contact_information/create", **again) == (
        "DUPLICATEENTITY",
        "name, id_number",
    )
    for query in (
        {"id_number": normalize(shown, f" {number} ")},
        {"email_address": other_case(f"{number}@é.example", shown)},
    ):
        (found,) = await client.api.get("contact_information/list", **query)
        assert found["id"] == created["id"]
        assert found["emails_set"][0]["email"] == email["email_address"]
    named = f"id_number={normalize(shown, number)}"
    path = "contact_information/show"
    assert (await client.api.get(path, contact_information_identifier=named))["id"] == created["id"]


async def test_logins(client: TokensClient, stored: str, shown: str, service: Service) -> None:
    user, password = unique_code("Zoë"), f"pässwörd-{stored}"
    record = {"username": normalize(stored, user), "default_unit_id": UNIT}
    await client.register("user", user[3:], password=normalize(stored, password), **record)
    username = other_case(user, shown)
    token = await client.api.login(username, normalize(shown, password))
    assert (await client.api.open("contact_information/create", {"token": token}))["status"]
    wrong = {"username": username, "password": password.replace("ä", "a")}
    body = wrong | {"organisation": client.api.organisation}
    assert refusal(await client.api.open("authentication/token", body))[0] == "INVALIDCREDENTIALS"


async def test_organisations(fresh: OrganisationClient, stored: str, shown: str) -> None:
    name = f"Ö{fresh.api.organisation}"
    await fresh.register_settings(name=normalize(stored, name))
    fresh.api.organisation = normalize(shown, f" {name}")
    await fresh.api.login()
    await fresh.new_contact()
    fresh.api.organisation = f"O{name[1:]}"
    body = {"username": "demo", "password": PASSWORD, "organisation": fresh.api.organisation}
    refused = refusal(await fresh.api.open("authentication/token", body))
    assert refused[0] == "INVALIDCREDENTIALS"


async def test_registered_records(client: TokensClient, stored: str, shown: str) -> None:
    name, code = unique_code("Größe"), unique_code("é")
    record = {"name": normalize(stored, name), "code": normalize(stored, code)}
    await client.register("communication_category", unique_code("MC"), **record)
    for field, value in (("name", name), ("code", code)):
        draft = await client.create_draft(category_identifier={field: normalize(shown, value)})
        assert draft["category"]["name"] == record["name"]
        assert draft["category"]["code"] == record["code"]


async def test_access_tokens(client: TokensClient, stored: str, shown: str) -> None:
    code, identifier, pass_code = unique_code("é"), unique_code("ü"), "Pässwort-1"
    named = {"authentication_code": normalize(stored, code)}
    token = await client.create_keyed_token(
        identifier=normalize(stored, identifier), pass_code=normalize(stored, pass_code), **named
    )
    assert token["authentication_code"] == named["authentication_code"]
    by_name = {"identifier": normalize(shown, identifier)}
    for given in (
        {"authentication_code": normalize(shown, code)},
        by_pass_code(by_name, normalize(shown, pass_code)),
    ):
        assert (await client.api.post("access_tokens/show", **{ON: given}))["id"] == token["id"]
    wrong = {ON: by_pass_code(by_name, "Passwort-1")}
    assert (await client.api.refused("access_tokens/show", **wrong))[0] == "ENTITYNOTFOUND"
    for name, value in (("authentication_code", code), ("identifier", identifier)):
        body = {name: normalize(shown, value)} | (
            {"pass_code": "x"} if name == "identifier" else {}
        )
        body["classification_identifier"] = {"name": "Bare"}
        assert await client.create_token_refused(**body) == ("DUPLICATEENTITY", name)
    changed = await client.call_token(
        "update", by_code(token), pass_code=normalize(shown, pass_code)
    )
    assert changed["log_information"] == token["log_information"]


async def test_the_views_are_rebuilt_alike(client: TokensClient, stored: str, shown: str) -> None:
    await client.create_contact(person(stored, unique_code("Ö"), unique_code("é")))
    assert (await run_verify(client.api.service.database)).differences == []
