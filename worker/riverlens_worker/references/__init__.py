"""Fetches frames that are references (`text/uri-list`), between Source and DecodePool. Shell.

`reference_uri` says what may be fetched, `turns` what is fetched next, `fetcher` gets it (`files`,
`https`). Other frames pass by without a task each. A reference that hangs holds back its own partition's
events, by their order, and nothing else. Where nothing may be fetched, this stage is a look at each
content type.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from riverlens.dead_letter import Reason
from riverlens_worker.admission import Admitted
from riverlens_worker.channel import Channel, EndOfStream, Signal
from riverlens_worker.messages import LeasedFrame, Rejected, dead_letter, fenced
from riverlens_worker.metrics import Metrics
from riverlens_worker.reference_uri import AllowList, RefusedError, is_reference
from riverlens_worker.references.failures import FetchError
from riverlens_worker.references.fetcher import Fetcher, FetchLimits
from riverlens_worker.references.turns import Turns, Wanted
from riverlens_worker.settings import WorkerSettings

_CHUNK_FRAMES = 4
_GRACE_S = 1.0
"""Fetches under way when reading ends may take so much longer; then the next owner fetches them."""


@dataclass(frozen=True, slots=True)
class ReferencePorts:
    """Where frames come from.

    Attributes:
        changed: fires when room is given back or a lease's state changes.
        hold: a frame with what was fetched for it, counted in its lease's room.
    """

    take: Callable[[int], Awaitable[list[Admitted]]]
    changed: Signal
    hold: Callable[[LeasedFrame, bytes], LeasedFrame]


class References:
    """Frames out through `take`, references among them already fetched."""

    def __init__(self, ports: ReferencePorts, settings: WorkerSettings, metrics: Metrics) -> None:
        """Raises SettingsError where a setting of references cannot be used."""
        self._ports = ports
        self._metrics = metrics
        self._allowed = AllowList(settings.reference_prefixes)
        limits = FetchLimits(
            settings.max_frame_bytes, settings.reference_timeout_ms / 1000, settings.reference_ca_file
        )
        self._fetcher = Fetcher(self._allowed, limits, metrics.reference_retries.inc)
        self._turns = Turns(
            at_once=settings.max_fetches_per_host,
            room_bytes=settings.room_bytes,
            most_bytes=settings.max_frame_bytes,
        )
        self._out: Channel[Admitted] = Channel(_CHUNK_FRAMES * settings.decode_threads)
        self._tasks: dict[Wanted, asyncio.Task[None]] = {}
        self._passing = 0
        self._most = settings.max_fetches_per_host
        self._ended = False
        self._over = False

    async def take(self, limit: int) -> list[Admitted]:
        """At least one frame and at most `limit`; references that cannot be fetched as rejections.

        Raises:
            EndOfStream: reading has ended.
        """
        if self._allowed:
            return await self._out.receive_many(limit)
        looked = [self._look(item) for item in await self._ports.take(limit)]
        return [item for item in looked if not isinstance(item, Wanted)]

    @property
    def at_once(self) -> int:
        """References of one host that are fetched side by side, at most; 0 where nothing may be fetched."""
        return self._most if self._allowed else 0

    @property
    def held(self) -> int:
        """Frames taken and not taken from here: references above all."""
        return len(self._turns) + self._passing + len(self._out)

    async def run(self) -> None:
        """Fetch until the input ends. At once done where nothing may be fetched."""
        if not self._allowed:
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pull())
                group.create_task(self._dispatch(group))
        finally:
            await self._fetcher.close()
        self._out.close()

    def _look(self, item: Admitted) -> Admitted | Wanted:
        """The item as it is, unless it is a reference: that is to be fetched, or refused."""
        if isinstance(item, Rejected) or not is_reference(item.frame.image, item.frame.content_type):
            return item
        try:
            prefix, location = self._allowed.decide(item.frame.image)
        except RefusedError as error:
            return dead_letter(item, Reason.REFERENCE_FAILED, str(error))
        return Wanted(item, prefix, location)

    async def _pull(self) -> None:
        """Pass frames on, and references to the dispatcher."""
        try:
            while True:
                passing: list[Admitted] = []
                for looked in map(self._look, await self._ports.take(_CHUNK_FRAMES)):
                    if isinstance(looked, Wanted):
                        self._turns.add(looked)
                        self._ports.changed.fire()
                    else:
                        passing.append(looked)
                self._passing = len(passing)
                if passing:
                    await self._out.send_many(passing)
                self._passing = 0
        except EndOfStream:
            pass
        self._ended = True
        unstarted = self._turns.unstarted()
        asyncio.get_running_loop().call_later(_GRACE_S, self._expire)
        self._ports.changed.fire()
        await self._give_up(unstarted)

    def _expire(self) -> None:
        self._over = True
        self._ports.changed.fire()

    async def _dispatch(self, group: asyncio.TaskGroup) -> None:
        """Start what may start, give up what moved on, until the input has ended and nothing is left."""
        turns = self._turns
        while not (self._ended and not len(turns)):
            await self._ports.changed.until(self._is_there_work)
            await self._give_up(turns.everything() if self._over else turns.lost())
            while (wanted := turns.next()) is not None:
                self._tasks[wanted] = group.create_task(self._fetch(wanted))

    def _is_there_work(self) -> bool:
        turns = self._turns
        at_end = self._ended and (self._over or not len(turns))
        return at_end or turns.any_lost() or turns.any_ready()

    async def _fetch(self, wanted: Wanted) -> None:
        started_s = time.monotonic()
        item: Admitted
        try:
            image = await self._fetcher.get(wanted.prefix, wanted.location)
        except FetchError as error:
            image, item = b"", dead_letter(wanted.source, Reason.REFERENCE_FAILED, str(error))
        else:
            item = wanted.source
        finally:
            del self._tasks[wanted]
        # No await from here to `hold`: who gives up a fetch must find it under way or ended.
        if not self._turns.done(wanted):
            return
        self._metrics.reference_seconds.observe(time.monotonic() - started_s)
        if isinstance(item, LeasedFrame):
            item = self._ports.hold(item, image)
        self._ports.changed.fire()
        await self._out.send_many([item])

    async def _give_up(self, given_up: Sequence[Wanted]) -> None:
        """Fence references that are not fetched any more: the partition's next owner reads them again."""
        for wanted in given_up:
            if wanted in self._tasks:
                self._tasks[wanted].cancel()
        if given_up:
            await self._out.send_many([fenced(wanted.source) for wanted in given_up])
