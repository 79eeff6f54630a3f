"""The stream between two stages: bounded, in order, closed once, and safe to cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from riverlens_worker.channel import Channel, EndOfStream, Signal


async def _all_blocked() -> None:
    """Let every task run until it waits for another."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_items_come_out_once_and_in_order() -> None:
    """Several writers' chunks and several readers: nothing lost, nothing twice, each chunk in its order."""
    channel = Channel[int](3)
    received: list[int] = []

    async def read() -> None:
        while True:
            try:
                received.extend(await channel.receive_many(2))
            except EndOfStream:
                return

    async def write(first: int) -> None:
        for start in range(first, first + 40, 4):
            await channel.send_many(range(start, start + 4))

    async with asyncio.timeout(60):
        async with asyncio.TaskGroup() as readers:
            readers.create_task(read())
            readers.create_task(read())
            async with asyncio.TaskGroup() as writers:
                writers.create_task(write(0))
                writers.create_task(write(1000))
            channel.close()
    assert sorted(received) == [*range(40), *range(1000, 1040)]
    for chosen in (range(40), range(1000, 1040)):
        assert [item for item in received if item in chosen] == list(chosen)
    assert len(channel) == 0


async def test_a_full_channel_holds_its_writer_until_there_is_room() -> None:
    """A chunk may pass the capacity, but none enters while it is reached."""
    channel = Channel[int](2)
    await channel.send_many([1, 2, 3])
    late = asyncio.create_task(channel.send_many([4]))
    await _all_blocked()
    assert not late.done()
    assert await channel.receive_many(1) == [1]
    await _all_blocked()
    assert not late.done(), "two of two places are still taken"
    assert await channel.receive_many(9) == [2, 3]
    await late
    assert await channel.receive_many(9) == [4]


async def test_a_writer_that_waits_is_not_passed_by_one_that_comes_again() -> None:
    """Two writers of a channel that is always full write in turn, so none waits for ever."""
    channel = Channel[str](1)

    async def write(name: str) -> None:
        while True:
            await channel.send_many([name])

    writers = [asyncio.create_task(write(name)) for name in ("first", "second")]
    received: list[str] = []
    for _ in range(20):
        received += await channel.receive_many(1)
        await _all_blocked()
    for writer in writers:
        writer.cancel()
    await asyncio.wait(writers)
    assert received.count("second") >= 9, received


async def test_a_closed_channel_is_read_to_its_end() -> None:
    """The reader takes what is left, then sees the end each time it asks; closing again changes nothing."""
    channel = Channel[int](4)
    await channel.send_many([1, 2])
    channel.close()
    channel.close()
    assert await channel.receive_many(1) == [1]
    assert await channel.receive_many(1) == [2]
    for _ in range(2):
        with pytest.raises(EndOfStream):
            await channel.receive_many(1)
    with pytest.raises(EndOfStream):
        await channel.send_many([3])


async def test_closing_wakes_whoever_waits() -> None:
    """A reader of an empty channel and a writer of a full one see the end instead of waiting for ever."""
    empty, full = Channel[int](1), Channel[int](1)
    await full.send_many([1])
    waiting = [asyncio.create_task(empty.receive_many(1)), asyncio.create_task(full.send_many([2]))]
    await _all_blocked()
    assert not any(task.done() for task in waiting)
    empty.close()
    full.close()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in found] == [EndOfStream, EndOfStream]
    assert await full.receive_many(2) == [1], "what was accepted before the close is not lost"


async def test_a_cancelled_reader_takes_nothing_with_it() -> None:
    """An item that comes after the cancellation goes to the next reader."""
    channel = Channel[int](1)
    lost = asyncio.create_task(channel.receive_many(1))
    await _all_blocked()
    lost.cancel()
    await channel.send_many([7])
    await asyncio.gather(lost, return_exceptions=True)
    assert lost.cancelled()
    assert await channel.receive_many(1) == [7]


async def test_a_signal_wakes_all_and_each_looks_for_itself() -> None:
    """Who waits for another condition goes on waiting."""
    signal = Signal()
    level = 0

    def reached(wanted: int) -> Callable[[], bool]:
        return lambda: level >= wanted

    waiting = [asyncio.create_task(signal.until(reached(wanted))) for wanted in (1, 1, 2)]
    await _all_blocked()
    level = 1
    signal.fire()
    await _all_blocked()
    assert [task.done() for task in waiting] == [True, True, False]
    level = 2
    signal.fire()
    await waiting[2]


async def test_a_wait_that_times_out_leaves_nothing_behind() -> None:
    """A poll that waits in vain for hours, ten times a second, must not grow the process."""
    signal = Signal()
    for _ in range(50):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await signal.until(lambda: False)
    assert len(signal._waiters) == 0  # the leak would be here and nowhere else
    signal.fire()
