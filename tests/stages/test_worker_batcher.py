"""The batcher: batches leave on demand, grow until then, and the last ones leave at the end."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from riverlens_worker.batcher import Batcher
from riverlens_worker.batching import Limits
from riverlens_worker.channel import Channel, EndOfStream
from riverlens_worker.messages import Batch, BatchReason, DecodedFrame
from riverlens_worker.metrics import Metrics
from tests.worker_parts import decoded


class Line:
    """A running batcher between a channel and the test."""

    def __init__(self, rows: int = 4, capacity: int = 100) -> None:
        self.coming = 0
        self.rows: Channel[DecodedFrame] = Channel(capacity)
        self.registry = CollectorRegistry()
        self.batcher = Batcher(
            self.rows, Limits(rows, 1_000_000), Metrics(self.registry), coming=lambda: self.coming
        )
        self.running = asyncio.create_task(self.batcher.run())

    async def send(self, first: int, count: int, shape: tuple[int, ...] = ()) -> None:
        """Rows of rising offsets and waiting times, and time for the batcher to pull them."""
        await self.rows.send_many(
            [decoded(n, shape=shape, ready_s=float(n)) for n in range(first, first + count)]
        )
        await self.settle()

    async def settle(self) -> None:
        """Let the batcher run until it waits."""
        for _ in range(20):
            await asyncio.sleep(0)


def _offsets(batch: Batch) -> list[int]:
    return [frame.source.offset for frame in batch.frames]


async def test_a_batch_grows_until_somebody_can_run_it() -> None:
    """Rows that come while the device is busy join the open batch; the first demand takes them all."""
    line = Line(rows=8)
    await line.send(0, 2)
    await line.send(2, 3)
    batch = await line.batcher.take()
    assert (_offsets(batch), batch.reason) == ([0, 1, 2, 3, 4], BatchReason.DEVICE_FREE)
    line.rows.close()
    await line.running


async def test_it_holds_two_batches_and_leaves_the_rest_in_the_channel() -> None:
    """What waits here is bounded, so that back-pressure reaches Kafka."""
    line = Line(rows=4)
    await line.send(0, 11)
    assert len(line.rows) == 3
    assert _offsets(await line.batcher.take()) == [0, 1, 2, 3]
    await line.settle()
    assert len(line.rows) == 0
    line.rows.close()
    await line.settle()
    found = [await line.batcher.take(), await line.batcher.take()]
    assert [_offsets(batch) for batch in found] == [[4, 5, 6, 7], [8, 9, 10]]
    assert [batch.reason for batch in found] == [BatchReason.FULL, BatchReason.DRAIN]
    with pytest.raises(EndOfStream):
        await line.batcher.take()
    await line.running


async def test_slots_that_wait_share_what_comes() -> None:
    """Two free slots never get the same row, and one that finds nothing waits on."""
    line = Line(rows=4)
    slots = [asyncio.create_task(line.batcher.take()) for _ in range(2)]
    await line.settle()
    await line.send(0, 3)
    assert sum(slot.done() for slot in slots) == 1
    await line.send(3, 1)
    batches = await asyncio.gather(*slots)
    assert sorted(sum((_offsets(batch) for batch in batches), start=list[int]())) == [0, 1, 2, 3]
    line.rows.close()
    await line.running


async def test_the_end_reaches_every_slot_that_waits() -> None:
    """When the input ends with nothing left, each waiting slot sees the end."""
    line = Line()
    slots = [asyncio.create_task(line.batcher.take()) for _ in range(3)]
    await line.settle()
    line.rows.close()
    found = await asyncio.gather(*slots, return_exceptions=True)
    assert [type(error) for error in found] == [EndOfStream] * 3
    await line.running


async def test_a_new_limit_holds_for_every_later_batch_and_never_passes_the_first() -> None:
    """A limit caps batches, also those already waiting, may grow back, and never beyond the setting's."""
    line = Line(rows=8)
    await line.send(0, 8)
    line.batcher.limit(Limits(100, 1 << 40))
    assert line.batcher.limit_rows == 8
    line.batcher.limit(Limits(3, 1000))
    assert _offsets(await line.batcher.take()) == [0, 1, 2]
    line.batcher.limit(Limits(0, 1000))
    assert _offsets(await line.batcher.take()) == [3]
    line.rows.close()
    await line.settle()
    assert [_offsets(await line.batcher.take()) for _ in range(4)] == [[4], [5], [6], [7]]
    await line.running


async def test_batches_are_counted_by_reason_and_size() -> None:
    """Each hand-out is one count of its reason and one observation of its rows."""
    line = Line(rows=2)
    await line.send(0, 2, shape=(1, 1))
    await line.batcher.take()
    await line.send(2, 1, shape=(1, 1))
    await line.send(3, 1, shape=(2, 2))
    await line.batcher.take()
    line.rows.close()
    await line.settle()
    await line.batcher.take()
    await line.running
    counts = {
        reason: line.registry.get_sample_value("riverlens_batches_total", {"reason": reason})
        for reason in ("full", "shape", "drain")
    }
    assert counts == {"full": 1, "shape": 1, "drain": 1}
    assert line.registry.get_sample_value("riverlens_batch_rows_sum") == 4


async def test_a_batch_that_is_sure_to_fill_is_left_to_fill() -> None:
    """While frames enough to fill it are being decoded nobody gets a part of it; full, it leaves."""
    line = Line(rows=4)
    line.coming = 3
    taking = asyncio.create_task(line.batcher.take())
    await line.send(0, 1)
    assert not taking.done()
    line.coming = 1
    await line.send(1, 2)
    assert not taking.done()
    line.coming = 0
    await line.send(3, 1)
    assert _offsets(await taking) == [0, 1, 2, 3]
    line.rows.close()
    await line.running


async def test_too_few_frames_to_fill_a_batch_keep_none_waiting() -> None:
    """Where less than a batch was read, the first row leaves at once."""
    line = Line(rows=4)
    line.coming = 2
    taking = asyncio.create_task(line.batcher.take())
    await line.send(0, 1)
    assert _offsets(await taking) == [0]
    line.rows.close()
    await line.running


async def test_a_batch_that_does_not_fill_after_all_leaves() -> None:
    """Frames being decoded may have other shapes, or be no images: nobody waits for them for long."""
    line = Line(rows=4)
    line.coming = 100
    await line.send(0, 2)
    async with asyncio.timeout(60):
        assert _offsets(await line.batcher.take()) == [0, 1]
    line.rows.close()
    await line.running


async def test_what_waits_is_taken_without_waiting() -> None:
    """`take_now` gives what `take` would give at once, and nothing where that would wait or end."""
    line = Line(rows=4)
    assert line.batcher.take_now() is None
    line.coming = 3
    await line.send(0, 1)
    assert line.batcher.take_now() is None, "it is sure to fill"
    line.coming = 0
    batch = line.batcher.take_now()
    assert batch is not None
    assert (_offsets(batch), batch.reason) == ([0], BatchReason.DEVICE_FREE)
    assert line.registry.get_sample_value("riverlens_batch_rows_sum") == 1
    line.rows.close()
    await line.running
    assert line.batcher.take_now() is None
    with pytest.raises(EndOfStream):
        await line.batcher.take()
