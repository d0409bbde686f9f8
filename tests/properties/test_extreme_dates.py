"""Dates at the ends of the calendar: stored and compared, or refused by name; never a failure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import CATALOGUE
from domain.fields import Field
from domain.reference.catalogue import KINDS
from domain.scalar_fields import Date
from infra.http.audit.events import EVENT_PARAMETERS, TimestampField
from services.audit.as_of import AS_OF, methods
from services.pipeline.method import METHODS
from tests.fixtures.auditors import Auditor, auditor
from tests.fixtures.service import OPERATOR_KEY, Service
from tests.fixtures.strategies import field_values
from tests.properties.conftest import KNOWN, Playground
from tests.properties.requests import Sent, said_calls, texts
from tests.properties.test_requests import answered, assert_contract

ENDS = ("0001-01-01", "0001-01-01T00:00:00", "9999-12-31T23:59:59", "9999-12-31T23:59:59.999999")
ZONES = ("Z", "+00:00", "+14:00", "-12:00", "+23:59", "-23:59")
EXTREMES = (*ENDS, *(f"{end}{zone}" for end in ENDS if "T" in end for zone in ZONES))
BEYOND = ("0000-01-01", "10000-01-01", "-0001-01-01T00:00:00", "9999-12-31T24:00:00", "+2026-01-01")
DATE = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?")


def date_paths(fields: Iterable[Field], path: str = "") -> Iterator[str]:
    """The paths of all dates among fields, those inside of objects and items included."""
    for field in fields:
        here = f"{path}.{field.parameter}" if path else field.parameter
        if isinstance(field, Date | TimestampField):
            yield here
        yield from date_paths(getattr(field, "fields", ()), here)


def parameters_with_dates(path: str) -> list[str]:
    rows = [field for field, _ in METHODS[path].parameters]
    return sorted({found.partition(".")[0] for found in date_paths(rows)})


DATED = [path for path in METHODS if parameters_with_dates(path)]


def with_dates(value: Any, extreme: str) -> Any:
    """The value with each date in it replaced."""
    if isinstance(value, dict):
        return {name: with_dates(inner, extreme) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_dates(inner, extreme) for inner in value]
    return extreme if isinstance(value, str) and DATE.fullmatch(value) else value


def test_methods_with_dates_are_found() -> None:
    assert {"service_requests/create", "contact_information/update", "access_tokens/create"} < {
        *DATED
    }
    assert "unrestricted_parameter_set" in parameters_with_dates("communications/create")


@pytest.mark.parametrize("path", DATED)
@given(data=st.data())
async def test_every_date_of_every_method(playground: Playground, path: str, data: Any) -> None:
    method = METHODS[path]
    name = data.draw(st.sampled_from(parameters_with_dates(path)))
    extreme = data.draw(st.sampled_from((*EXTREMES, *BEYOND)))
    raw = with_dates(data.draw(said_calls(method, always={name})), extreme)
    sent = Sent(body=json.dumps({"token": playground.api.token} | raw).encode())
    if method.verb == "GET":
        pairs = texts(data.draw, method, {"token": playground.api.token} | raw)
        sent = Sent(query="&".join(f"{name}={quote(value)}" for name, value in pairs))
    status, answer = await answered(playground, method, sent)
    assert_contract(method, status, answer)


RECORDS = [key for key, kind in KINDS.items() if any(date_paths(f for f, _ in kind.parameters))]


@pytest.mark.parametrize("key", RECORDS)
@given(data=st.data())
async def test_every_date_of_every_record(playground: Playground, key: str, data: Any) -> None:
    fields = [field for field, _ in KINDS[key].parameters if any(date_paths([field]))]
    extreme = data.draw(st.sampled_from((*EXTREMES, *BEYOND)))
    record = {"kind": key, "id": "XT1"}
    for field in fields:
        record[field.parameter] = with_dates(data.draw(field_values(field, KNOWN)), extreme)
    api = playground.api
    status, answer, _ = await api.service.send(
        "POST",
        f"/reference/v1/{key}",
        query={"organisation": api.organisation},
        data=json.dumps(record).encode(),
        headers={"Authorization": f"Bearer {OPERATOR_KEY}"},
    )
    assert status < 500, answer


@pytest_asyncio.fixture(scope="module")
async def past(service: Service) -> Auditor:
    return await auditor(service)


MOMENTS = [field.name for field, _ in EVENT_PARAMETERS if isinstance(field, TimestampField)]


@pytest.mark.parametrize("text", [*EXTREMES, *BEYOND])
async def test_every_date_of_the_auditors(past: Auditor, text: str) -> None:
    refusals = {CATALOGUE[name].code for name in ("INVALIDPARAMETERVALUE", "INVALIDPARAMETERTYPE")}
    assert MOMENTS == ["since", "until"]
    asked = [("events", name) for name in MOMENTS]
    asked += [(f"as_of/{method.path}", next(iter(AS_OF))[0].name) for method in methods()]
    for path, name in asked:
        status, answer, _ = await past.ask(path, **{name: text})
        assert status < 500, (path, answer)
        if path == "events":
            assert answer["status"]["code"] in {"OK", *refusals}
            assert (status, answer["status"]["description"]) in {(200, ""), (400, name)}


async def test_what_is_no_moment_of_utc_is_refused(past: Auditor) -> None:
    for name, text in (("since", "0001-01-01T00:00:00"), ("until", "9999-12-31T23:59:59-12:00")):
        status, answer, _ = await past.ask("events", **{name: text})
        assert (status, answer["status"]["description"]) == (400, name)
        assert answer["status"]["code"] == CATALOGUE["INVALIDPARAMETERVALUE"].code
