"""The history page in a real browser: sign-in, the slider, with scripts and without."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.auditors import Auditor
from tests.browser import CHROMIUM, Tab, tab
from tests.service import PASSWORD

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


async def test_an_auditor_reads_a_history(audited: Auditor, chromium: Tab) -> None:
    desk = audited.desk
    draft = await desk.draft(
        subject="<script>document.title = 'broken'</script>",
        media="EMAIL",
        to="ada@example.org",
        notes="First words",
    )
    await desk.on(
        "update", draft, subject="Your offer", notes=None, content="Dear customer,\n\nhere it is."
    )
    await desk.on("complete", draft)
    page = f"{desk.api.service.url}/history/communication/number={draft['number']}"
    await chromium.go(page)
    assert await chromium.run("document.querySelector('h1').innerText") == "Sign in"
    script = SIGN_IN.format(organisation=desk.api.organisation, password=PASSWORD)
    await chromium.turning(chromium.run(script))
    assert await chromium.run("location.href") == page
    assert await chromium.run("document.title") == f"Communication {draft['number']} · crmledger"
    assert await chromium.run("document.cookie") == ""
    assert await chromium.run("document.querySelectorAll('.timeline > li').length") == 3
    picture = await chromium.picture("history")
    assert picture.stat().st_size > 20_000
