"""Contract common.md, sections 2 and 12."""

from __future__ import annotations

import json

import pytest

from domain.errors import CATALOGUE, EntityNotFound, InternalError
from infra.http.api.envelope import failed, ok


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"a":[1,{"b":null}]}', '[{"ä":10.50}]'.encode()])
def test_success(data: bytes) -> None:
    answer = json.loads(ok(data))
    assert answer == {
        "status": {"code": "OK", "message": "", "description": ""},
        "data": json.loads(data),
    }


def test_the_error_example_of_the_contract() -> None:
    assert failed(EntityNotFound("communication_identifier")) == (
        b'{"status":{"code":"COM.CRM.EXCEPTION.CORE.ENTITYNOTFOUNDEXCEPTION",'
        b'"message":"Entity not found","description":"communication_identifier"},"data":{}}'
    )


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_error_has_a_text_for_people(name: str) -> None:
    status = json.loads(failed(CATALOGUE[name]("x")))["status"]
    assert status["code"].endswith(f".{name}EXCEPTION")
    assert status["message"]


@pytest.mark.parametrize("description", ['"\\', "\0\n", "\ud800", "ключ \udcff"])
def test_a_description_of_any_text_can_be_answered(description: str) -> None:
    answer = json.loads(failed(InternalError(description)))
    assert answer["status"]["description"] == description.encode("utf-8", "replace").decode()
