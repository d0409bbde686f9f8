"""Each method with each kind of session: contract common.md, section 11, and authentication.md, 2."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio
from PIL import Image

from services.pipeline.method import METHODS
from tests.fixtures.access_tokens import (
    CONSUMER_KEY_LOGIN,
    ON,
    ConsumerSession,
    TokensClient,
    basic,
    by_code,
    tokens_client,
    unique_code,
)
from tests.fixtures.communications import ERROR
from tests.fixtures.organisation import UNIT, person, untouched
from tests.fixtures.service import PASSWORD, Api, Service, environment, refusal

Json = dict[str, Any]
SECRET = environment("")["CRMLEDGER_TOKEN_SECRET"]
SIGNED_IN = [path for path, method in METHODS.items() if method.needs_session]

OPEN: dict[str, set[str]] = {
    "authentication": {"token/release"},
    "contact_information": {
        "show",
        "update",
        "profile_photo/view",
        "profile_photo/add",
        "profile_photo/remove",
    },
    "communications": {"show", "list", "set_as_viewed", "create", "update"},
    "access_tokens": {
        "show",
        "list",
        "update",
        "verify",
        "reset_pass_code",
        "reset_verification_code",
        "generate_otp",
    },
    "service_requests": {
        "show",
        "list",
        "get_overdue",
        "get_pending",
        "get_close_to_estimated_completion_time",
        "get_responded",
        "get_responded_pending_acceptance",
        "get_temporary_resolved",
        "get_temporary_resolved_pending_acceptance",
        "get_final_resolved",
        "get_final_resolved_pending_acceptance",
        "get_completed",
        "create",
        "response_accept",
        "temporary_resolution_accept",
        "final_resolution_accept",
        "cancel",
    },
}
"""What is open to consumer sessions (common.md, section 11); each may end itself."""


def is_open(path: str) -> bool:
    """Raises ``KeyError`` for a resource of which the contract says nothing here."""
    resource, _, rest = path.partition("/")
    return rest in OPEN[resource]


def image() -> bytes:
    picture = BytesIO()
    Image.new("L", (8, 8)).save(picture, "PNG")
    return picture.getvalue()


async def call(api: Api, path: str, given: Json) -> Json:
    """The envelope of a call as its verb wants it; identifiers are objects of one field."""
    method = METHODS[path]
    if method.verb == "POST" and not method.multipart:
        return await api.call("POST", path, body=given)
    texts = {
        name: "=".join(next(iter(value.items()))) if isinstance(value, dict) else str(value)
        for name, value in given.items()
    }
    if method.multipart:
        return await api.call("POST", path, form=texts, file=("me.png", image(), "image/png"))
    return await api.call("GET", path, query=texts)


def outcome(answer: Json) -> str:
    return "OK" if answer["status"]["code"] == "OK" else refusal(answer)[0]


OTHER_ROLES = (["auditor"], ["operator"], ["analyst"], ["auditor", "operator", "analyst"], [])
"""Roles of users who may not call the methods: those need `service` (reference_entities.md, section 3.10)."""


async def begin_with_roles(here: TokensClient, roles: list[str]) -> Api:
    """A session of a new user with these roles."""
    user = {"username": unique_code("r"), "default_unit_id": UNIT, "roles": roles}
    await here.register("user", user["username"], **user, password=PASSWORD)
    token = await here.api.login(user["username"])
    return Api(here.api.service, here.api.organisation, token)


@dataclass(frozen=True)
class Sessions:
    """The kinds of session, as seen from the data of one customer of one organisation."""

    here: TokensClient
    own: ConsumerSession
    another: ConsumerSession
    abroad: TokensClient
    abroad_customer: ConsumerSession
    dead: dict[str, Api]
    without_service: dict[str, Api]


@pytest_asyncio.fixture(scope="module")
async def all_(service: Service) -> Sessions:
    here, abroad = await tokens_client(service), await tokens_client(service)
    dead = {}
    for kind in ("user", "customer"):

        async def begun(kind: str = kind) -> str:
            return (
                await here.api.login()
                if kind == "user"
                else (await here.consumer_session()).api.token
            )

        released = await begun()
        await here.api.open("authentication/token/release", {"token": released})
        claims = jwt.decode(await begun(), SECRET, algorithms=["HS256"])
        dead[f"released {kind}"] = released
        for what, other in (
            ("expired", {"exp": int(time.time()) - 1}),
            ("unknown", {"jti": uuid4().hex.upper()}),
            ("turned", {"cii": here.recipient, "acr": "AR1"}),
        ):
            dead[f"{what} {kind}"] = jwt.encode(claims | other, SECRET)
    dead["none"] = " "
    apis = {kind: Api(service, here.api.organisation, token) for kind, token in dead.items()}
    here.api.token, abroad.api.token = await here.api.login(), await abroad.api.login()
    own, another = await here.consumer_session(), await here.consumer_session()
    others = {
        "-".join(roles) or "nothing": await begin_with_roles(here, roles) for roles in OTHER_ROLES
    }
    return Sessions(here, own, another, abroad, await abroad.consumer_session(), apis, others)


@pytest.mark.parametrize("path", SIGNED_IN)
async def test_who_may_call_at_all(all_: Sessions, path: str) -> None:
    """With nothing given, so that a call that is let through is refused for its parameters."""
    closed = "ACCESSDENIED"
    for customer in (all_.own, all_.another, all_.abroad_customer):
        if path != "authentication/token/release":
            found = outcome(await call(customer.api, path, {}))
            assert (found == closed) is not is_open(path), found
    for user in (all_.here.api, all_.abroad.api):
        if path != "authentication/token/release":
            assert outcome(await call(user, path, {})) not in (closed, "INVALIDTOKEN")
    for kind, api in all_.without_service.items():
        if path != "authentication/token/release":
            assert outcome(await call(api, path, {})) == closed, kind
    for kind, api in all_.dead.items():
        expected = "TOKENEXPIRED" if kind.startswith("expired") else "INVALIDTOKEN"
        if kind == "none" and METHODS[path].targets_session:
            expected = "MANDATORYPARAMETER"
        assert outcome(await call(api, path, {})) == expected, kind


Giving = Callable[[TokensClient, ConsumerSession], Awaitable[Json]]


def contact(customer: ConsumerSession) -> Json:
    return {"contact_information_identifier": {"id": customer.contact}}


def of_contact(**more: Any) -> Giving:
    async def give(here: TokensClient, customer: ConsumerSession) -> Json:
        return contact(customer) | more

    return give


def of_communication(**more: Any) -> Giving:
    async def give(here: TokensClient, customer: ConsumerSession) -> Json:
        said = await here.create(**contact(customer), direction="INCOMING", **more)
        return {"communication_identifier": {"id": said["id"]}}

    return give


def of_entry(**more: Any) -> Giving:
    async def give(here: TokensClient, customer: ConsumerSession) -> Json:
        entry = await here.create_email(**contact(customer))
        return {"communication_queue_identifier": {"id": entry["id"]}} | more

    return give


def of_token(state: str, *, plain: bool = False, code: bool = False) -> Giving:
    async def give(here: TokensClient, customer: ConsumerSession) -> Json:
        keys = {"identifier": unique_code(), "pass_code": "Pass-Code1"}
        of = {"accounts_receivable_identifier": {"id": customer.account}}
        make = {
            "EFFECTIVE": here.create_token,
            "PENDING": here.create_pending_token,
            "NOT_EFFECTIVE": here.create_disabled_token,
        }
        token = await make[state](**of, **(keys if plain and state == "EFFECTIVE" else {}))
        shown = by_code(token) if plain else {ON: by_code(token)}
        return shown | ({"verification_code": token["verification_code"]} if code else {})

    return give


async def of_account(here: TokensClient, customer: ConsumerSession) -> Json:
    return {"accounts_receivable_identifier": {"id": customer.account}}


async def new_contact(here: TokensClient, customer: ConsumerSession) -> Json:
    return person()


async def new_token(here: TokensClient, customer: ConsumerSession) -> Json:
    named = await of_account(here, customer)
    return named | {"classification_identifier": {"name": "Bare"}}


INCOMING = {"direction": "INCOMING", "media": "PHONE", "subject": "x", "content": "y"}
LATEST = {"media": "EMAIL", "number": 1}
CALLS: dict[str, Giving] = {
    "communications/show": of_communication(),
    "communications/list": of_contact(),
    "communications/create": of_contact(**INCOMING),
    "communications/update": of_communication(life_cycle_state="DRAFT"),
    "communications/complete": of_communication(life_cycle_state="DRAFT"),
    "communications/set_as_viewed": of_communication(),
    "communications/queue/show": of_entry(),
    "communications/queue/list": of_contact(media="EMAIL"),
    "communications/queue/get_latest": of_contact(**LATEST),
    "communications/queue/get_pending_completed": of_contact(media="EMAIL"),
    "communications/queue/process": of_entry(),
    "communications/queue/reject": of_entry(**ERROR),
    "communications/queue/remove": of_entry(),
    "contact_information/show": of_contact(),
    "contact_information/list": of_contact(id_number="nobody's"),
    "contact_information/create": new_contact,
    "contact_information/update": of_contact(notes="x"),
    "contact_information/profile_photo/view": of_contact(),
    "contact_information/profile_photo/add": of_contact(),
    "contact_information/profile_photo/remove": of_contact(),
    "access_tokens/show": of_token("EFFECTIVE"),
    "access_tokens/list": of_account,
    "access_tokens/get_not_associated": of_contact(number=1),
    "access_tokens/create": new_token,
    "access_tokens/update": of_token("EFFECTIVE"),
    "access_tokens/verify": of_token("PENDING", code=True),
    "access_tokens/reset_pass_code": of_token("EFFECTIVE", plain=True),
    "access_tokens/reset_verification_code": of_token("PENDING", plain=True),
    "access_tokens/generate_otp": of_token("EFFECTIVE"),
    "access_tokens/set_as_effective": of_token("NOT_EFFECTIVE"),
    "access_tokens/set_as_not_effective": of_token("EFFECTIVE"),
}
"""An accepted call of each method about what is a customer's."""
NAMING_NOTHING = {
    "contact_information/list",
    "contact_information/create",
    "access_tokens/get_not_associated",
}
"""Methods that name no entity, so that other organisations may call them, with their own data."""


def test_every_method_is_called() -> None:
    later = {path for path in SIGNED_IN if path.startswith("service_requests/")}
    assert CALLS.keys() == set(SIGNED_IN) - later - {"authentication/token/release"}


@pytest.mark.parametrize("path", CALLS)
async def test_whose_data_it_is(all_: Sessions, path: str) -> None:
    here, own = all_.here, all_.own
    given = await CALLS[path](here, own)
    async with untouched(here.api):
        for kind, api in all_.dead.items():
            expected = "TOKENEXPIRED" if kind.startswith("expired") else "INVALIDTOKEN"
            assert outcome(await call(api, path, given)) == expected
        for kind, api in all_.without_service.items():
            assert outcome(await call(api, path, given)) == "ACCESSDENIED", kind
        strangers = "ENTITYNOTFOUND" if is_open(path) else "ACCESSDENIED"
        for customer in (all_.another, all_.abroad_customer):
            assert outcome(await call(customer.api, path, given)) == strangers
        if not is_open(path):
            assert outcome(await call(own.api, path, given)) == "ACCESSDENIED"
        if path not in NAMING_NOTHING:
            assert outcome(await call(all_.abroad.api, path, given)) == "ENTITYNOTFOUND"
    if is_open(path):
        assert outcome(await call(own.api, path, given)) == "OK"
        given = await CALLS[path](here, own)
    assert outcome(await call(here.api, path, given)) == "OK"


async def test_who_needs_no_service(all_: Sessions) -> None:
    """Whoever has any role, or none, may end the own session; each role is one more, and taken away at once."""
    here = all_.here
    for roles in OTHER_ROLES:
        api = await begin_with_roles(here, roles)
        assert outcome(await api.call("POST", "authentication/token/release", body={})) == "OK"
        assert outcome(await call(api, "contact_information/show", {})) == "INVALIDTOKEN"
    user = {"username": unique_code("r"), "default_unit_id": UNIT, "password": PASSWORD}
    await here.register("user", "RR", **user)
    api = Api(here.api.service, here.api.organisation, await here.api.login(user["username"]))
    shown = contact(all_.own)
    for roles, expected in (
        (None, "OK"),
        (["auditor"], "ACCESSDENIED"),
        (["auditor", "service"], "OK"),
    ):
        await here.register("user", "RR", **user, roles=roles)
        assert outcome(await call(api, "contact_information/show", shown)) == expected


async def test_a_customer_s_user_needs_no_service(all_: Sessions) -> None:
    """The user of an application is nobody who works there."""
    here, key = all_.here, uuid4().hex.upper()
    user = {"username": unique_code("r"), "default_unit_id": UNIT, "roles": []}
    await here.register("user", "RA", **user)
    application = {"classification": "CONSUMER_APPLICATION_KEY", "user_id": "RA", "key": key}
    await here.register("web_api_key", "RK", **application)
    body = {ON: by_code(all_.own.token)}
    token = (await here.api.open(CONSUMER_KEY_LOGIN, body, basic(key)))["data"]["token"]
    api = Api(here.api.service, here.api.organisation, token)
    assert outcome(await call(api, "contact_information/show", contact(all_.own))) == "OK"


async def test_photos_are_methods_too(all_: Sessions) -> None:
    photo = await all_.here.api.call(
        "POST",
        "contact_information/profile_photo/add",
        form={"contact_information_identifier": f"id={all_.own.contact}"},
        file=("me.png", image(), "image/png"),
    )
    path, _, id_ = photo["data"]["file_content_url"].partition("?id=")
    for api, status in (
        (all_.here.api, 200),
        (all_.own.api, 200),
        (all_.another.api, 404),
        *((api, 404) for api in all_.without_service.values()),
    ):
        found, _, _ = await api.service.send("GET", path, query={"id": id_, "token": api.token})
        assert found == status
