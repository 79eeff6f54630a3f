"""The decode pool on real threads: every frame comes out once, as a row or a rejection."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from prometheus_client import CollectorRegistry

from riverlens.dead_letter import Reason
from riverlens.signature import PixelRule
from riverlens_worker.admission import Admitted
from riverlens_worker.channel import Channel, EndOfStream
from riverlens_worker.decode_pool import DecodePool, DecodePoolPorts
from riverlens_worker.decoding import to_row
from riverlens_worker.freshness import Freshness, parse_rules
from riverlens_worker.messages import DecodedFrame, Outcome, Prediction, Rejected, dead_letter
from riverlens_worker.metrics import Metrics
from riverlens_worker.offsets import LeaseState, PartitionLease
from riverlens_worker.target import Row, Target
from tests.harness.waiting import wait_for
from tests.worker_parts import ENCODED, FIXED, FREE, encode, leased, scene, target

JPEG = encode(scene(), "JPEG")
TIFF = encode(scene(), "TIFF")
T = TypeVar("T")
RAW = ("application/x-raw-rgb;width=96;height=64", scene().tobytes())


@dataclass
class Line:
    """A decode pool with its ends in the test's hands."""

    items: list[Admitted]
    target: Target
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    decoded: Channel[DecodedFrame] = field(default_factory=lambda: Channel(1000))
    results: Channel[Prediction | Rejected] = field(default_factory=lambda: Channel(1000))

    async def take(self, limit: int) -> list[Admitted]:
        """The next frames, at most so many."""
        if not self.items:
            raise EndOfStream
        taken, self.items = self.items[:limit], self.items[limit:]
        return taken

    def pool(self, threads: int) -> DecodePool:
        """The pool between these ends."""
        ports = DecodePoolPorts(self.take, self.decoded, self.results)
        return DecodePool(ports, self.target, threads, Metrics(self.registry))

    async def run(self, threads: int = 2) -> tuple[list[DecodedFrame], list[Rejected]]:
        """Run to the end of the input; rows and rejections."""
        async with asyncio.timeout(60):
            await self.pool(threads).run()
        self.results.close()
        rejected = [item for item in await _rest(self.results) if isinstance(item, Rejected)]
        return await _rest(self.decoded), rejected


async def _rest(channel: Channel[T]) -> list[T]:
    found: list[T] = []
    while True:
        try:
            found += await channel.receive_many(100)
        except EndOfStream:
            return found


@pytest.mark.parametrize("target", [ENCODED, FIXED], ids=["encoded", "fixed"])
@pytest.mark.parametrize("threads", [1, 3])
async def test_each_frame_comes_out_once(target: Target, threads: int) -> None:
    """Good frames as rows, bad ones as dead letters with their reason, rejections as they came."""
    lease = PartitionLease("frames", 0)
    images = {0: JPEG, 1: b"", 2: b"text", 3: JPEG[:-100], 4: TIFF, 5: b"x" * (9 << 20), 6: JPEG}
    items: list[Admitted] = [leased(lease, offset, image) for offset, image in images.items()]
    items.append(dead_letter(leased(lease, 7), Reason.UNREADABLE, "no record"))
    rows, rejected = await Line(items, target).run(threads)
    assert sorted(row.source.offset for row in rows) == [0, 4, 6]
    reasons = {item.source.offset: item.reason for item in rejected}
    assert reasons == {1: "undecodable", 2: "unsupported", 3: "undecodable", 5: "too_large", 7: "unreadable"}
    assert {item.outcome for item in rejected} == {Outcome.DEAD_LETTERED}
    for row in rows:
        assert (row.size, row.source.lease) == ((96, 64), lease)
        assert row.decode_ms >= 0
        assert row.nbytes == (len(row.row) if isinstance(row.row, bytes) else row.row.nbytes)


@pytest.mark.parametrize("state", [LeaseState.DRAINING, LeaseState.FENCED])
async def test_frames_of_a_lease_that_moved_on_are_fenced_unread(state: LeaseState) -> None:
    """Nothing is decoded for a partition that was taken away, not even what cannot be decoded."""
    mine, gone = PartitionLease("frames", 0), PartitionLease("frames", 1)
    items: list[Admitted] = [leased(gone, 0, JPEG), leased(gone, 1, b""), leased(mine, 0, JPEG)]
    gone.state = state
    rows, rejected = await Line(items, FIXED).run()
    assert [row.source.lease for row in rows] == [mine]
    assert [(item.outcome, item.source.offset) for item in rejected] == [
        (Outcome.FENCED, 0),
        (Outcome.FENCED, 1),
    ]


async def test_only_a_look_at_the_header_stays_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoded images that go as they are never leave the event loop; whatever costs time does."""
    threads: set[bool] = set()

    def noted(image: bytes, content_type: str | None, target: Target) -> Row:
        threads.add(threading.current_thread() is threading.main_thread())
        return to_row(image, content_type, target)

    monkeypatch.setattr("riverlens_worker.decode_pool.to_row", noted)
    for image, content_type, stays in ((JPEG, None, True), (TIFF, None, False), (RAW[1], RAW[0], False)):
        frame = leased(PartitionLease("frames", 0), 0, image, content_type)
        rows, _ = await Line([frame], ENCODED).run(1)
        assert len(rows) == 1
        assert threads == (set() if stays else {False})
        threads.clear()


async def test_images_encoded_again_are_counted_by_reason() -> None:
    """The counter says how many frames the server could not have read as they came, and why."""
    lease = PartitionLease("frames", 0)
    line = Line([leased(lease, offset, image) for offset, image in enumerate((TIFF, JPEG, TIFF))], ENCODED)
    rows, _ = await line.run()
    assert sorted(row.reencoded for row in rows) == ["", "tiff", "tiff"]
    name = "riverlens_frames_reencoded_total"
    assert line.registry.get_sample_value(name, {"reason": "tiff"}) == 2


async def test_a_full_output_holds_the_pool() -> None:
    """While nobody takes rows, two trips a thread are decoded, and no more is taken."""
    lease = PartitionLease("frames", 0)
    line = Line([leased(lease, offset, JPEG) for offset in range(60)], FIXED, decoded=Channel(1))
    pool = line.pool(2)

    async def resting() -> bool:
        return len(line.decoded) >= 16 and not pool.held

    run = asyncio.create_task(pool.run())
    async with asyncio.timeout(60):
        await wait_for(resting, what="all that was taken is decoded")
        assert len(line.items) == 60 - 16
        rows = await line.decoded.receive_many(100)
        while len(rows) < 60:
            rows += await line.decoded.receive_many(100)
        await run
    assert sorted(row.source.offset for row in rows) == list(range(60))


@pytest.mark.parametrize(
    ("wanted", "rules", "at_once"),
    [
        (FIXED, [], 8),
        (FIXED, ["*=latest_only"], 4),
        (FREE, [], 4),
        (ENCODED, [], 4),
        (target(size=(640, 640)), [], 8),
        (target(size=(640, 640), dtype="float32"), [], 4),
        (target(size=(640, 640), dtype="bfloat16"), [], 4),
        (target(size=(640, 640), dtype="float32", rule=PixelRule(gray=True)), [], 8),
    ],
)
def test_a_threads_next_trip_is_of_small_rows_that_never_grow_stale(
    wanted: Target, rules: list[str], at_once: int
) -> None:
    """A trip of more than 8 MB, and frames that may be dropped or superseded, wait where they can be."""
    line = Line([], wanted)
    policies = Freshness(parse_rules(rules)) if rules else None
    ports = DecodePoolPorts(line.take, line.decoded, line.results, policies)
    assert DecodePool(ports, wanted, 1, Metrics(line.registry)).at_once == at_once


async def test_a_threads_next_frames_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a thread decodes, its next trip is prepared, and no more."""
    go_on, begun = threading.Event(), threading.Event()

    def held(image: bytes, content_type: str | None, target: Target) -> Row:
        begun.set()
        assert go_on.wait(60)
        return to_row(image, content_type, target)

    monkeypatch.setattr("riverlens_worker.decode_pool.to_row", held)
    lease = PartitionLease("frames", 0)
    line = Line([leased(lease, offset, JPEG) for offset in range(40)], FIXED)
    pool = line.pool(1)
    run = asyncio.create_task(pool.run())
    assert await asyncio.to_thread(begun.wait, 60)
    assert pool.held == pool.at_once == 8
    go_on.set()
    await run
    line.decoded.close()
    assert sorted(row.source.offset for row in await _rest(line.decoded)) == list(range(40))


def test_a_thread_has_a_few_frames_in_hand_and_one_at_least() -> None:
    """So long before a batch leaves its last frames must be there: a trip's worth, or a thread's share."""
    pool = Line([], FIXED).pool(4)
    assert [pool.rows_a_thread(rows) for rows in (-3, 0, 1, 3, 8, 16, 32)] == [1, 1, 1, 3, 4, 4, 8]
