"""Room is per lease; waiting frames are served fairly: the lease table and admission."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.dead_letter import Reason
from riverlens_worker.admission import Admission
from riverlens_worker.leases import LeaseTable, Room
from riverlens_worker.messages import LeasedFrame, dead_letter
from riverlens_worker.offsets import LeaseState, PartitionLease
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source import _enough
from tests.worker_parts import FakeRecord, examples, leased

NOW_MS = 1_790_000_001_000


@examples(200)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50), st.booleans()), max_size=80))
def test_room_is_per_lease_and_comes_back_when_frames_are_settled(
    steps: list[tuple[int, int, bool]],
) -> None:
    """A partition never holds more than its room, but for the frame that fills it; others have theirs.

    A full one has room again when a quarter of it is free.
    """
    room = Room(frames=4, nbytes=60, total_bytes=1 << 30)
    table = LeaseTable("frames", room)
    leases = [table.assign(partition, 0) for partition in range(3)]
    held: dict[int, deque[LeasedFrame]] = {n: deque() for n in range(3)}
    for partition, size, settle in steps:
        lease, mine = leases[partition], held[partition]
        if settle and mine:
            table.settle(mine.popleft())
        elif table.has_room(lease):
            record = FakeRecord(value=b"x" * size, partition=partition)
            mine.append(table.admit(lease, record, lease.next_offset or 0, 1.0, NOW_MS))
        for n, each in enumerate(leases):
            sizes = [frame.nbytes for frame in held[n]]
            assert (each.frames, each.bytes_held) == (len(sizes), sum(sizes))
            used = max(len(sizes) / 4, sum(sizes) / 60) if sizes else 0
            assert table.has_room(each) or used >= 0.75
            assert used < 1 or not table.has_room(each)
            assert len(sizes) <= 4
            assert sum(sizes[:-1]) < 60
    for mine in held.values():
        while mine:
            table.settle(mine.pop())
    assert all((lease.frames, lease.bytes_held, len(lease.ledger)) == (0, 0, 0) for lease in leases)
    assert table.to_commit() == {lease: lease.next_offset for lease in leases if lease.next_offset}


def test_a_first_frame_always_has_room() -> None:
    """A frame larger than all the room is read when its partition holds nothing else, and blocks no other."""
    table = LeaseTable("frames", Room(frames=8, nbytes=10, total_bytes=1 << 30))
    hog, other = table.assign(0, 0), table.assign(1, 0)
    table.admit(hog, FakeRecord(value=b"x" * 1000), 0, 1.0, NOW_MS)
    assert not table.has_room(hog)
    assert table.has_room(other)


def test_admitting_keeps_the_record_for_a_dead_letter() -> None:
    """Key, headers and a null value stay as they came; the age counts from capture and is not negative."""
    table = LeaseTable("frames", Room(8, 100, 1 << 30))
    lease = table.assign(2, 5)
    record = FakeRecord(value=None, key=None, partition=2, headers=(("x", b"1"), ("x", b"2")))
    frame = table.admit(lease, record, 8, 3.5, NOW_MS)
    assert (frame.key, frame.headers, frame.null_value, frame.nbytes) == (None, record.headers, True, 0)
    assert (frame.offset, frame.ordinal, frame.arrived_s, frame.broker_ms) == (8, 0, 3.5, 1000)
    assert frame.frame.camera_id == "partition-2"
    assert lease.next_offset == 9
    early = table.admit(lease, FakeRecord(timestamp=NOW_MS + 60_000), 9, 3.5, NOW_MS)
    assert (early.broker_ms, early.ordinal) == (0, 1)


def test_an_unreadable_record_takes_its_place_in_the_order() -> None:
    """Its offset is opened and its ordinal used, so that what comes after is neither lost nor early."""
    table = LeaseTable("frames", Room(8, 100, 1 << 30))
    lease = table.assign(2, 5)
    bad = table.admit_unreadable(lease, 5, 1.0, NOW_MS)
    good = table.admit(lease, FakeRecord(partition=2), 6, 1.0, NOW_MS)
    assert (bad.ordinal, good.ordinal, bad.null_value, bad.key) == (0, 1, True, None)
    table.settle(good)
    assert table.to_commit() == {}
    table.settle(bad)
    assert table.to_commit() == {lease: 7}


def test_a_fenced_lease_is_gone_and_its_successor_is_another() -> None:
    """After a fence nothing of the lease is committed; a new assignment of the partition starts afresh."""
    table = LeaseTable("frames", Room(8, 100, 1 << 30))
    old = table.assign(0, 10)
    frame = table.admit(old, FakeRecord(), 10, 1.0, NOW_MS)
    old.state = LeaseState.DRAINING
    assert not table.has_room(old)
    assert table.get(0) is old
    table.fence(old)
    new = table.assign(0, 10)
    table.fence(old)
    assert table.get(0) is new
    table.settle(frame)
    assert table.to_commit() == {}
    assert [*table] == [new]
    assert len(table) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4), st.integers(1, 12)),
        st.tuples(st.just("take"), st.integers(1, 10), st.just(0)),
    ),
    max_size=60,
)


@examples(200)
@given(STEPS)
def test_admission_loses_nothing_and_keeps_each_partitions_order(steps: list[tuple[str, int, int]]) -> None:
    """However adding and taking mix, every frame comes out once, those of a partition in offset order."""
    admission = Admission()
    leases = [PartitionLease("frames", n) for n in range(5)]
    added: Counter[int] = Counter()
    out: dict[int, list[int]] = {n: [] for n in range(5)}

    def take(limit: int) -> int:
        taken = admission.take(limit, 0.0)[0]
        assert len(taken) <= limit
        for item in taken:
            assert isinstance(item, LeasedFrame)
            out[item.lease.partition].append(item.offset)
            admission.release(item)
        return len(taken)

    for verb, number, count in steps:
        if verb == "add":
            first = added[number]
            admission.add(leases[number], [leased(leases[number], first + k) for k in range(count)])
            added[number] += count
        else:
            waiting = len(admission)
            assert take(number) == min(number, waiting), "less was handed out than waits"
    while take(7):
        pass
    assert len(admission) == 0
    assert out == {n: list(range(added[n])) for n in range(5)}


@examples(150)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(1, 9), st.integers(0, 5))
def test_no_partition_waits_for_more_than_a_quantum_of_each_other(
    backlogs: list[int], limit: int, late: int
) -> None:
    """Between two turns of a partition, every other one gives at most a quantum: backlogs delay nobody."""
    admission = Admission()
    leases = [PartitionLease("frames", n) for n in range(len(backlogs))]
    for lease, backlog in zip(leases, backlogs, strict=True):
        admission.add(lease, [leased(lease, k) for k in range(backlog)])
    newcomer = PartitionLease("frames", 99)
    for _ in range(late):
        admission.take(limit, 0.0)
    admission.add(newcomer, [leased(newcomer, 0)])
    before: Counter[int] = Counter()
    while True:
        turn = [item for item in admission.take(limit, 0.0)[0] if isinstance(item, LeasedFrame)]
        partitions = [item.lease.partition for item in turn]
        if 99 in partitions:
            before.update(partitions[: partitions.index(99)])
            break
        before.update(partitions)
    assert max(before.values(), default=0) <= Admission.QUANTUM_FRAMES


def test_purging_a_lease_returns_what_waits_and_leaves_the_others() -> None:
    """What waits under a revoked lease, rejections too, comes back whole; other partitions go on."""
    admission = Admission()
    mine, other = PartitionLease("frames", 0), PartitionLease("frames", 1)
    frames = [leased(mine, k) for k in range(3)]
    rejected = dead_letter(leased(mine, 3), Reason.UNREADABLE, "no record")
    admission.add(mine, [*frames, rejected])
    admission.add(other, [leased(other, 0)])
    admission.add(mine, [])
    assert admission.take(1, 0.0)[0] == frames[:1]
    assert admission.purge(mine) == [*frames[1:], rejected]
    assert admission.purge(mine) == []
    assert len(admission) == 1
    assert [item.lease for item in admission.take(5, 0.0)[0] if isinstance(item, LeasedFrame)] == [other]
    assert admission.take(5, 0.0)[0] == []


@pytest.mark.parametrize(("partitions", "share_mib"), [(0, 48), (1, 48), (2, 24), (16, 3), (48, 1), (100, 1)])
def test_partitions_share_the_workers_room_equally(partitions: int, share_mib: int) -> None:
    """However many partitions there are, each has an equal share of all bytes, but 1 MiB at least."""
    mib = 1024 * 1024
    room = Room(frames=256, nbytes=64 * mib, total_bytes=48 * mib)
    assert room.share_bytes(partitions, 0) == share_mib * mib


def test_with_frames_enough_each_partition_has_half_its_share() -> None:
    """Small frames are soon enough for all calls and fill half the room; large ones may fill all of it."""
    mib = 1024 * 1024
    room = Room(frames=256, nbytes=64 * mib, total_bytes=48 * mib, enough=96)
    assert [room.share_bytes(8, frames) // mib for frames in (0, 95, 96, 200)] == [6, 6, 3, 3]
    for frame_bytes, held_frames in ((mib // 32, 128), (mib // 4, 32)):
        table = LeaseTable("frames", replace(room, total_bytes=24 * mib, enough=128))
        leases = [table.assign(number, 0) for number in range(3)]
        for lease in leases:
            _fill(table, lease, frame_bytes)
        assert [lease.frames for lease in leases] == 3 * [held_frames]


def test_a_partition_that_gives_frames_back_is_read_again_when_the_others_hold_few() -> None:
    """What was enough is so no longer once the frames are settled: the whole share counts again."""
    mib = 1024 * 1024
    table = LeaseTable("frames", Room(frames=256, nbytes=64 * mib, total_bytes=4 * mib, enough=24))
    first, second = table.assign(0, 0), table.assign(1, 0)
    frames, others = _fill(table, first, mib // 16), _fill(table, second, mib // 16)
    assert [len(frames), len(others)] == [24, 16]
    for frame in others:
        table.settle(frame)
    assert not table.has_room(first)
    assert table.settle(frames.popleft()), "23 frames are not enough, and fill no three quarters of 2 MiB"
    assert table.has_room(first)


@pytest.mark.parametrize(
    ("server", "enough"),
    [("a:8500", 288), ("a:8500,b:8500", 544), ("dns:///models:8500", None), ("a:8500,dns:///b:8500", None)],
)
def test_what_is_enough_follows_from_the_most_calls_at_once(server: str, enough: int | None) -> None:
    """Eight calls of each server and the batch behind them; how many servers a name has, nobody knows."""
    assert _enough(WorkerSettings(server=server, max_in_flight_calls=8, max_batch_size=32)) == enough


def _fill(table: LeaseTable, lease: PartitionLease, frame_bytes: int) -> deque[LeasedFrame]:
    """Read frames of so many bytes until the lease has no room."""
    frames: deque[LeasedFrame] = deque()
    while table.has_room(lease):
        frames.append(table.admit(lease, FakeRecord(value=b"x" * frame_bytes), len(frames), 1.0, NOW_MS))
    return frames


def test_a_partition_is_full_at_its_share() -> None:
    """What one partition may hold shrinks when others come, and grows when they go."""
    mib = 1024 * 1024
    table = LeaseTable("frames", Room(frames=256, nbytes=64 * mib, total_bytes=4 * mib))
    first = table.assign(0, 0)
    frames = deque(table.admit(first, FakeRecord(value=b"x" * mib), n, 1.0, NOW_MS) for n in range(3))
    assert table.has_room(first)
    second = table.assign(1, 0)
    frames.append(table.admit(first, FakeRecord(value=b"x"), 3, 1.0, NOW_MS))
    assert not table.has_room(first)
    assert table.has_room(second)
    table.fence(second)
    assert table.settle(frames.popleft()), "a lease that had no room has some again"
    assert table.has_room(first)
