"""A real Chromium without a window, spoken to over its own protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

__all__ = ["ARTIFACTS", "CHROMIUM", "Tab", "tab"]

ARTIFACTS = Path(__file__).parent.parent / ".artifacts"
"""What a run of the tests leaves to be looked at; git ignores it."""


def _starts(program: str) -> bool:
    """Whether it is a browser, and not the stub that some systems have in its place."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.returncode == 0


_FOUND = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
CHROMIUM = next((program for program in _FOUND if program and _starts(program)), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0"),
)
LOADED = "document.readyState === 'complete' && !window.isOld"


class Tab:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    async def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol, which must not fail."""
        id_ = next(self._ids)
        await self._socket.send_json({"id": id_, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=30)
            if message.get("id") == id_:
                assert "error" not in message, message
                return dict(message["result"])

    async def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        result = await self.tell("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def go(self, url: str) -> None:
        """Opens an address and waits until the page is there."""
        await self.turning(self.tell("Page.navigate", url=url))

    async def turning(self, action: Any) -> None:
        """Waits until the page that an action leads to is there."""
        await self.run("window.isOld = true")
        await action
        async with asyncio.timeout(30):
            while not await self._is_loaded():
                await asyncio.sleep(0.02)

    async def _is_loaded(self) -> bool:
        try:
            return bool(await self.run(LOADED))
        except AssertionError:  # between two pages there is none to ask
            return False

    async def scripts(self, *, allowed: bool) -> None:
        """Whether pages that are opened from now on may run scripts."""
        await self.tell("Emulation.setScriptExecutionDisabled", value=not allowed)

    async def picture(self, name: str) -> Path:
        """A picture of the whole page, kept in `ARTIFACTS`."""
        shot = await self.tell("Page.captureScreenshot", captureBeyondViewport=True)
        ARTIFACTS.mkdir(exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


@asynccontextmanager
async def tab(profile: Path) -> AsyncIterator[Tab]:
    """A page of a browser of its own, that knows nothing and keeps nothing.

    :param profile: an empty folder.
    """
    assert CHROMIUM
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *OPTIONS,
        f"--user-data-dir={profile}",
        "--window-size=1100,900",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(profile)},
    )
    try:
        async with asyncio.timeout(60):
            port = await _port(profile / "DevToolsActivePort")
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as listed:
                pages = [page for page in await listed.json() if page["type"] == "page"]
            url = pages[0]["webSocketDebuggerUrl"]
            async with http.ws_connect(url, max_msg_size=0) as socket:
                opened = Tab(socket)
                await opened.tell("Page.enable")
                yield opened
    finally:
        browser.kill()
        await browser.wait()


async def _port(file: Path) -> int:
    """The port that the browser has chosen and written down."""
    while not file.exists() or not file.read_text():
        await asyncio.sleep(0.05)
    return int(file.read_text().splitlines()[0])
