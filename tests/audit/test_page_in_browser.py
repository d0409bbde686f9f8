"""The history page in a real browser: sign-in, the slider, with scripts and without."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fixtures.auditors import Auditor
from tests.fixtures.browser import CHROMIUM, Tab, tab
from tests.fixtures.service import PASSWORD

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="THE HISTORY PAGE WAS NOT TESTED: there is no Chromium on this machine"
)

SIGN_IN = """
(() => {{
  const fields = document.forms[0].elements;
  fields.organisation.value = {organisation!r};
  fields.username.value = 'auditor';
  fields.password.value = {password!r};
  fields.password.form.querySelector('button').click();
}})()
"""
COLOURS = "getComputedStyle(document.querySelector('{}')).color"
SCRIPT = "<script>document.title = 'broken'</script>"
SLIDE = """
(() => {
  const slider = document.getElementById('version');
  slider.value = 1;
  slider.dispatchEvent(new Event('input', {bubbles: true}));
  slider.dispatchEvent(new Event('change', {bubbles: true}));
})()
"""


@pytest_asyncio.fixture(scope="module")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tab]:
    async with tab(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


async def drafted(audited: Auditor) -> str:
    """The address of the history of a communication with three versions."""
    desk = audited.desk
    text = "Dear customer,\n\nhere it is."
    draft = await desk.create_draft(
        subject=SCRIPT, media="EMAIL", to="ada@example.org", notes="First"
    )
    await desk.call("update", draft, subject="Your offer", notes=None, content=text)
    await desk.call("complete", draft)
    return f"{desk.api.service.url}/history/communication/number={draft['number']}"


async def signed_in(audited: Auditor, chromium: Tab, page: str) -> None:
    """Opens a page by way of the sign-in."""
    await chromium.tell("Network.clearBrowserCookies")
    await chromium.go(page)
    assert await chromium.run("document.querySelector('h1').innerText") == "Sign in"
    script = SIGN_IN.format(organisation=audited.desk.api.organisation, password=PASSWORD)
    await chromium.turning(chromium.run(script))
    assert await chromium.run("location.href") == page


async def test_an_auditor_reads_a_history(audited: Auditor, chromium: Tab) -> None:
    page = await drafted(audited)
    await signed_in(audited, chromium, page)
    number = page.rpartition("=")[2]
    assert await chromium.run("document.title") == f"Communication {number} · crmledger"
    assert await chromium.run("document.cookie") == ""
    assert await chromium.run("document.querySelectorAll('.timeline > li').length") == 3
    ink, paper = (
        await chromium.run(COLOURS.format("ins")),
        await chromium.run(COLOURS.format("del")),
    )
    assert ink != paper
    picture = await chromium.picture("history")
    assert picture.stat().st_size > 20_000


async def test_the_slider_shows_a_version_when_it_is_let_go(
    audited: Auditor, chromium: Tab
) -> None:
    page = await drafted(audited)
    await signed_in(audited, chromium, page)
    assert await chromium.run("document.querySelector('.slider button').hidden") is True
    await chromium.turning(chromium.run(SLIDE))
    assert await chromium.run("location.href") == f"{page}?version=1"
    assert "Version 1\n" in await chromium.run("document.body.innerText")
    assert await chromium.run("document.querySelector('[aria-current]').id") == "v1"


async def test_without_scripts_the_button_does_the_same(audited: Auditor, chromium: Tab) -> None:
    page = await drafted(audited)
    await signed_in(audited, chromium, page)
    await chromium.scripts(allowed=False)
    try:
        await chromium.go(page)
        assert await chromium.run("document.querySelector('.slider button').hidden") is False
        await chromium.run("document.getElementById('version').value = 2")
        await chromium.turning(chromium.run("document.querySelector('.slider button').click()"))
        assert await chromium.run("location.href") == f"{page}?version=2"
        await chromium.picture("history-version")
    finally:
        await chromium.scripts(allowed=True)


async def test_it_prints_without_what_is_only_for_the_screen(
    audited: Auditor, chromium: Tab
) -> None:
    await signed_in(audited, chromium, await drafted(audited))
    await chromium.tell("Emulation.setEmulatedMedia", media="print")
    try:
        hidden = "getComputedStyle(document.querySelector('.slider')).display"
        assert await chromium.run(hidden) == "none"
        assert await chromium.run("document.querySelectorAll('.timeline > li').length") == 3
    finally:
        await chromium.tell("Emulation.setEmulatedMedia", media="")
    pdf = await chromium.tell("Page.printToPDF")
    assert len(pdf["data"]) > 10_000


async def test_signing_out(audited: Auditor, chromium: Tab) -> None:
    page = await drafted(audited)
    await signed_in(audited, chromium, page)
    await chromium.turning(chromium.run("document.querySelector('.bar button').click()"))
    assert (await chromium.run("location.href")).endswith("/history/sign-in")
    await chromium.go(page)
    assert await chromium.run("document.querySelector('h1').innerText") == "Sign in"
