"""Methods 22 to 25: the profile photo and its download (contact_information.md, section 11)."""

from __future__ import annotations

import asyncio
import re
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.contract.shapes import NOTHING, SHAPES, assert_shape
from tests.fixtures.organisation import (
    OrganisationClient,
    person,
    query_rows,
    unknown_id,
    untouched,
)
from tests.fixtures.service import Json, refusal

VIEW = "contact_information/profile_photo/view"
ADD = "contact_information/profile_photo/add"
REMOVE = "contact_information/profile_photo/remove"
SERVLET = "/crm/ImageDownloadServlet"
IDENTIFIER = "contact_information_identifier"


def image(kind: str = "JPEG", shade: int = 7) -> bytes:
    stream = BytesIO()
    Image.new("L", (8, 8), shade).save(stream, kind)
    return stream.getvalue()


def named(contact: str) -> Json:
    return {IDENTIFIER: {"id": contact}}


async def add(
    w: OrganisationClient, contact: str, content: bytes, name: str = "me.jpg", **more: Any
) -> Json:
    """The envelope of an upload that claims to be a PNG."""
    form, file = {IDENTIFIER: f"id={contact}"} | more, (name, content, "image/png")
    return await w.api.call("POST", ADD, form=form, file=file)


async def view(w: OrganisationClient, contact: str) -> Json:
    return dict(await w.api.get(VIEW, contact_information_identifier=f"id={contact}"))


async def download(
    w: OrganisationClient, url: str, token: str | None = None
) -> tuple[int, Any, str]:
    """HTTP status, bytes or envelope, and content type of an image that a browser fetches."""
    token = w.api.token if token is None else token
    status, answer, headers = await w.api.service.send("GET", f"{url}&token={token}")
    return status, answer.get("raw", answer), headers["Content-Type"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
async def test_adds_views_and_downloads(shared: OrganisationClient, kind: str) -> None:
    contact, content = await shared.new_contact(), image(kind)
    answer = await add(shared, contact, content, "C:\\photos\\..\\m\te.jpg")
    photo = answer["data"]
    assert_shape(photo, SHAPES[ADD])
    photo_id = photo["file_content_url"].removeprefix(f"{SERVLET}?id=")
    assert re.fullmatch("[0-9A-F]{32}", photo_id)
    assert photo == {
        "file_name": f"{photo_id}_key_contacts-profilephoto_me.jpg",
        "file_content_url": f"{SERVLET}?id={photo_id}",
        "file_mime_type": f"image/{kind.lower()}",
    }
    assert await view(shared, contact) == photo
    found = await download(shared, photo["file_content_url"])
    assert found == (200, content, f"image/{kind.lower()}")


@pytest.mark.parametrize("identifier", ["number={number}", '{{"id":"{id}"}}'])
async def test_adds_by_any_identifier(shared: OrganisationClient, identifier: str) -> None:
    full = await shared.show_contact(await shared.new_contact())
    form = {IDENTIFIER: identifier.format(**full), "fields_set": "file_mime_type"}
    answer = await add(shared, full["id"], image(), **form)
    assert answer["data"] == {"file_mime_type": "image/jpeg"}


async def test_a_new_photo_replaces_the_former(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    first = (await add(shared, contact, image()))["data"]
    second = (await add(shared, contact, image("PNG")))["data"]
    assert await view(shared, contact) == second
    assert (await download(shared, first["file_content_url"]))[0] == 404
    assert (await download(shared, second["file_content_url"]))[0] == 200
    kept = "SELECT id FROM ledger.photos WHERE organisation = $1 AND contact = $2"
    assert len(await query_rows(shared.api, kept, contact)) == 1


async def test_removes(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    photo = (await add(shared, contact, image()))["data"]
    answer = await shared.api.call("POST", REMOVE, body=named(contact))
    assert_shape(answer["data"], NOTHING)
    assert set((await view(shared, contact)).values()) == {None}
    assert len(await view(shared, contact)) == 3
    assert (await download(shared, photo["file_content_url"]))[0] == 404
    kept = "SELECT id FROM ledger.photos WHERE organisation = $1 AND contact = $2"
    assert await query_rows(shared.api, kept, contact) == []
    # Repeating it, or removing what never was, is OK and leaves nothing behind.
    for other in (contact, await shared.new_contact()):
        async with untouched(shared.api):
            assert await shared.api.post(REMOVE, **named(other)) == {}
    assert set((await view(shared, other)).values()) == {None}


async def test_adding_and_removing_are_changes_of_the_contact(fresh: OrganisationClient) -> None:
    await fresh.register(
        "user",
        "2",
        username="second",
        default_unit_id="48305F8849E3C18B227C5BE3A27BA6DF",
        password="password-2",
    )
    contact = await fresh.new_contact()
    first = fresh.api.token
    second = await fresh.api.login("second", "password-2")
    for token, user, change in ((second, "2", "add"), (first, "1", "remove")):
        fresh.api.token = token
        if change == "add":
            assert (await add(fresh, contact, image()))["status"]["code"] == "OK"
        else:
            await fresh.api.post(REMOVE, **named(contact))
        log = (await fresh.show_contact(contact))["log_information"]
        assert (log["updated_by_user"]["id"], log["created_by_user"]["id"]) == (user, "1")


INVALID = "INVALIDPROFILEPHOTO"


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (b"", (INVALID, "file")),
        (b"GIF89a", (INVALID, "file")),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", (INVALID, "file")),
        (image("BMP"), (INVALID, "file")),
        (image()[:-20], (INVALID, "file")),
        (image() + bytes(5 * 1024 * 1024), (INVALID, "file")),
        (None, ("MANDATORYPARAMETER", "file")),
    ],
    ids=["empty", "broken", "svg", "bmp", "truncated", "too large", "none"],
)
async def test_refuses_files(
    shared: OrganisationClient, content: bytes | None, refused: tuple[str, str]
) -> None:
    contact = await shared.new_contact()
    await add(shared, contact, image())
    async with untouched(shared.api):
        file = None if content is None else ("a.jpg", content, "image/jpeg")
        form = {IDENTIFIER: f"id={contact}"}
        answer = await shared.api.call("POST", ADD, form=form, file=file)
    assert refusal(answer) == refused
    assert answer["status"]["code"].startswith("COM.CRM.EXCEPTION.")


async def test_a_file_of_five_mebibytes_is_not_too_large(shared: OrganisationClient) -> None:
    content = image() + bytes(5 * 1024 * 1024 - len(image()))
    assert (await add(shared, await shared.new_contact(), content))["status"]["code"] == "OK"


async def test_a_photo_of_a_large_camera(shared: OrganisationClient) -> None:
    stream = BytesIO()
    Image.new("RGB", (8064, 6048), (7, 70, 170)).save(stream, "JPEG")
    photo = (await add(shared, await shared.new_contact(), stream.getvalue()))["data"]
    assert (await download(shared, photo["file_content_url"]))[1] == stream.getvalue()


async def test_where_a_photo_was_taken_is_not_kept(shared: OrganisationClient) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[2] = (35.0, 10.0, 20.0)
    stream = BytesIO()
    Image.new("L", (8, 8), 7).save(stream, "JPEG", exif=exif)
    contact = await shared.new_contact()
    photo = (await add(shared, contact, stream.getvalue()))["data"]
    assert (await download(shared, photo["file_content_url"]))[1] == image()
    kept = "SELECT content FROM ledger.photos WHERE organisation = $1 AND contact = $2"
    assert [row["content"] for row in await query_rows(shared.api, kept, contact)] == [image()]


@pytest.mark.parametrize("path", [VIEW, ADD, REMOVE])
@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        (None, "MANDATORYPARAMETER"),
        ({"id": unknown_id()}, "ENTITYNOTFOUND"),
        ({"name": "x"}, "INVALIDIDENTIFIER"),
    ],
)
async def test_refuses_contacts(
    shared: OrganisationClient, path: str, identifier: Json | None, name: str
) -> None:
    given: Json = {} if identifier is None else {IDENTIFIER: identifier}
    text = {key: "=".join(*value.items()) for key, value in given.items()}
    await shared.create_contact()
    async with untouched(shared.api):
        if path == VIEW:
            answer = await shared.api.call("GET", path, query=text)
        elif path == ADD:
            file = ("a.jpg", image(), "image/jpeg")
            answer = await shared.api.call("POST", path, form=text, file=file)
        else:
            answer = await shared.api.call("POST", path, body=given)
    assert refusal(answer) == (name, IDENTIFIER)


async def test_refuses_the_wrong_notation_of_the_body(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    assert refusal(await shared.api.call("POST", ADD, body=named(contact)))[0] == "INVALIDREQUEST"
    form = {IDENTIFIER: f"id={contact}"}
    assert refusal(await shared.api.call("POST", REMOVE, form=form))[0] == "INVALIDREQUEST"


async def test_repeating_adds_another_without_a_key_and_not_with_one(
    shared: OrganisationClient,
) -> None:
    contact = await shared.new_contact()
    first, second = [(await add(shared, contact, image()))["data"] for _ in range(2)]
    assert first["file_content_url"] != second["file_content_url"]
    headers, file = {"Idempotency-Key": unknown_id()}, ("a.jpg", image(), "image/jpeg")
    form = {IDENTIFIER: f"id={contact}"}
    first = await shared.api.call("POST", ADD, form=form, file=file, headers=headers)
    async with untouched(shared.api):
        again = await shared.api.call("POST", ADD, form=form, file=file, headers=headers)
        other = ("a.jpg", image(shade=9), "image/jpeg")
        changed = await shared.api.call("POST", ADD, form=form, file=other, headers=headers)
    assert again == first
    assert refusal(changed)[0] == "INVALIDREQUEST"
    key = {"Idempotency-Key": unknown_id()}
    removed = await shared.api.call("POST", REMOVE, body=named(contact), headers=key)
    await add(shared, contact, image())
    async with untouched(shared.api):
        again = await shared.api.call("POST", REMOVE, body=named(contact), headers=key)
    assert again == removed


async def test_a_race_leaves_one_photo(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    calls = [add(shared, contact, image(shade=n), f"{n}.jpg") for n in range(8)]
    removals = [shared.api.call("POST", REMOVE, body=named(contact)) for _ in range(2)]
    answers = await asyncio.gather(*calls[:4], *removals, *calls[4:])
    assert {answer["status"]["code"] for answer in answers} == {"OK"}
    last = (await add(shared, contact, image(), "last.jpg"))["data"]
    assert await view(shared, contact) == last
    stored = await query_rows(
        shared.api,
        "SELECT p.id, c.version FROM ledger.photos p JOIN views.contacts c"
        " ON c.organisation = p.organisation AND c.id = p.contact AND c.photo = p.id"
        " WHERE p.organisation = $1 AND p.contact = $2",
        contact,
    )
    assert [row["id"] for row in stored] == [last["file_content_url"].partition("=")[2]]
    events = "SELECT 1 FROM ledger.events WHERE organisation = $1 AND stream_id = $2::text::uuid"
    assert len(await query_rows(shared.api, events, contact)) == stored[0]["version"]


async def test_bytes_and_names_stay_out_of_the_events(shared: OrganisationClient) -> None:
    contact, content = await shared.new_contact(person()), image()
    await add(shared, contact, content, "holiday.jpg")
    events = await query_rows(
        shared.api,
        "SELECT payload::text AS text FROM ledger.events WHERE organisation = $1"
        " AND stream_id = $2::text::uuid AND topic LIKE '%photo_added'",
        contact,
    )
    text = events[0]["text"]
    assert len(text) < 1000
    assert "holiday" not in text
    assert all(word in text for word in ("digest", "size", "mime_type", "photo_id"))
    found = await query_rows(
        shared.api,
        "SELECT content FROM ledger.photos WHERE organisation = $1 AND contact = $2",
        contact,
    )
    assert found[0]["content"] == content


async def test_refuses_downloads(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    url = (await add(shared, contact, image()))["data"]["file_content_url"]
    for bad, status, name in (
        (f"{SERVLET}?id={unknown_id()}", 404, "ENTITYNOTFOUND"),
        (f"{SERVLET}?id=", 404, "ENTITYNOTFOUND"),
        (f"{SERVLET}?x=1", 404, "ENTITYNOTFOUND"),
        (f"{SERVLET}?id={contact}", 404, "ENTITYNOTFOUND"),
        (f"{SERVLET}?id=%00", 404, "ENTITYNOTFOUND"),
    ):
        found = await download(shared, bad)
        assert (found[0], refusal(found[1])[0]) == (status, name), bad
    for token in ("", "x", shared.api.token[:-2]):
        found = await download(shared, url, token)
        assert (found[0], refusal(found[1])[0]) == (401, "INVALIDTOKEN")
    token = await shared.api.login()
    await shared.api.open("authentication/token/release", {"token": token})
    assert (await download(shared, url, token))[0] == 401
    # The client puts server, URL and token together; neither case nor order of the query matters.
    async with aiohttp.ClientSession() as http:
        server = shared.api.service.url
        lower = url.partition("=")[2].lower()
        async with http.get(f"{server}{SERVLET}?token={shared.api.token}&id={lower}") as answer:
            assert (answer.status, await answer.read()) == (200, image())
