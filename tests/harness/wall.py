"""A wall in this process, and a browser's part of the conversation with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from riverlens_wall.server import Wall
from riverlens_wall.settings import WallSettings
from tests.conftest import TopicSet
from tests.harness.waiting import wait_for


@asynccontextmanager
async def serve(topics: TopicSet, **fields: Any) -> AsyncIterator[str]:
    """A running wall; its address."""
    given: dict[str, Any] = {
        "kafka": topics.settings.kafka,
        "frames_topic": topics.frames,
        "events_topic": topics.events,
        "wall_port": 0,
        "images_per_second": 15,
    }
    wall = Wall(WallSettings(**{**given, **fields}))
    address = await wall.start()
    running = asyncio.create_task(wall.run())
    try:
        yield address
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await wall.close()


class Browser:
    """As a browser: watches all cameras, draws at once.

    Attributes:
        status: the last one.
        pictures: by camera key, the last head and image.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.status: dict[str, Any] = {}
        self.pictures: dict[int, tuple[dict[str, Any], bytes]] = {}
        self._socket = socket
        self._watched: list[int] = []

    async def listen(self) -> None:
        """Take what the wall says, until it is gone."""
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                length = int.from_bytes(message.data[:4])
                head = json.loads(message.data[4 : 4 + length])
                self.pictures[head["camera"]] = (head, message.data[4 + length :])
                continue
            body = json.loads(message.data)
            if body["type"] == "round":
                await self._socket.send_json({"type": "drawn", "round": body["round"]})
            elif body["type"] == "status":
                self.status = body
                await self._watch([camera["key"] for camera in body["cameras"]])

    async def _watch(self, keys: list[int]) -> None:
        if keys != self._watched:
            self._watched = keys
            await self._socket.send_json({"type": "watch", "cameras": keys, "width": 240})

    async def until(self, ask: Callable[[], object], what: str) -> None:
        """Wait for something in what has come."""

        async def asked() -> object:
            return ask()

        await wait_for(asked, what=what)


@asynccontextmanager
async def browse(session: aiohttp.ClientSession, address: str) -> AsyncIterator[Browser]:
    async with session.ws_connect(f"{address}live", max_msg_size=0) as socket:
        browser = Browser(socket)
        listening = asyncio.create_task(browser.listen())
        try:
            await browser.until(lambda: browser.status.get("stages"), "a first status")
            yield browser
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def reads(browser: Browser) -> bool:
    """Whether frames are read: what is sent before is not seen."""
    figures: list[list[str]] = browser.status["stages"][0]["figures"]
    return figures[0][1] != "-"
