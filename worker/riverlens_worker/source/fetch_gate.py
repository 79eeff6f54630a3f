"""Keeps aiokafka's fetcher from asking Kafka for frames before the pace says so. Shell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from riverlens_worker.fetch_pace import FetchPace, Terms
from riverlens_worker.source.state import SourceState


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
        self._open = False
        self._asleep = False

    def set(self, terms: Terms) -> None:
        """Of the fetches that follow."""
        fetcher = self._state.consumer._fetcher  # noqa: SLF001  # aiokafka has no such setting
        fetcher._fetch_max_wait_ms = terms.hold_ms  # noqa: SLF001  # the same
        fetcher._prefetch_backoff = terms.unread_s  # noqa: SLF001  # the same

    def answered(self) -> None:
        """Frames came."""
        self._pace.answered(self._state.now_s())

    @contextmanager
    def opened(self) -> Iterator[None]:
        """No fetch is put off within: where each record is fetched by itself."""
        self._open = True
        try:
            yield
        finally:
            self._open = False
        self._asleep = False

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
        return 0.0 if self._open else self._pace.rest_s(self._state.demand(), self._state.now_s())

    def _chosen(self, assignment: Any) -> tuple[Any, ...]:
        """What aiokafka would send now: fetches by node, questions for offsets, how long it waits then."""
        fetches, offsets, timeout_s, *others = self._choose(assignment)
        if fetches:
            rest_s = self._rest_s()
            self._asleep = rest_s > 0
            if self._asleep:
                return [], offsets, min(timeout_s, rest_s), *others
            self._pace.asked(self._state.now_s())
        return fetches, offsets, timeout_s, *others
