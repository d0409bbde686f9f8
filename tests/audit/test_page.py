"""The history page as HTML: who gets in, what is escaped, what browsers are told."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlencode

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.http.browser.history import COOKIE, PAGES, SIGN_IN, SIGN_OUT, SITE
from infra.http.browser.templates import ASSETS, HEADERS, asset
from tests.fixtures.auditors import Auditor
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import PASSWORD

SESSIONS = """
SELECT topic FROM ledger.events WHERE organisation = $1 AND metadata ->> 'user' = '10' ORDER BY position
"""
SCRIPT = "<script>alert('1')</script>"


async def seen(
    audited: Auditor,
    path: str,
    *,
    cookie: str | None = None,
    form: dict[str, str] | None = None,
    **headers: str,
) -> tuple[int, str, aiohttp.ClientResponse]:
    """Status, HTML and response of a page, asked for by a browser that keeps nothing."""
    service = audited.desk.api.service
    cookies = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as browser:
        verb = "GET" if form is None else "POST"
        async with browser.request(
            verb,
            service.url + path,
            data=None if form is None else urlencode(form),
            headers=cookies | {name.replace("_", "-"): v for name, v in headers.items()},
            allow_redirects=False,
        ) as answer:
            return answer.status, await answer.text(), answer


async def read(audited: Auditor, path: str) -> str:
    """A page that an auditor must be shown."""
    status, html, _ = await seen(audited, path, cookie=audited.tokens["auditor"])
    assert status == 200, html
    return html


def credentials(audited: Auditor, **more: str) -> dict[str, str]:
    organisation = audited.desk.api.organisation
    known = {"organisation": organisation, "username": "auditor", "password": PASSWORD}
    return known | {"next": PAGES} | more


async def test_nobody_gets_in_without_signing_in(audited: Auditor) -> None:
    path = f"{PAGES}/user/1?version=1"
    for cookie in (None, "x", "a.b.c"):
        status, _, answer = await seen(audited, path, cookie=cookie)
        assert status == 303
        assert answer.headers["Location"] == f"{SIGN_IN}?next=%2Fhistory%2Fuser%2F1%3Fversion%3D1"
    _, html, _ = await seen(audited, answer.headers["Location"])
    assert f'name="next" value="{path}"' in html


async def test_signing_in_sets_a_cookie_that_only_we_can_read(audited: Auditor) -> None:
    status, _, answer = await seen(
        audited, SIGN_IN, form=credentials(audited, next="/history/user/1")
    )
    assert (status, answer.headers["Location"]) == (303, "/history/user/1")
    (cookie,) = answer.headers.getall("Set-Cookie")
    name, *attributes = cookie.split("; ")
    assert set(attributes) == {"HttpOnly", "Path=/history", "SameSite=Strict"}
    token = name.removeprefix(f"{COOKIE}=")
    status, html, _ = await seen(audited, "/history/user/1", cookie=token)
    assert status == 200
    assert token not in html


async def test_signing_out_ends_the_session(audited: Auditor) -> None:
    _, _, answer = await seen(audited, SIGN_IN, form=credentials(audited))
    token = answer.cookies[COOKIE].value
    status, _, answer = await seen(audited, SIGN_OUT, cookie=token, form={})
    assert (status, answer.headers["Location"]) == (303, SIGN_IN)
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert (await seen(audited, PAGES, cookie=token))[0] == 303
    assert (await seen(audited, SIGN_OUT, cookie=token, form={}))[0] == 303


async def test_who_is_not_let_in(audited: Auditor) -> None:
    for wrong in ({"password": "wrong"}, {"username": SCRIPT}, {"organisation": ""}):
        status, html, answer = await seen(audited, SIGN_IN, form=credentials(audited, **wrong))
        assert status == 401
        assert "Wrong organisation, user name or password." in html
        assert SCRIPT not in html
        assert "Set-Cookie" not in answer.headers


async def test_a_user_who_is_no_auditor_leaves_no_session(audited: Auditor) -> None:
    form = credentials(audited, username="service")
    status, html, answer = await seen(audited, SIGN_IN, form=form)
    assert status == 403
    assert "You need the auditor role." in html
    assert "Set-Cookie" not in answer.headers
    *_, begun, ended = await query_rows(audited.desk.api, SESSIONS)
    assert (begun["topic"], ended["topic"]) == ("session.issued", "session.released")
    status, html, _ = await seen(audited, PAGES, cookie=audited.tokens["service"])
    assert (status, "You need the auditor role" in html) == (403, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", [SIGN_IN, SIGN_OUT])
async def test_forms_of_other_sites_are_refused(
    audited: Auditor, path: str, headers: dict[str, str]
) -> None:
    cookie = audited.tokens["auditor"]
    form = credentials(audited)
    status, _, answer = await seen(audited, path, cookie=cookie, form=form, **headers)
    assert status == 400
    assert "Set-Cookie" not in answer.headers
    assert (await seen(audited, PAGES, cookie=cookie))[0] == 200


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/history",
        "//evil.example/history",
        "/docs",
        "///evil.example/history/x",
        "///history/x",
        "/\\evil.example/history",
        "\\\\evil",
        "https:/history",
        "/historyevil",
        "/history\n/x",
        "",
    ],
)
async def test_signing_in_leads_nowhere_else(audited: Auditor, wanted: str) -> None:
    _, _, answer = await seen(audited, SIGN_IN, form=credentials(audited, next=wanted))
    assert answer.headers["Location"] == PAGES


@given(wanted=st.lists(st.sampled_from(["/", "\\", "history", ":", "@", "?", "#", "\t", "x.y"])))
def test_no_target_leads_out_of_the_site(wanted: list[str]) -> None:
    """Any text is answered by a path of the site: never `//` or a backslash, which browsers take for a host."""
    target = SITE.local_path("".join(wanted))
    assert re.match(r"/history(/|\?|$)", target)
    assert "\\" not in target
    assert target.isprintable()


async def test_browsers_are_told_to_keep_nothing_and_run_nothing_foreign(audited: Auditor) -> None:
    for path in (PAGES, f"{PAGES}/user/1", f"{PAGES}/user/x", SIGN_IN):
        _, html, answer = await seen(audited, path, cookie=audited.tokens["auditor"])
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<script(?![^>]* src=)|\son\w+=|<style|\sstyle=", html)
        links = re.findall(r'(?:src|href|action)="([^"]*)"', html)
        assert links
        assert all(re.match(r"/(history|$)|\?|data:,$", link) for link in links), links
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_everything_is_escaped(audited: Auditor) -> None:
    desk = audited.desk
    contact = await desk.new_contact(first_name=SCRIPT, last_name="\"'&", type="PERSON")
    said = await desk.create(subject='"><img src=x onerror=alert(1)>', notes="{{ 7 * 7 }}")
    for entity in (f"contact_information/{contact}", f"communication/{said['id']}"):
        html = await read(audited, f"{PAGES}/{entity}")
        assert SCRIPT not in html
        assert "<img" not in html
    assert "{{ 7 * 7 }}" in unescape(html)
    html = await read(audited, f"{PAGES}/contact_information/{contact}")
    assert SCRIPT in unescape(html)
    status, html, _ = await seen(audited, f"{PAGES}/{SCRIPT}/1", cookie=audited.tokens["auditor"])
    assert (status, SCRIPT in html) == (400, False)


async def test_the_page_of_a_version(audited: Auditor) -> None:
    desk = audited.desk
    draft = await desk.create_draft(subject="First", notes="Gone")
    await desk.call("update", draft, subject="Second", notes=None)
    await desk.call("complete", draft)
    path = f"{PAGES}/communication/number={draft['number']}"
    now, then = await read(audited, path), await read(audited, f"{path}?version=2")
    document = then[then.index('id="document"') : then.index(">Events</h2>")]
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", document))
    assert "Version 2 Since " in plain
    assert re.search(r"subject − First \+ Second version 2", plain)
    assert re.search(r"notes − Gone version 2", plain)
    assert "life cycle state DRAFT version 1" in plain
    assert " (current)" in now
    assert then.count('<li id="v') == 3
    assert re.search(r'type="range" min="1" max="3" value="2"', then)
    assert await read(audited, f"{path}?version=99") != then
    status, _, _ = await seen(audited, f"{path}?version=x", cookie=audited.tokens["auditor"])
    assert status == 400


async def test_links_lead_to_causes_and_effects(audited: Auditor) -> None:
    desk = audited.desk
    entry = await desk.create_email()
    html = await read(audited, f"{PAGES}/communication_queue/{entry['id']}")
    (cause,) = re.findall(r'Caused by <a href="([^"]+)"', html)
    html = await read(audited, cause)
    (effect,) = re.findall(r'Led to <a href="([^"]+)"', html)
    assert effect.endswith(entry["id"])
    for link in set(re.findall(r'href="(/history/[^".]+/[^".]+)"', html)):
        await read(audited, link)


async def test_finding(audited: Auditor) -> None:
    html = await read(audited, PAGES)
    assert '<option value="communication/">' in html
    token = audited.tokens["auditor"]
    status, _, answer = await seen(audited, f"{PAGES}?entity=user%2Fusername%3Ddemo", cookie=token)
    assert (status, answer.headers["Location"]) == (303, f"{PAGES}/user/1")
    status, html, _ = await seen(audited, f"{PAGES}?entity=user%2Fx", cookie=token)
    assert (status, "Entity not found" in html) == (404, True)


async def test_secrets_are_not_on_the_page(audited: Auditor) -> None:
    html = await read(audited, f"{PAGES}/user/11")
    assert PASSWORD not in html
    assert "secrets › password" in unescape(html)


@pytest.mark.parametrize("name", ASSETS)
async def test_the_files_of_the_pages(audited: Auditor, name: str) -> None:
    status, text, answer = await seen(audited, f"{PAGES}/{name}")
    assert (status, answer.headers["Content-Type"]) == (200, ASSETS[name])
    assert "//" not in re.sub(r"^// .*$", "", text, flags=re.M)


def test_differences_do_not_rely_on_colour() -> None:
    macros = asset("values.html").decode()
    assert '<del><span class="sign">−</span>' in macros
    assert '<ins><span class="sign">+</span>' in macros
    assert "text-decoration: line-through" in asset("history.css").decode()
