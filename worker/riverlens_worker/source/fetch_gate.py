"""Keeps aiokafka's fetcher from asking Kafka for frames before the pace says so. Shell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from riverlens_worker.fetch_pace import CROWDED, FetchPace, Terms
from riverlens_worker.source.state import SourceState

_MARK = 1
"""Offsets behind the last frame of a partition that may hold none: the mark of a transaction's end."""


class FetchGate:
    """Stands between aiokafka's fetcher and what it would send. Writer of the fetch pace.

    aiokafka takes a fetch's terms only at the start, and asks again as soon as what it fetched is read. So
    the terms are set on its fetcher, and its choice of what to send next is looked through: fetches may be
    put off, all else, as a question for an offset, goes on.
    """

    def __init__(self, state: SourceState) -> None:
        self._state = state
        self._pace = FetchPace()
        self._choose: Any = None
        self._open = self._crowded = self._asleep = False

    def set(self, terms: Terms) -> None:
        """Of the fetches that follow."""
        self._crowded = terms == CROWDED
        fetcher = self._state.consumer._fetcher  # noqa: SLF001  # aiokafka has no such setting
        fetcher._fetch_max_wait_ms = terms.hold_ms  # noqa: SLF001  # the same
        fetcher._prefetch_backoff = terms.unread_s  # noqa: SLF001  # the same

    def answered(self, frames: int) -> None:
        """So many frames came together."""
        self._pace.answered(self._state.now_s(), frames)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """No fetch is put off within: where each record is fetched by itself."""
        self._open = True
        try:
            yield
        finally:
            self._open = False

    async def run(self) -> None:
        """Put fetches off, but not where a batch is due sooner than was thought; until cancelled."""
        fetcher = self._state.consumer._fetcher  # noqa: SLF001  # aiokafka has no such setting
        self._choose = fetcher._get_actions_per_node  # noqa: SLF001  # the same
        fetcher._get_actions_per_node = self._chosen  # noqa: SLF001  # the same
        while True:
            await self._state.answered.until(lambda: self._asleep and self._rest_s() <= 0)
            self._asleep = False
            fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001  # as it is woken when records are read

    def _rest_s(self) -> float:
        state = self._state
        # How long files and hosts take to bring what a frame names, nobody knows beforehand.
        if self._open or state.settings.reference_prefixes or self._behind():
            return 0.0
        return self._pace.rest_s(state.demand(), state.now_s(), crowded=self._crowded)

    def _behind(self) -> bool:
        """Whether the last fetch left frames behind: Kafka sends some megabytes, one of a partition."""
        state = self._state
        roomy = (lease for lease in state.leases if state.leases.has_room(lease))
        return any((state.unfetched(lease) or 0) > _MARK for lease in roomy)

    def _chosen(self, assignment: Any) -> tuple[Any, ...]:
        """What aiokafka would send now: fetches by node, questions for offsets, how long it waits then."""
        chosen: tuple[Any, ...] = self._choose(assignment)
        try:
            fetches, offsets, timeout_s, *others = chosen
            if fetches:
                rest_s = self._rest_s()
                self._asleep = rest_s > 0
                if self._asleep:
                    return [], offsets, min(timeout_s, rest_s), *others
                self._pace.asked(self._state.now_s(), len(fetches))
        except Exception as error:  # noqa: BLE001  # in aiokafka's task it would end all reading without a word
            self._state.fail(error)
        return chosen
