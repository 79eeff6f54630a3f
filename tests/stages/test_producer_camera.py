"""A camera's loop against a clock that tests turn, and a sink that keeps what it gets."""

from __future__ import annotations

import pytest

from riverlens.frame import Frame
from riverlens.frame_buffer import WhenFull
from riverlens.frame_producer import FrameTooLargeError, Outcome
from riverlens_producer.camera import CameraPlan, run_camera
from riverlens_producer.sources import Picture
from riverlens_producer.summary import CameraCounts, Meter, as_json, as_line, total


class World:
    """A clock that moves only when someone sleeps or `delay_s` says that sending takes time."""

    def __init__(self, *, delay_s: dict[int, float] | None = None, limit_bytes: int = 100) -> None:
        self.now_s = 100.0
        self.sent: list[tuple[float, Frame]] = []
        self.policies: set[WhenFull | None] = set()
        self.partitions: set[int | None] = set()
        self._delay_s = delay_s or {}
        self._limit_bytes = limit_bytes

    def clock(self) -> float:
        """The time, which stands still."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Move the time."""
        self.now_s += seconds

    async def send(
        self, frame: Frame, *, when_full: WhenFull | None = None, partition: int | None = None
    ) -> bool:
        """Keep the frame and the time it came."""
        if len(frame.image) > self._limit_bytes:
            raise FrameTooLargeError("too large")
        self.sent.append((round(self.now_s - 100.0, 6), frame))
        self.policies.add(when_full)
        self.partitions.add(partition)
        self.now_s += self._delay_s.get(frame.sequence or 0, 0.0)
        return True


class Scripted:
    """A source with given pictures, endless where they repeat."""

    def __init__(self, pictures: list[Picture], *, live: bool = False, fps: float | None = 10.0) -> None:
        self.live = live
        self.fps = fps
        self._pictures = pictures

    async def open(self) -> None:
        """Nothing to open."""

    async def picture(self, sequence: int) -> Picture | None:
        """The next one; a live source repeats them."""
        if self.live:
            return self._pictures[sequence % len(self._pictures)]
        return self._pictures[sequence] if sequence < len(self._pictures) else None

    async def close(self) -> None:
        """Nothing to close."""


async def _run(world: World, plan: CameraPlan) -> CameraCounts:
    counts = CameraCounts()
    await run_camera(plan, world, counts, start_s=100.0, clock=world.clock, sleep=world.sleep)
    return counts


def _pictures(count: int) -> list[Picture]:
    return [Picture(b"x" * 10, "image/jpeg") for _ in range(count)]


async def test_a_file_is_paced_and_catches_up_after_a_stall() -> None:
    """A send that takes a second delays the next pictures, none is left out, and then the pace holds."""
    world = World(delay_s={2: 0.55})
    counts = await _run(world, CameraPlan("a", Scripted(_pictures(10)), "block"))
    assert [at for at, _ in world.sent] == [0, 0.1, 0.2, 0.75, 0.75, 0.75, 0.75, 0.75, 0.8, 0.9]
    assert (counts.sent, counts.skipped) == (10, 0)


async def test_a_live_camera_skips_what_it_missed() -> None:
    """After a stall one picture goes at once, the one due now; its sequence tells what was skipped."""
    world = World(delay_s={2: 0.55})
    plan = CameraPlan("a", Scripted(_pictures(1), live=True), "drop_oldest", duration_s=1.0)
    counts = await _run(world, plan)
    assert [(at, frame.sequence) for at, frame in world.sent] == [
        (0, 0), (0.1, 1), (0.2, 2), (0.75, 7), (0.8, 8), (0.9, 9),
    ]  # fmt: skip
    assert (counts.sent, counts.skipped) == (6, 4)


async def test_a_video_is_paced_by_its_own_times() -> None:
    """Uneven times in a file are kept."""
    pictures = [Picture(b"x", offset_s=at) for at in (0.0, 0.04, 0.5)]
    world = World()
    await _run(world, CameraPlan("a", Scripted(pictures, fps=None), "block"))
    assert [at for at, _ in world.sent] == [0, 0.04, 0.5]


async def test_duration_and_rate_give_the_number_of_frames() -> None:
    """Two seconds at 10 frames a second are 20 frames, however late the camera's phase is."""
    world = World()
    plan = CameraPlan("a", Scripted(_pictures(1), live=True), "block", phase=0.9, duration_s=2.0)
    assert (await _run(world, plan)).sent == 20


async def test_frames_bounds_each_camera() -> None:
    """--frames counts the pictures given to Kafka."""
    world = World()
    assert (await _run(world, CameraPlan("a", Scripted(_pictures(9)), "block", frames=4))).sent == 4


async def test_no_limit_never_sleeps() -> None:
    """With fps 0 time stands still between pictures."""
    world = World()
    await _run(world, CameraPlan("a", Scripted(_pictures(9), fps=0), "block"))
    assert {at for at, _ in world.sent} == {0.0}


async def test_frames_carry_what_the_contract_says() -> None:
    """Key, sequence, content type and frame id (the file's name, else the sequence) are set."""
    world = World()
    pictures = [Picture(b"x", "image/png", name="p.png"), Picture(b"y", "image/jpeg")]
    await _run(world, CameraPlan("door", Scripted(pictures), "block"))
    frames = [frame for _, frame in world.sent]
    assert [(f.camera_id, f.sequence, f.frame_id, f.content_type) for f in frames] == [
        ("door", 0, "p.png", "image/png"),
        ("door", 1, "1", "image/jpeg"),
    ]
    assert frames[0].captured_at_ms > 1_700_000_000_000


async def test_a_frame_too_large_is_counted_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """One line says so, however many there are."""
    world = World(limit_bytes=20)
    pictures = [Picture(b"x" * size) for size in (10, 30, 40, 10)]
    counts = await _run(world, CameraPlan("a", Scripted(pictures), "block"))
    assert (counts.sent, counts.refused) == (2, 2)
    assert len(caplog.records) == 1


def test_rates_are_those_since_the_reading_before() -> None:
    """The first reading has none; later ones count acknowledged frames only."""
    counts = {"a": CameraCounts(sent=5)}
    meter = Meter(counts)
    assert meter.rates(10.0)["a"].frames == 0
    for _ in range(20):
        counts["a"].settled(1000, Outcome.ACKNOWLEDGED)
    rate = meter.rates(12.0)["a"]
    assert (rate.frames, rate.size_bytes) == (10.0, 10_000.0)


def test_the_summary_balances_and_adds_up() -> None:
    """Totals are the sums of the cameras; the line names only what happened."""
    counts = {name: CameraCounts(sent=3) for name in "ab"}
    for row in counts.values():
        for outcome in Outcome:
            row.settled(500_000, outcome)
    assert total(counts.values()) == CameraCounts(6, 2, 2, 2, acknowledged_bytes=1_000_000)
    line = as_line(counts, topic="frames", seconds=2.0)
    assert line == (
        "2 frames (1.0 MB) of 2 cameras on topic frames in 2.0 s, 1.0 frames/s; 2 dropped; 2 failed"
    )
    summary = as_json(counts, topic="frames", seconds=2.0, synthetic={"scenes": 32})
    assert summary["synthetic"] == {"scenes": 32}
