"""The references stage between its neighbours: every frame comes out once, what hangs holds up nobody."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from riverlens.dead_letter import Reason
from riverlens_worker.admission import Admitted
from riverlens_worker.channel import EndOfStream, Signal
from riverlens_worker.leases import LeaseTable, Room
from riverlens_worker.messages import LeasedFrame, Outcome, Rejected, dead_letter
from riverlens_worker.metrics import Metrics, value_of
from riverlens_worker.offsets import LeaseState, PartitionLease
from riverlens_worker.references import ReferencePorts, References
from riverlens_worker.settings import WorkerSettings
from tests.harness.image_server import ImageServer, image_server
from tests.harness.images import jpeg
from tests.harness.waiting import wait_for
from tests.worker_parts import leased

IMAGE = jpeg()


TABLE = LeaseTable("frames", Room(256, 1 << 26, 1 << 26))


@dataclass
class Line:
    """The stage with its ends in the test's hands."""

    settings: WorkerSettings
    waiting: deque[Admitted] = field(default_factory=deque)
    changed: Signal = field(default_factory=Signal)
    ended: bool = False
    out: list[Admitted] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))

    def __post_init__(self) -> None:
        ports = ReferencePorts(self._take, self.changed, TABLE.hold)
        self.stage = References(ports, self.settings, self.metrics)

    async def _take(self, limit: int) -> list[Admitted]:
        await self.changed.until(lambda: bool(self.waiting) or self.ended)
        if not self.waiting:
            raise EndOfStream
        return [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]

    def put(self, *items: Admitted) -> None:
        """Frames from Kafka."""
        self.waiting.extend(items)
        self.changed.fire()

    def end(self) -> None:
        """Reading ends."""
        self.ended = True
        self.changed.fire()

    async def run(self) -> None:
        """Run the stage and take all that comes out."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.stage.run())
            group.create_task(self._collect())

    async def _collect(self) -> None:
        while True:
            try:
                self.out += await self.stage.take(4)
            except EndOfStream:
                return

    async def came(self, count: int) -> None:
        """Wait until so many came out."""

        async def enough() -> bool:
            return len(self.out) >= count

        await wait_for(enough, what=f"{count} frames")


def _reference(lease: PartitionLease, uri: str) -> LeasedFrame:
    return leased(lease, lease.ledger.highest + 1, uri.encode(), "text/uri-list")


def _image(lease: PartitionLease) -> LeasedFrame:
    return leased(lease, lease.ledger.highest + 1, IMAGE)


async def test_without_prefixes_references_are_dead_letters() -> None:
    """Other frames are the same objects as before; the detail names the setting."""
    lease, line = PartitionLease("frames", 0), Line(WorkerSettings())
    image, reference, broken = _image(lease), _reference(lease, "file:///etc/passwd"), _image(lease)
    unreadable = dead_letter(broken, Reason.UNREADABLE, "no record")
    line.put(image, reference, unreadable)
    line.end()
    async with asyncio.timeout(60):
        await line.run()
    assert line.out[0] is image
    assert line.out[2] is unreadable
    refused = line.out[1]
    assert isinstance(refused, Rejected)
    assert (refused.source, refused.outcome, refused.reason) == (
        reference,
        Outcome.DEAD_LETTERED,
        "reference_failed",
    )
    assert "reference_prefixes" in refused.detail


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An allowed folder with one image."""
    (tmp_path / "a.jpg").write_bytes(IMAGE)
    return tmp_path


async def test_what_was_fetched_takes_room_until_it_is_settled(folder: Path) -> None:
    """The frame keeps its reference for a dead letter, gives its image to decode, and its room back whole."""
    lease, line = PartitionLease("frames", 0), Line(WorkerSettings(reference_prefixes=(f"file://{folder}",)))
    reference = _reference(lease, f"file://{folder}/a.jpg")
    lease.frames, lease.bytes_held = 1, reference.nbytes
    line.put(reference, _reference(lease, f"file://{folder}/none.jpg"))
    running = asyncio.create_task(line.run())
    await line.came(2)
    line.end()
    await running
    (fetched,) = [item for item in line.out if isinstance(item, LeasedFrame)]
    assert (fetched.image, fetched.content_type) == (IMAGE, None)
    assert fetched.frame is reference.frame
    assert lease.bytes_held == fetched.nbytes == reference.nbytes + len(IMAGE)
    TABLE.settle(fetched)
    assert (lease.frames, lease.bytes_held) == (0, 0)
    (failed,) = [item for item in line.out if isinstance(item, Rejected)]
    assert failed.detail == f"file://{folder}/none.jpg: No such file or directory"


async def test_a_reference_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    """Frames of its own partition and of others, references among them, pass it; so many run at once."""
    async with image_server(tmp_path, IMAGE) as server:
        line = Line(_settings(server, at_once=4))
        stuck, other = PartitionLease("frames", 0), PartitionLease("frames", 1)
        running = asyncio.create_task(line.run())
        line.put(*(_reference(stuck, f"{server.origin}/stuck/{n}") for n in range(6)))
        for _ in range(50):
            line.put(_image(stuck), _image(other), _reference(other, f"{server.origin}/ok"))
        await line.came(150)
        assert {item.source.lease if isinstance(item, Rejected) else item.lease for item in line.out} == {
            stuck,
            other,
        }
        assert sum("/stuck/" in path for path in server.asked) == 2
        assert server.most_at_once <= 4
        server.release.set()
        await line.came(156)
        line.end()
        async with asyncio.timeout(60):
            await running
        assert not any(isinstance(item, Rejected) for item in line.out)
        assert len({id(item) for item in line.out}) == 156


def _settings(server: ImageServer, at_once: int = 8) -> WorkerSettings:
    return WorkerSettings(
        reference_prefixes=(server.origin,),
        reference_ca_file=str(server.ca_file),
        reference_timeout_ms=60_000,
        max_fetches_per_host=at_once,
    )


@pytest.mark.parametrize("state", [LeaseState.DRAINING, LeaseState.FENCED])
async def test_references_of_a_lost_lease_are_given_up(tmp_path: Path, state: LeaseState) -> None:
    """Under way or waiting, they are fenced at once and their connections closed; others go on."""
    async with image_server(tmp_path, IMAGE) as server:
        line = Line(_settings(server, at_once=4))
        gone, kept = PartitionLease("frames", 0), PartitionLease("frames", 1)
        running = asyncio.create_task(line.run())
        line.put(*(_reference(gone, f"{server.origin}/stuck/{n}") for n in range(5)))
        line.put(_reference(kept, f"{server.origin}/stuck/kept"))

        async def all_asked() -> bool:
            return len(server.asked) == 3

        await wait_for(all_asked, what="three requests")
        gone.state = state
        line.changed.fire()
        await line.came(5)
        assert [_outcome(item) for item in line.out] == [(gone, Outcome.FENCED)] * 5
        server.release.set()
        await line.came(6)
        assert isinstance(line.out[5], LeasedFrame)
        line.end()
        async with asyncio.timeout(60):
            await running
        assert gone.bytes_held == 0


def _outcome(item: Admitted) -> tuple[PartitionLease, Outcome]:
    assert isinstance(item, Rejected)
    return item.source.lease, item.outcome


async def test_at_the_end_what_hangs_is_left_to_the_next_owner(tmp_path: Path) -> None:
    """Waiting references are fenced at once, those under way after a second: a stop is no dead letter."""
    async with image_server(tmp_path, IMAGE) as server:
        line, lease = Line(_settings(server, at_once=2)), PartitionLease("frames", 0)
        running = asyncio.create_task(line.run())
        line.put(*(_reference(lease, f"{server.origin}/stuck/{n}") for n in range(3)))

        async def asked() -> bool:
            return len(server.asked) == 1

        await wait_for(asked, what="one request")
        ended_s = time.monotonic()
        line.end()
        await line.came(2)
        async with asyncio.timeout(60):
            await running
        assert time.monotonic() - ended_s > 0.9, "what was under way had its second"
        assert [_outcome(item) for item in line.out] == [(lease, Outcome.FENCED)] * 3


async def test_tries_and_times_are_counted(tmp_path: Path) -> None:
    """Retries and the time of each fetch are metrics."""
    async with image_server(tmp_path, IMAGE) as server:
        line, lease = Line(_settings(server)), PartitionLease("frames", 0)
        line.put(_reference(lease, f"{server.origin}/flaky/1"))
        running = asyncio.create_task(line.run())
        await line.came(1)
        line.end()
        await running
    assert value_of(line.metrics.reference_retries) == 1
    assert line.metrics.registry.get_sample_value("riverlens_reference_seconds_count") == 1
