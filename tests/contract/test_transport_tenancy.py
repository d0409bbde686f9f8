"""Tenancy, for every method of the registry: contract common.md, sections 11 and 12."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio

from domain.composite_fields import Object, Reference
from domain.fields import Field, JsonObject, Level, Parameters
from domain.reference.catalogue import KINDS
from domain.scalar_fields import Date, Enumeration, Integer, NonNegativeInteger
from services.pipeline.method import BASE, METHODS, Command, Method
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.organisation import GROUP, UNIT, stored_rows
from tests.fixtures.service import Service, _form, environment, refusal

Json = dict[str, Any]
SECRET = environment("")["CRMLEDGER_TOKEN_SECRET"]
CLOSED = [path for path, method in METHODS.items() if method.needs_session]
PNG = ("x.png", b"x", "image/png")


async def send(client: CommunicationsClient, method: Method, token: Any, given: Json) -> Json:
    """The envelope of a call as its verb wants it; identifiers are ``{"id": ...}``."""
    given = given | ({} if token is None else {"token": token})
    service, path = client.api.service, BASE + method.path
    if method.verb == "POST" and not method.multipart:
        return await client.api.open(method.path, given)
    texts = {k: f"id={v['id']}" if isinstance(v, dict) else str(v) for k, v in given.items()}
    if method.multipart:
        return (await service.send("POST", path, data=_form(texts, PNG)))[1]
    return (await service.send("GET", path, query=texts))[1]


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


@pytest_asyncio.fixture(scope="module")
async def tokens(client: CommunicationsClient) -> Json:
    """Tokens that must not work, by what is wrong with them."""
    released, session = await client.api.login(), await client.api.login()
    await client.api.open("authentication/token/release", {"token": released})
    claims = jwt.decode(session, SECRET, algorithms=["HS256"])
    expired = claims | {"exp": int(time.time()) - 1}
    return {
        "absent": None,
        "empty": "",
        "noise": "x.y.z",
        "foreign": jwt.encode(claims, "another-secret-of-at-least-32-bytes!"),
        "unknown": jwt.encode(claims | {"jti": uuid4().hex.upper()}, SECRET),
        "released": released,
        "expired": jwt.encode(expired, SECRET),
    }


@pytest.mark.parametrize(
    "case", ["absent", "empty", "noise", "foreign", "unknown", "released", "expired"]
)
@pytest.mark.parametrize("path", CLOSED)
async def test_no_method_without_a_session(
    client: CommunicationsClient, tokens: Json, path: str, case: str
) -> None:
    method = METHODS[path]
    expected = "TOKENEXPIRED" if case == "expired" else "INVALIDTOKEN"
    if method.targets_session and case in ("absent", "empty"):
        expected = "MANDATORYPARAMETER"
    for given in ({}, {"fields_set": "nothing", "number": "x"}):
        assert refusal(await send(client, method, tokens[case], given))[0] == expected


async def test_the_image_download_without_a_session(
    client: CommunicationsClient, tokens: Json
) -> None:
    for token in tokens.values():
        query = {"id": uuid4().hex} | ({} if token is None else {"token": token})
        status, answer, _ = await client.api.service.send(
            "GET", "/crm/ImageDownloadServlet", query=query
        )
        assert (status, refusal(answer)[0] in ("INVALIDTOKEN", "TOKENEXPIRED")) == (401, True)


def sample(row: Field) -> Any:
    """A value that the parameter accepts, of what is no reference."""
    if isinstance(row, Enumeration):
        return row.allowed[0]
    if isinstance(row, Date):
        return "2999-01-01"
    return 1 if isinstance(row, Integer | NonNegativeInteger) else "a@b"


def value_of(row: Field, ids: Json) -> Any:
    """The same of any parameter: an object has what it must have."""
    if isinstance(row, Object):
        needed = (inner for inner in row.fields if row.levels.get(inner.name) is Level.MANDATORY)
        return {inner.parameter: value_of(inner, ids) for inner in needed}
    return {"id": ids[row.target.entity]} if isinstance(row, Reference) else sample(row)


def acceptable(method: Method, wanted: Reference, inside: str, ids: Json) -> Json:
    """The parameters that must stand beside a reference for it to be looked up."""
    table, given = method.parameters, {}
    kept: JsonObject = {} if inside else {wanted.name: ids[wanted.target.entity]}
    groups = table.exactly_one | table.at_least_one
    plain = any(row.name in groups and not isinstance(row, Reference) for row, _ in table)
    for row, rule in table:
        level = rule(kept) if callable(rule) else rule
        needed = level is Level.MANDATORY
        if row.name in groups and not groups & kept.keys():
            needed = not plain or not isinstance(row, Reference)
        if needed and row.name not in kept and row.name != "file":
            value = value_of(row, ids)
            if row.name == "type" and inside == "company_profile":
                value = "COMPANY"
            given[row.parameter] = kept[row.name] = value
    for row, _ in table:
        if row.parameter == inside:
            given[inside] = value_of(row, ids)
    return given | MORE.get(method.path, {})


MORE: Json = {
    "access_tokens/create": {"identifier": "it", "pass_code": "1"},
    "service_requests/create": {"assigned_to": {"unit_identifier": {"id": UNIT}}},
    "service_requests/update": {"status_identifier": {"id": "SRS"}},
}
"""What else a method must be given by the organisation's settings or beside other parameters."""


def references(table: Parameters) -> Iterator[tuple[Reference, str]]:
    """The references of a method with the object they are in, if any."""
    for row, _ in table:
        if isinstance(row, Reference):
            yield row, ""
        elif isinstance(row, Object):
            yield from ((inner, row.name) for inner in row.fields if isinstance(inner, Reference))


MADE = {"contact_information", "communication", "communication_queue", "service_request"}
"""What the service owns and these tests can make."""

MATRIX = [
    (path, row, inside)
    for path in CLOSED
    for row, inside in references(METHODS[path].parameters)
    if row.target.entity in KINDS.keys() | MADE
]


async def made(own: CommunicationsClient) -> Json:
    """One entity of each that is in `MADE`."""
    draft, entry = await own.create_draft(), await own.create_email()
    await own.register("service_request_status", "SRS", name="SRS", life_cycle_state="PENDING")
    await own.register("service_request_status", "SRX", name="SRX", life_cycle_state="CANCELLED")
    await own.register("service_request_cancellation_reason", "SRX", name="SRX")
    withdrawn = {
        "default_status_ids": {"CANCELLED": "SRX"},
        "default_cancellation_reason_id": "SRX",
    }
    await own.register("service_request_type", "SR1", name="SR1", **withdrawn)
    await own.register("service_request_category", "SR1", name="SR1")
    await own.register("accounts_receivable", "AR0", account_owner_id=own.recipient)
    chosen = {"type": "SR1", "accounts_receivable": "AR0", "status": "SRS", "category": "SR1"}
    said: Json = {f"{name}_identifier": {"id": id_} for name, id_ in chosen.items()}
    said |= {"urgency_level": "URGENCY1", "impact_level": "IMPACT1"}
    said |= {"expected_completion_date": "2999-01-01", **MORE["service_requests/create"]}
    request = await own.api.post("service_requests/create", **said)
    return {
        "contact_information": own.recipient,
        "communication": draft["id"],
        "communication_queue": entry["id"],
        "service_request": request["id"],
    }


@pytest_asyncio.fixture(scope="module")
async def ids(client: CommunicationsClient) -> Json:
    """An id of every kind of entity that exists in this organisation only."""
    found = await made(client)
    wanted = {row.target.entity for _, row, _ in MATRIX}
    for kind in sorted(wanted & KINDS.keys()):
        id_ = found[kind] = uuid4().hex.upper()
        fields: Json = {"name": id_} if "name" in {f.name for f in KINDS[kind].fields} else {}
        own: Json = {
            "unit": {"group_id": GROUP},
            "user": {"username": id_, "default_unit_id": UNIT},
            "service_request_status": {"life_cycle_state": "PENDING"},
            "accounts_receivable": {"account_owner_id": client.recipient},
            "communication_template": {
                "life_cycle_state": "EFFECTIVE",
                "media": "PHONE",
                "subject": "x",
                "content": "x",
            },
        }
        fields |= own.get(kind, {})
        await client.register(kind, id_, **fields)
    return found


@pytest_asyncio.fixture(scope="module")
async def stranger(service: Service) -> CommunicationsClient:
    own = await communications_client(service)
    own.api.token = await own.api.login()
    return own


@pytest_asyncio.fixture(scope="module")
async def theirs(stranger: CommunicationsClient) -> Json:
    return await made(stranger)


@pytest.mark.parametrize(
    ("path", "row", "inside"), MATRIX, ids=[f"{p}-{i}{r.parameter}" for p, r, i in MATRIX]
)
async def test_entities_of_another_organisation_do_not_exist(
    client: CommunicationsClient,
    stranger: CommunicationsClient,
    ids: Json,
    theirs: Json,
    path: str,
    row: Reference,
    inside: str,
) -> None:
    method = METHODS[path]
    named: Json = {row.parameter: {"id": ids[row.target.entity]}}
    at = f"{inside}.{row.parameter}" if inside else row.parameter

    async def is_found(own: CommunicationsClient, beside: Json) -> bool:
        given = acceptable(method, row, inside, beside)
        given |= {inside: given[inside] | named} if inside else named
        own.api.token = own.api.token or await own.api.login()
        answer = await send(own, method, own.api.token, given)
        if answer["status"]["code"] == "OK":
            return True
        name, description = refusal(answer)
        assert description == at or name not in _BEFORE, answer["status"]
        return name != "ENTITYNOTFOUND"

    before = await stored_rows(stranger.api)
    assert not await is_found(stranger, ids | theirs)
    assert await stored_rows(stranger.api) == before
    assert await is_found(client, ids)


_BEFORE = {"MANDATORYPARAMETER", "SEMIOPTIONALPARAMETER", "INVALIDPARAMETERTYPE"}
"""What would keep a reference from being looked up."""


async def test_the_matrix_is_not_empty() -> None:
    assert len(MATRIX) > 60
    assert {path for path, _, _ in MATRIX} >= {
        path
        for path in CLOSED
        if isinstance(method := METHODS[path], Command)
        for row in method.identified_by
        if isinstance(row, Reference) and row.target.entity in MADE
    }


async def test_lists_never_mix_organisations(
    client: CommunicationsClient, stranger: CommunicationsClient
) -> None:
    for own in (client, stranger):
        await own.create_email(category_identifier={"id": "MC1"}, subject=own.api.organisation)
        for path, query in (
            ("communications/list", {"category_identifier": "id=MC1"}),
            ("communications/queue/list", {"media": "EMAIL"}),
            ("communications/queue/get_latest", {"media": "EMAIL", "number": 100}),
            ("communications/queue/get_pending_completed", {"media": "EMAIL"}),
        ):
            found = str(await own.api.get(path, **query))
            assert own.api.organisation in found
            other = stranger if own is client else client
            assert other.api.organisation not in found
