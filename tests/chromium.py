"""A headless Chromium, driven over the DevTools protocol; nothing but aiohttp is needed for it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.debian_tools import tool
from tests.harness.waiting import wait_for

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)


class Page:
    """One tab.

    Attributes:
        complaints: what the console said as warning or error, uncaught exceptions, and refused loads.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    async def listen(self) -> None:
        """Take what Chromium says, until the tab is gone."""
        async for message in self._socket:
            body = json.loads(message.data)
            if "id" in body:
                future = self._answers.pop(body["id"], None)
                if future is not None and not future.done():
                    future.set_result(body)
            else:
                self._note(body.get("method", ""), body.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"warning", "error"}:
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"warning", "error", "assert"}:
            self.complaints.append(" ".join(str(arg.get("value")) for arg in params["args"]))
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a script opened a dialog: {params['message']}")

    async def call(self, method: str, **params: Any) -> Any:
        """One command of the protocol; its result."""
        self._number += 1
        future = asyncio.get_running_loop().create_future()
        self._answers[self._number] = future
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        async with asyncio.timeout(60):
            body = await future
        assert "error" not in body, f"{method}: {body['error']}"
        return body["result"]

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, f"{expression}: {found['exceptionDetails']}"
        return found["result"].get("value")

    async def until(self, expression: str, what: str, timeout_s: float = 60.0) -> Any:
        """Wait until a JavaScript expression is true; its value."""

        async def ask() -> Any:
            return await self.evaluate(expression)

        return await wait_for(ask, what=f"{what} ({expression})", timeout_s=timeout_s)

    async def open(self, url: str, *, width: int = 1600, height: int = 1000, dark: bool = False) -> None:
        """Go to a page in a window of this size; the system prefers dark or light."""
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call("Page.navigate", url=url)

    async def resize(self, width: int, height: int) -> None:
        """Another window."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def key(self, name: str, code: int) -> None:
        """Press and release a key, by its name and its Windows key code."""
        for kind in ("rawKeyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code)
        if name == "Enter":
            await self.call("Input.dispatchKeyEvent", type="char", text="\r", key=name)

    async def picture(self, path: Path) -> None:
        """What is seen, as a PNG."""
        found = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(found["data"]))


@asynccontextmanager
async def chromium() -> AsyncIterator[Page]:
    """A new browser with a new profile, and its one tab."""
    # Chromium's helpers outlive it by a moment and still write there.
    with tempfile.TemporaryDirectory(prefix="riverlens-chromium-", ignore_cleanup_errors=True) as profile:
        words = [tool("chromium"), *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        browser = subprocess.Popen(  # noqa: ASYNC220  # returns at once
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            async with aiohttp.ClientSession() as session:
                address = await _tab(session, Path(profile))
                async with session.ws_connect(address, max_msg_size=64 * 1024 * 1024) as socket:
                    page = Page(socket)
                    listening = asyncio.create_task(page.listen())
                    try:
                        yield page
                    finally:
                        listening.cancel()
                        await asyncio.gather(listening, return_exceptions=True)
        finally:
            await asyncio.to_thread(_end, browser)


def _end(browser: subprocess.Popen[bytes]) -> None:
    """End a browser, then whatever of its helpers is left in its group."""
    browser.terminate()
    with suppress(subprocess.TimeoutExpired):
        browser.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(browser.pid, signal.SIGKILL)
    browser.wait()


async def _tab(session: aiohttp.ClientSession, profile: Path) -> str:
    """The DevTools address of the first tab."""
    told = profile / "DevToolsActivePort"

    async def port() -> str:
        lines = told.read_text().splitlines() if told.exists() else []
        return lines[0] if len(lines) > 1 else ""

    number = await wait_for(port, what="Chromium's DevTools port")

    async def page() -> str:
        async with session.get(f"http://127.0.0.1:{number}/json/list") as reply:
            tabs = [tab for tab in await reply.json() if tab["type"] == "page"]
        return tabs[0]["webSocketDebuggerUrl"] if tabs else ""

    return await wait_for(page, what="Chromium's tab")
