"""Contract common.md, section 1, "Multipart POST", and fault 42: forms in bounded bytes."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from domain.errors import InvalidRequest
from infra.http.api.body import MAX_PART_HEADER, MAX_PARTS, RawUpload, is_multipart, parse_multipart

FORM = "multipart/form-data; boundary=xx"


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("multipart/form-data; boundary=x", True),
        ("Multipart/Form-Data;boundary=x", True),
        (" multipart/form-data ", True),
        ("multipart/mixed; boundary=x", False),
        ("multipart/form-data-x", False),
        ("application/json", False),
        ("aplication/json; x=multipart/form-data", False),
        ("", False),
    ],
)
def test_is_multipart(content_type: str, form: bool) -> None:
    assert is_multipart(content_type) is form


def part(content: bytes, disposition: str = 'form-data; name="a"', *more: str) -> bytes:
    header = "\r\n".join([f"Content-Disposition: {disposition}", *more]).encode()
    return b"--xx\r\n" + header + b"\r\n\r\n" + content + b"\r\n"


def form_of(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xx--\r\n"


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (form_of(), {}),
        (form_of(part(b"1")), {"a": ["1"]}),
        (
            form_of(part(b"1"), part("é".encode()), part(b"", "form-data; name=b")),
            {"a": ["1", "é"], "b": [""]},
        ),
        (form_of(part(b"\r\n1\r\n")), {"a": ["\r\n1\r\n"]}),
        (form_of(part(b"1--xx\r\n--x")), {"a": ["1--xx\r\n--x"]}),
        (form_of(part(b"").removesuffix(b"\r\n"), part(b"1")), {"a": ["", "1"]}),
        (b"a preamble\r\n" + form_of(part(b"1")) + b"an epilogue\r\n--xx\r\n", {"a": ["1"]}),
        (form_of(part(b"1")).replace(b"--xx\r\n", b"--xx \t\r\n")[:-2], {"a": ["1"]}),
        (form_of(part(b"1", "form-data; name*=UTF-8''%C3%A9")), {"é": ["1"]}),
        (form_of(part(b"1", "form-data; name*=iso-8859-1'en'%E9")), {"é": ["1"]}),
        (form_of(part(b"1", 'form-data; name="x;y=\\"z\\""')), {'x;y="z"': ["1"]}),
        (
            form_of(part(b"{}", 'form-data; name="a"', "Content-Type: application/json")),
            {"a": ["{}"]},
        ),
        (
            form_of(part(b"1", 'form-data; name="a"', "Content-Transfer-Encoding: 8bit")),
            {"a": ["1"]},
        ),
        (
            form_of(part(b"utf-16", 'form-data; name="_charset_"'), part(b"1")),
            {"_charset_": ["utf-16"], "a": ["1"]},
        ),
    ],
)
async def test_fields(raw: bytes, fields: dict[str, list[str]]) -> None:
    assert await parse_multipart(FORM, raw) == (fields, {})


@pytest.mark.parametrize(
    ("disposition", "more", "upload"),
    [
        ('form-data; name="a"; filename="x.png"', (), RawUpload("x.png", b"\xff\0")),
        (
            'form-data; name="a"; filename="фото.png"',
            ("content-type: Image/PNG; a=b",),
            RawUpload("фото.png", b"\xff\0"),
        ),
        (
            "form-data; name=\"a\"; filename*=UTF-8''%D1%84.png",
            (),
            RawUpload("ф.png", b"\xff\0"),
        ),
        ('form-data; name="a"; filename=""', (), RawUpload("", b"\xff\0")),
        (
            'form-data; name="a"; filename="C:\\\\dir\\\\x.png"',
            (),
            RawUpload("C:\\dir\\x.png", b"\xff\0"),
        ),
        (
            'form-data; name="a"',
            ("Content-Type: image/jpeg",),
            RawUpload("", b"\xff\0"),
        ),
        (
            'form-data; name="a"',
            ("Content-Type: application/octet-stream",),
            RawUpload("", b"\xff\0"),
        ),
    ],
)
async def test_files(disposition: str, more: tuple[str, ...], upload: RawUpload) -> None:
    raw = form_of(
        part(b"first", 'form-data; name="a"; filename="f"'), part(b"\xff\0", disposition, *more)
    )
    assert await parse_multipart(FORM, raw) == ({}, {"a": upload})


GOOD = form_of(part(b"1"))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"--xx",
        b"\n" * 1_000_000,
        GOOD.removesuffix(b"--xx--\r\n"),
        GOOD.replace(b"\r\n", b"\n"),
        GOOD.replace(b"--xx\r\n", b"--xxy\r\n"),
        GOOD.replace(b"--xx\r\n", b"--xx\r\n\r\n"),
        b"--xx\r\n" + b"\n" * 1_000_000 + GOOD,
        b"--xx\r\nContent-Disposition: form-data\r\n--xx--",
        form_of(part(b"1", "form-data")),
        form_of(part(b"1", 'form-data; name=""')),
        form_of(part(b"1", 'form-data; filename="x"')),
        form_of(part(b"1", 'attachment; name="a"')),
        form_of(part(b"1", 'form-data; name="a"', 'Content-Disposition: form-data; name="b"')),
        form_of(part(b"1", 'form-data; name="a"', "no header")),
        form_of(part(b"1")).replace(b"form-data", b"form-data\xff"),
        form_of(part(b"MQ==", 'form-data; name="a"', "Content-Transfer-Encoding: base64")),
        form_of(part(b"=31", 'form-data; name="a"', "Content-Transfer-Encoding: Quoted-Printable")),
        form_of(
            part(gzip.compress(b"1"), 'form-data; name="a"; filename="x"', "Content-Encoding: gzip")
        ),
        form_of(part(b"--y--", 'form-data; name="a"', "Content-Type: multipart/mixed; boundary=y")),
        form_of(part(b"\xff")),
        form_of(part(b"1", 'form-data; name="a"', "X: " + "x" * MAX_PART_HEADER)),
        form_of(part(b"1", 'form-data; name="a"' + ";" * 17)),
        form_of(part(b"1", "form-data; name*=UTF-8''%FF")),
        form_of(part(b"1", "form-data; name*=idna''%FF")),
        form_of(part(b"1", "form-data; name*=utf-8\0''a")),
        form_of(part(b"1", "form-data; name*=unicode_escape''%5cud800")),
        form_of(part(b"1", "form-data; name*=%41")),
        form_of(part(b"1", "form-data; name*=utf-8''ж")),
        form_of(*[part(b"1")] * (MAX_PARTS + 1)),
        b"--xx\r\n" * 500_000,
    ],
    ids=range(31),
)
async def test_malformed_forms_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await parse_multipart(FORM, raw)


async def test_as_many_parts_as_allowed() -> None:
    fields, _ = await parse_multipart(FORM, form_of(*[part(b"1")] * MAX_PARTS))
    assert fields == {"a": ["1"] * MAX_PARTS}


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        FORM + "x" * 70,
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=xx; boundary=",
        "multipart/form-data; boundary*=idna''xx",
        'multipart/form-data; boundary="\r\n"',
    ],
)
async def test_a_boundary_is_needed(content_type: str) -> None:
    with pytest.raises(InvalidRequest, match="no boundary"):
        await parse_multipart(content_type, GOOD)


@pytest.mark.parametrize(
    "content_type",
    [
        FORM.replace("xx", "---0110; boundary=xx"),
        FORM.replace("xx", '"a;b"; charset=utf-8; Boundary="xx"'),
        FORM.replace("xx", "; BOUNDARY = xx"),
        FORM.replace("xx", "yy; boundary=xx; charset=utf-8"),
    ],
)
async def test_of_two_boundaries_the_last_one_counts(content_type: str) -> None:
    assert await parse_multipart(content_type, GOOD) == await parse_multipart(FORM, GOOD)


async def test_others_have_a_turn_between_two_parts() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await parse_multipart(FORM, form_of(*[part(b"1")] * 10))
    task.cancel()
    assert turns >= 10
