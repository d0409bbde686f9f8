"""Contract common.md, section 1.1, and fault 42: bodies made to hurt the parser."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidRequest
from infra.http.api.json_body import MAX_DEPTH, MAX_PARTS, _repaired, parse_json_object

MIB = 1 << 22
LONG_DIGITS = "9" * 20
BOM = "\ufeff"


def strict(text: str) -> Any:
    """The standard library's parser with its own leniencies taken away."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    def finite(number: str) -> float:
        return value if math.isfinite(value := float(number)) else refuse(number)

    return json.loads(text, parse_constant=refuse, parse_float=finite)


def escaped(string: str) -> str:
    """A string token with its raw tabs and line breaks as escapes, but for those behind a backslash."""
    pairs = re.findall(r"\\?.", string, re.DOTALL)
    return "".join({"\t": "\\t", "\r": "\\r", "\n": "\\n"}.get(pair, pair) for pair in pairs)


def repaired(text: str) -> str:
    """The contract's repair, token by token: slow and plain."""
    text = text.removeprefix(BOM)
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[0-9]+(?:\.[0-9]*)?|[ \t\r\n]+|.', text, re.DOTALL)
    tokens = [re.sub(r"^0+(?=[0-9])", "", token) for token in tokens]
    tokens = [escaped(token) if token[0] == '"' else token for token in tokens]
    solid = [index for index, token in enumerate(tokens) if token.strip(" \t\r\n")]
    for before, comma, after in zip(solid, solid[1:], solid[2:], strict=False):
        if tokens[comma] == "," and tokens[after] in "]}" and tokens[before] not in "[{,:":
            tokens[comma] = ""
    return "".join(tokens)


def expected(text: str) -> Any:
    """What the contract says about the text: an object, or None if it is refused."""
    if not text:
        return {}
    for attempt in (text, repaired(text)):
        try:
            value = strict(attempt)
        except ValueError:
            continue
        return value if isinstance(value, dict) else None
    return None


def outcome(raw: bytes) -> Any:
    try:
        return parse_json_object(raw)
    except InvalidRequest:
        return None


NUMBERS = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\t\r\n\\"'))
RAW = {r"\t": "\t", r"\r": "\r", r"\n": "\n"}
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=25,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5), st.booleans(), st.sampled_from([None, 0, "\t"]))
def test_reads_what_the_standard_library_writes(
    value: dict[str, Any], ascii_only: bool, indent: int | str
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert repr(parse_json_object(raw)) == repr(value)


FRAGMENTS = st.sampled_from(
    [
        *("{", "}", "[", "]", ",", ",", ":", '"', "\\", "/"),
        *(" ", "\n", "\t", "\v", "\x07", "\u00e9", "\u2028"),
        *("0", "00", "01", "1.5", ".", "e", "-", "+", "7", LONG_DIGITS, "null", "NaN"),
        *('"a"', '"\\""', '"\\\\"', '"[,]"', '"a":', '"\n"', '"a\t\\\\\r"', '"\\\n"', BOM),
    ]
)


@given(st.lists(FRAGMENTS, max_size=12).map("".join))
def test_accepts_what_the_contract_accepts_and_nothing_else(text: str) -> None:
    for document in (text, f'{{"a":{text}}}', f'{{"a":[{text}]}}', f"{{{text}}}"):
        assert repr(outcome(document.encode())) == repr(expected(document))


@given(st.dictionaries(TEXTS, VALUES, max_size=5), st.booleans())
def test_the_repair_does_not_change_the_meaning_of_json(
    value: dict[str, Any], ascii_only: bool
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert repr(orjson.loads(_repaired(raw))) == repr(orjson.loads(raw))


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=5), st.data())
def test_what_editors_and_hand_written_clients_send(
    value: dict[str, Any], data: st.DataObject
) -> None:
    """Each escape of a blank is written as the blank itself, or not."""
    pieces = re.split(r"(\\.)", json.dumps(value, ensure_ascii=False))
    raw = "".join(
        data.draw(st.sampled_from([piece, RAW[piece]])) if piece in RAW else piece
        for piece in pieces
    )
    assert repr(parse_json_object((BOM + raw).encode())) == repr(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("{}", {}),
        (' \t\r\n{ "a" : 1 } \n', {"a": 1}),
        ('{"a":1,}', {"a": 1}),
        ('{"a":[1,2 , ],\n}', {"a": [1, 2]}),
        ('{"a":[{},]}', {"a": [{}]}),
        ('{"day":01,"month":-007}', {"day": 1, "month": -7}),
        ('{"a":00,"b":00.50,"c":[000]}', {"a": 0, "b": 0.5, "c": [0]}),
        ('{"a":1e-07,"b":1.005,"c":100,"d":01}', {"a": 1e-7, "b": 1.005, "c": 100, "d": 1}),
        ('{"a":1,"a":2,"a":3}', {"a": 3}),
        ('{"a":{"b":1},"a":{"c":01}}', {"a": {"c": 1}}),
        (r'{"a":"01,]","b":"\",]","c":"\\",}', {"a": "01,]", "b": '",]', "c": "\\"}),
        (BOM + "{}", {}),
        (BOM + ' {"a":"b",}', {"a": "b"}),
        ('{"a":"1\r\n2\n3\t4"}', {"a": "1\r\n2\n3\t4"}),
        ('{"a\n":01,"b":["\t",],"c":" \\\\\n"}', {"a\n": 1, "b": ["\t"], "c": " \\\n"}),
        ('{"a":"\\"\n01,]"}', {"a": '"\n01,]'}),
        (r'{"a":"\u0000","b":"\ud83d\ude00"}', {"a": "\0", "b": "😀"}),
    ],
)
def test_leniencies(text: str, value: dict[str, Any]) -> None:
    assert parse_json_object(text.encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[]",
            "0",
            '""',
            "false",
            "1",
            "null",
            '"a"',
            "true",
            " ",
            "{",
            "}",
            '{"a"}',
            '{"a":}',
            "{1:2}",
            "{} {}",
            "{}x",
            "{},",
        ),
        *(
            '{"a":[,]}',
            "{,}",
            '{"a":[1,,]}',
            '{"a":1,,}',
            '{"a":[\n, ]}',
            '{"a":[ \t,]}',
            '{"a":[\r,]}',
            '{"a":,}',
            '{,"a":1}',
        ),
        *(
            '{"a":1} // no',
            '{/**/"a":1}',
            "{'a':1}",
            "{a:1}",
            '{"a":NaN}',
            '{"a":-Infinity}',
            '{"a":Infinity}',
        ),
        *(
            '{"a":"\\\n"}',
            '{"a":"\\\\\\\t"}',
            '{"a":"\x00"}',
            '{"a":"\x0b"}',
            '{"a":"\x1f",}',
            '{\v"a":1}',
            '{\u00a0"a":1}',
            BOM,
            BOM + BOM + "{}",
            " " + BOM + "{}",
            "{}" + BOM,
            '{"a":' + BOM + "1}",
            "{}\0",
        ),
        *(
            '{"a":0x10}',
            '{"a":+01}',
            '{"a":01.}',
            '{"a":.5}',
            '{"a":1e}',
            '{"a":- 01}',
            '{"a":0 1}',
            '{"a":1_000}',
        ),
        *(
            r'{"a":"\ud800"}',
            r'{"a":"\udc00\ud800"}',
            r'{"a":"\x"}',
            r'{"a":"\u12"}',
            r'{"a":\"b"}',
            '{"a":"b}',
        ),
        *('{"a":1e400}', '{"a":' + "9" * 400 + "}"),
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_json_object(text.encode())


@pytest.mark.parametrize(
    "raw", [b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xfe",}', b'{"a":"\xc3",}']
)
def test_bytes_that_are_not_utf8_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_json_object(raw)


def test_the_description_says_where() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_json_object(b'{"a":[1,],\n"b":?}')
    assert "line 2 column 5" in caught.value.description


@pytest.mark.parametrize(
    "number", [2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, -(10**300), 10**18]
)
@pytest.mark.parametrize("template", ['{"a":%d}', '{"a":[%d]}', '{"a":00%d,}'])
def test_integers_stay_exact(number: int, template: str) -> None:
    text = (template % number).replace("00-", "-00")
    value = parse_json_object(text.encode())["a"]
    assert value in (number, [number])
    assert "." not in repr(value)


def test_the_last_key_wins_among_large_numbers_too() -> None:
    assert parse_json_object(f'{{"a":{2**70},"a":1,"b":1.50}}'.encode()) == {"a": 1, "b": 1.5}


@pytest.mark.parametrize(
    ("text", "accepted"), [("[]", True), (BOM + " [ ]", True), ("[[]]", False)]
)
def test_an_empty_array_is_an_empty_object_where_that_is_allowed(text: str, accepted: bool) -> None:
    if accepted:
        assert parse_json_object(text.encode(), allow_empty_array=True) == {}
    else:
        with pytest.raises(InvalidRequest):
            parse_json_object(text.encode(), allow_empty_array=True)
    with pytest.raises(InvalidRequest):
        parse_json_object(text.encode())


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


@pytest.mark.parametrize("wrap", [b"%s", b'{"x":[%s' % (b"[]," * 40) + b'{}],"y":%s}'])
def test_nesting_has_one_limit(wrap: bytes) -> None:
    inner = MAX_DEPTH - wrap.startswith(b"{")
    assert parse_json_object(wrap % nested(inner))
    with pytest.raises(InvalidRequest, match="deeper"):
        parse_json_object(wrap % nested(inner + 1))


def test_brackets_in_strings_are_no_nesting() -> None:
    text = '[{"' * 1000 + "\\"
    assert parse_json_object(json.dumps({"a": text}).encode()) == {"a": text}


def test_parts_have_one_limit() -> None:
    fits = b'{"a":[' + b"1," * (MAX_PARTS - 2) + b"1]}"
    assert len(parse_json_object(fits)["a"]) == MAX_PARTS - 1
    with pytest.raises(InvalidRequest, match="parts"):
        parse_json_object(fits.replace(b"[", b"[1,"))


def test_commas_and_brackets_in_strings_are_no_parts() -> None:
    text = "[,]" * (MAX_PARTS // 2)
    assert parse_json_object(json.dumps({"a": text}).encode() + b"\n") == {"a": text}


@pytest.mark.parametrize(
    "unit",
    [
        *(b"[", b"{", b'{"a":', b"[]", b"{},", b"[[]]", b"[1,],", b'"a":1,'),
        *(b"]", b",", b", ", b" "),
        *(b'"', b'"a', b'""a', b'\\"', b'"\\"', b"\\", b"\\\\", b"\x00", b"\xff"),
        *(b"\n", b'"\n",', b'"\\\n', b"\xef\xbb\xbf"),
        *(b"0", b"01,", b"9", b"1.5,", b"0 ", b"-", b"000a"),
    ],
)
@pytest.mark.parametrize("head", [b"", b'{"a":', b'{"a":"', b'{"a":[.', b"[" * 40, b'{"a":01,"'])
def test_hostile_bodies_are_refused_by_nothing_but_invalid_request(
    head: bytes, unit: bytes
) -> None:
    raw = (head + unit * (MIB // len(unit)))[:MIB]
    with pytest.raises(InvalidRequest):
        parse_json_object(raw)


def test_strings_without_values_have_a_limit() -> None:
    with pytest.raises(InvalidRequest, match="strings"):
        parse_json_object(b'{"a":1,' + b'"b"' * (MIB // 3))


def test_a_parser_never_recurses_into_a_deep_body() -> None:
    depth = sys.getrecursionlimit() * 10
    for raw in (
        b'{"a":' * depth,
        b'{"a":' * depth + b"1" + b"}" * depth,
        b'{"a":' + b"[" * depth + b"01,",
    ):
        with pytest.raises(InvalidRequest, match="deeper"):
            parse_json_object(raw)
