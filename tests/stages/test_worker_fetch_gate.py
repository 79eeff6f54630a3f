"""The gate in front of aiokafka's own fetcher: what it lets through, and when."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher

from riverlens_worker.channel import Signal
from riverlens_worker.fetch_pace import CROWDED, ORDINARY, Demand
from riverlens_worker.source.fetch_gate import FetchGate

BUSY, IDLE = Demand(0.08, 8), Demand(0.0, 8)
FETCH = (0, "a fetch")
OFFSETS = {0: ["a partition"]}


class FakeFetcher:
    """Would send a fetch and a question for offsets, whenever it is asked. Held to aiokafka's below."""

    def __init__(self) -> None:
        self.fetches = [FETCH]
        self._wait_consume_future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _get_actions_per_node(self, _: Any) -> tuple[Any, ...]:
        return list(self.fetches), OFFSETS, 0.2, False, []

    def _notify(self, future: asyncio.Future[None]) -> None:
        future.set_result(None)


class Leases:
    """Partitions by name, some without room."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __iter__(self) -> Iterator[str]:
        return iter(self._line.left)

    def has_room(self, lease: str) -> bool:
        """Whether it may be read."""
        return lease not in self._line.no_room


class Line:
    """A gate before a fetcher; what it knows can be set."""

    def __init__(self) -> None:
        self.fetcher = FakeFetcher()
        self.demand: Demand | Exception = BUSY
        self.now_s, self.answered = 0.0, Signal()
        self.left: dict[str, int | None] = {"0": 0}
        self.no_room: set[str] = set()
        self.failures: list[BaseException] = []
        self.settings = SimpleNamespace(reference_prefixes=())
        state: Any = SimpleNamespace(
            consumer=SimpleNamespace(_fetcher=self.fetcher),
            settings=self.settings,
            leases=Leases(self),
            unfetched=self.left.__getitem__,
            demand=self.demanded,
            now_s=lambda: self.now_s,
            answered=self.answered,
            fail=self.failures.append,
        )
        self.gate = FetchGate(state)

    def demanded(self) -> Demand:
        """What the batch waits for; raises where it was set to raise."""
        if isinstance(self.demand, Exception):
            raise self.demand
        return self.demand

    def sends(self) -> tuple[list[Any], float]:
        """The fetches that the fetcher sends now, and how long it then waits, in seconds."""
        fetches, offsets, timeout_s, *_ = self.fetcher._get_actions_per_node(None)
        assert offsets is OFFSETS, "a question for offsets waits for no batch"
        return fetches, timeout_s

    async def call_ends(self) -> None:
        """A call is over, and whoever waits for that has looked."""
        self.answered.fire()
        for _ in range(5):
            await asyncio.sleep(0)


@asynccontextmanager
async def _line() -> AsyncIterator[Line]:
    line = Line()
    running = asyncio.create_task(line.gate.run())
    await asyncio.sleep(0)
    yield line
    assert not running.done(), "nobody watches for calls that end"
    running.cancel()
    await asyncio.wait([running])


async def test_while_the_device_is_busy_no_fetch_is_sent() -> None:
    """The fetcher looks again when the rest is over, and sends it then."""
    async with _line() as line:
        fetches, timeout_s = line.sends()
        assert (fetches, 0 < timeout_s < 0.08) == ([], True)
        line.demand = Demand(0.08 - timeout_s, 8)
        assert line.sends() == ([FETCH], 0.2)


async def test_for_an_idle_device_a_fetch_waits_at_kafka() -> None:
    """Nothing is put off."""
    async with _line() as line:
        line.demand = IDLE
        assert line.sends() == ([FETCH], 0.2)


async def test_a_batch_that_is_due_sooner_than_was_thought_gets_its_frames() -> None:
    """An answer that came early ends the rest; one after which the device is as busy as before does not."""
    async with _line() as line:
        assert not line.sends()[0]
        await line.call_ends()
        assert not line.fetcher._wait_consume_future.done()
        line.demand = IDLE
        await line.call_ends()
        assert line.fetcher._wait_consume_future.done(), "the fetcher sleeps on"
        await line.call_ends()  # before it has looked
        assert line.sends() == ([FETCH], 0.2)


async def test_answers_wake_no_fetcher_that_does_not_rest() -> None:
    """It has its fetch under way."""
    async with _line() as line:
        line.demand = IDLE
        line.sends()
        await line.call_ends()
        assert not line.fetcher._wait_consume_future.done()


async def test_where_nothing_would_be_sent_nothing_is_put_off() -> None:
    """A fetch that is under way is no rest: its answer tells nothing of what a fetch takes."""
    async with _line() as line:
        line.fetcher.fetches = []
        assert line.sends() == ([], 0.2)
        line.demand = IDLE
        await line.call_ends()
        assert not line.fetcher._wait_consume_future.done()


async def test_where_each_record_is_fetched_by_itself_no_fetch_is_put_off() -> None:
    """Each would take as long as a call."""
    async with _line() as line:
        with line.gate.opened():
            assert line.sends() == ([FETCH], 0.2)
        assert not line.sends()[0]


async def test_what_a_fetch_takes_moves_the_next_one() -> None:
    """Where frames came late after a rest, the next rest is shorter."""
    async with _line() as line:
        rests_s = []
        for _ in range(2):
            line.demand = BUSY
            rests_s.append(line.sends()[1])
            line.demand = IDLE
            line.sends()
            line.now_s += 0.04
            line.gate.answered(4)
        assert rests_s[1] < rests_s[0]


async def test_where_a_fetch_left_frames_behind_the_next_one_follows_at_once() -> None:
    """Kafka sends a megabyte of a partition at most: else large frames would be read slower than answered."""
    async with _line() as line:
        line.left["1"] = 2
        assert line.sends() == ([FETCH], 0.2)
        line.no_room = {"1"}
        assert not line.sends()[0], "hurries for what it has no room for"
        line.no_room = set()
        for none in (1, None):  # the mark of a transaction, or a partition that nothing is known of
            line.left["1"] = none
            assert not line.sends()[0]


async def test_where_frames_may_be_references_no_fetch_is_put_off() -> None:
    """What they name is fetched only then, which takes its time."""
    async with _line() as line:
        line.settings.reference_prefixes = ("https://pictures.example/",)
        assert line.sends() == ([FETCH], 0.2)


async def test_beside_a_backlog_a_full_batch_puts_fetches_off_too() -> None:
    """The others' frames are wanted in the next call, which is not due yet."""
    async with _line() as line:
        line.demand = Demand(0.08, 0)
        line.gate.set(ORDINARY)
        assert line.sends() == ([FETCH], 0.2)
        line.gate.set(CROWDED)
        assert not line.sends()[0]


async def test_a_defect_ends_the_worker_and_not_only_its_reading() -> None:
    """The task of aiokafka would die silently, and every poll find nothing for ever."""
    async with _line() as line:
        line.demand = ZeroDivisionError("a defect")
        assert line.sends() == ([FETCH], 0.2)
        assert line.failures == [line.demand]


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (Fetcher._fetch_requests_routine, "self._get_actions_per_node(assignment)"),
        (Fetcher._fetch_requests_routine, "for node_id, request in fetch_requests:"),
        (Fetcher._fetch_requests_routine, "timeout=timeout"),
        (Fetcher.fetched_records, "self._notify(self._wait_consume_future)"),
    ],
)
def test_aiokafkas_fetcher_asks_the_gate(where: Any, what: str) -> None:
    """Under other names the gate would put nothing off, or wake nobody."""
    assert what in inspect.getsource(where)


def test_aiokafkas_fetcher_says_what_the_fake_says() -> None:
    """Fetches by node, questions for offsets, a timeout, in this order."""
    said = inspect.getsource(Fetcher._get_actions_per_node).rsplit("return (", 1)[1]
    assert [part.strip() for part in said.split(",")][:3] == ["fetch_requests", "awaiting_reset", "backoff"]
