"""Contract common.md, sections 2, 5 and 12."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import CATALOGUE, EntityNotFound, InternalError
from infra.http.envelope import cut, failed, ok


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


@pytest.mark.parametrize(
    ("document", "names", "result"),
    [
        (b'{"id":"1","name":"x","n":10.50}', {"id", "n"}, b'{"id":"1","n":10.50}'),
        (b'[{"id":"1","a":{"id":2}},{"a":null}]', {"id"}, b'[{"id":"1"},{}]'),
        (b'{"a":{"b":[1, 2]},"b":1}', {"a", "a.b", "A"}, b'{"a":{"b":[1, 2]}}'),
        (b'{"id":"1"}', {"subscription"}, b"{}"),
        (b"[]", {"id"}, b"[]"),
        (b"{}", {"id"}, b"{}"),
        (b'{"\\u0061":18446744073709551616}', {"a"}, b'{"a":18446744073709551616}'),
    ],
)
def test_cut(document: bytes, names: set[str], result: bytes) -> None:
    assert cut(document, frozenset(names)) == result


KEYS = st.sampled_from(["id", "name", "é", '"', ""])
OBJECTS = st.dictionaries(
    KEYS, st.none() | st.integers() | st.text() | st.dictionaries(KEYS, st.text())
)


@given(OBJECTS | st.lists(OBJECTS, max_size=4), st.frozensets(KEYS))
def test_cut_keeps_the_named_keys_whole(
    data: dict[str, object] | list[dict[str, object]], names: frozenset[str]
) -> None:
    def kept(members: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in members.items() if name in names}

    expected = kept(data) if isinstance(data, dict) else [kept(members) for members in data]
    assert json.loads(cut(json.dumps(data).encode(), names)) == expected


@pytest.mark.parametrize("document", [b"1", b"[1]", b"{", b""])
def test_cut_does_not_hide_a_broken_document(document: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        cut(document, frozenset({"id"}))
