"""Every request that the published pages print with a body, sent byte for byte as it is printed.

The folder ``printed`` holds them as they stand on the pages (`index.json` says where; the golden case
of the same name brings about what they name). Only what cannot be known when a page is written takes
another value: the token, the host and the ids that the service gives out, all of them in `as_sent`.
Of the upload of a photo the pages print a shell command and a PHP program.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from services.pipeline.method import BASE
from tests.contract.matching import differences
from tests.contract.scenes import Case, Scene, cases, upload
from tests.fixtures.service import Api

PRINTED = Path(__file__).parent / "printed"
PHOTO = "contact_information/profile_photo/add"
HOST = "https://r11qa.crm.com"
PHOTO_TOKEN, PHOTO_OWNER = "C9464BFEC45F49989AAB17E1C54FA4D0", "18686813304341ECAFC8175A85594C9B"
GOLDEN = {case.name: case for case in cases()}


@dataclass(frozen=True)
class Printed:
    """A printed request: its golden case, the token it shows, and what stands for other values in it."""

    request: str
    seed: str
    line: int
    token: str
    replaced: Mapping[str, str]

    @property
    def case(self) -> Case:
        return GOLDEN[f"{self.request}.json"]


REQUESTS = [Printed(**row) for row in json.loads((PRINTED / "index.json").read_text("utf-8"))]


def as_sent(printed: bytes, values: Mapping[str, str]) -> bytes:
    """The bytes with other values for what only a running service knows; all else is as printed."""
    for before, after in values.items():
        assert printed.count(before.encode()) == 1, before
        printed = printed.replace(before.encode(), after.encode())
    return printed


def test_all_are_here() -> None:
    files = {path.relative_to(PRINTED).as_posix() for path in PRINTED.rglob("*.txt")}
    assert files == {f"{one.request}.txt" for one in REQUESTS}
    assert len(REQUESTS) == 26


@pytest.mark.parametrize("one", REQUESTS, ids=lambda one: one.request)
async def test_a_printed_body(api: Api, one: Printed) -> None:
    scene = Scene(api)
    await scene.prepare(one.case.given)
    values = {one.token: await api.login()} | scene.resolve(dict(one.replaced))
    body = as_sent((PRINTED / f"{one.request}.txt").read_bytes(), values)
    headers = {"Content-Type": "application/json"}
    status, answer, _ = await api.service.send(
        "POST", BASE + one.case.method, data=body, headers=headers
    )
    assert status == 200
    found = differences(scene.resolve(one.case.response), answer)
    assert not found, "\n".join(found)


async def photo_scene(api: Api, number: int) -> tuple[Case, dict[str, str]]:
    """The case of an upload, and the values of what its printed forms show."""
    case = GOLDEN[f"{PHOTO}_{number}.json"]
    scene = Scene(api)
    await scene.prepare(case.given)
    owner = str(scene.resolve("@owner.id"))
    return case, {PHOTO_TOKEN: await api.login(), PHOTO_OWNER: owner}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_printed_command(api: Api, tmp_path: Path) -> None:
    """A shell runs it in a folder in which there is a file of the printed name."""
    case, values = await photo_scene(api, 1)
    name, content, _ = upload(case.call["file"])
    (tmp_path / name).write_bytes(content)
    printed = (PRINTED / f"{PHOTO}.sh").read_bytes()
    command = as_sent(printed, values | {HOST: api.service.url})
    process = await asyncio.create_subprocess_exec(
        "sh",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=tmp_path,
    )
    answer, _ = await process.communicate(command)
    assert not differences(case.response, json.loads(answer))


@pytest.mark.parametrize("number", [2, 3], ids=["with a file in it", "as printed"])
async def test_the_printed_php_program(api: Api, number: int) -> None:
    """The bytes that PHP's extension curl sends: the text of ``CURLOPT_POSTFIELDS`` as it is.

    ``CURLOPT_ENCODING => ""`` names all encodings that the extension knows. The printed file is empty,
    as a tool had no file to show; the second form has one in its place.
    """
    case, values = await photo_scene(api, number)
    program = (PRINTED / f"{PHOTO}.php").read_text("utf-8")
    (fields,) = re.findall(r'CURLOPT_POSTFIELDS => "(.*)",', program)
    (header,) = re.findall(r'CURLOPT_HTTPHEADER => array\(\s*"(.*)"', program)
    (url,) = re.findall(r'CURLOPT_URL => "(.*)"', program)
    text = fields.replace(r"\r\n", "\r\n").replace(r"\"", '"')
    content = upload(case.call["file"])[1]
    printed = text.encode().replace(b"false\r\n\r\n", b"false\r\n\r\n" + content)
    body = as_sent(printed, values)
    head = (
        f"POST {urlsplit(url).path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAccept: */*\r\n"
        f"Accept-Encoding: deflate, gzip\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    assert not differences(case.response, await exchange(api, head.encode() + body))


async def exchange(api: Api, request: bytes) -> Any:
    """The parsed body of the response to bytes that are sent as they are."""
    address = urlsplit(api.service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 ")
        length = re.search(r"(?i)content-length: (\d+)", head)
        assert length
        return json.loads(await reader.readexactly(int(length[1])))
    finally:
        writer.close()
        await writer.wait_closed()
