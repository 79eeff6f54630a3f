"""The browsers that watch: each says what it sees, gets pictures and, every second, the status. Shell."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from aiohttp import WSMsgType, web

from riverlens_wall.painter import Picture
from riverlens_wall.wire import Drawn, Watch, read_message

logger = logging.getLogger(__name__)

_ACK_WITHIN_S = 30.0
_HEARTBEAT_S = 20.0
_MAX_MESSAGE_BYTES = 16 * 1024
_GOODBYE_S = 1.0
_TOO_MANY = 1013
"""WebSocket's close code `try again later`."""


class Viewer:
    """One browser. The next round of pictures leaves when it has drawn the last: a slow one gets fewer."""

    def __init__(self, socket: web.WebSocketResponse, picture: Callable[[int, int], Picture | None]) -> None:
        self.watch = Watch()
        self.changed = asyncio.Event()
        self._socket = socket
        self._picture = picture
        self._sent: dict[int, int] = {}
        self._round = 0
        self._drawn = asyncio.Event()
        self._untold: str | None = None
        self._news_told = asyncio.Event()

    async def listen(self) -> None:
        """Read what the browser says, until it leaves."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                continue
            match read_message(message.data):
                case Watch() as watch:
                    if watch.width != self.watch.width:
                        self._sent.clear()
                    self._sent = {key: number for key, number in self._sent.items() if key in watch.keys}
                    self.watch = watch
                    self.changed.set()
                case Drawn(number) if number >= self._round:
                    self._drawn.set()

    async def show(self) -> None:
        """Send pictures as they change, a round at a time.

        Raises:
            TimeoutError: the browser has not drawn a round for half a minute.
        """
        while True:
            await self.changed.wait()
            self.changed.clear()
            news = self._news()
            if not news:
                continue
            for key, picture in news:
                await self._socket.send_bytes(picture.message)
                self._sent[key] = picture.number
            self._round += 1
            self._drawn.clear()
            await self._socket.send_str(f'{{"type":"round","round":{self._round}}}')
            async with asyncio.timeout(_ACK_WITHIN_S):
                await self._drawn.wait()

    def tell(self, status: str) -> None:
        """Send this status next; a browser too slow for the last one never gets that one."""
        self._untold = status
        self._news_told.set()

    async def tell_all(self) -> None:
        """Send statuses as they come."""
        while True:
            await self._news_told.wait()
            self._news_told.clear()
            text, self._untold = self._untold, None
            if text is not None:
                await self._socket.send_str(text)

    def _news(self) -> list[tuple[int, Picture]]:
        found = ((key, self._picture(key, self.watch.width)) for key in sorted(self.watch.keys))
        return [(key, one) for key, one in found if one is not None and one.number > self._sent.get(key, 0)]


class Viewers:
    """All browsers of one wall.

    Attributes:
        watched: set while there is one.
    """

    def __init__(self, most: int, picture: Callable[[int, int], Picture | None]) -> None:
        self.watched = asyncio.Event()
        self._most = most
        self._picture = picture
        self._all: dict[Viewer, web.WebSocketResponse] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Viewer]:
        return iter(list(self._all))

    def wanted(self) -> dict[int, set[int]]:
        """The cameras that somebody sees, each with the widths wanted."""
        widths: dict[int, set[int]] = defaultdict(set)
        for viewer in self._all:
            for key in viewer.watch.keys:
                widths[key].add(viewer.watch.width)
        return widths

    def painted(self) -> None:
        """There are new pictures."""
        for viewer in self._all:
            viewer.changed.set()

    async def serve(self, request: web.Request, greeting: str) -> web.WebSocketResponse:
        """One browser's connection, until it ends."""
        socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_S, max_msg_size=_MAX_MESSAGE_BYTES, compress=False
        )
        await socket.prepare(request)
        if len(self._all) >= self._most:
            await _part(socket, _TOO_MANY, b"too many browsers; see max_viewers")
            return socket
        viewer = Viewer(socket, self._picture)
        with self._among(viewer, socket):
            await socket.send_str(greeting)
            tasks = [asyncio.create_task(part()) for part in (viewer.show, viewer.listen, viewer.tell_all)]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                # A connection that broke is how browsers leave: nothing to report.
                await asyncio.gather(*tasks, return_exceptions=True)
                await _part(socket, 1000, b"")
        return socket

    async def close(self) -> None:
        """Say goodbye to all at once."""
        await asyncio.gather(*(_part(each, 1001, b"the wall stops") for each in self._all.values()))

    @contextmanager
    def _among(self, viewer: Viewer, socket: web.WebSocketResponse) -> Iterator[None]:
        self._all[viewer] = socket
        self.watched.set()
        logger.debug("a browser came; now %d", len(self._all))
        try:
            yield
        finally:
            del self._all[viewer]
            if not self._all:
                self.watched.clear()


async def _part(socket: web.WebSocketResponse, code: int, why: bytes) -> None:
    """Close a connection; a browser that sleeps reads and answers nothing, and is not waited for."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_GOODBYE_S):
            await socket.close(code=code, message=why)
