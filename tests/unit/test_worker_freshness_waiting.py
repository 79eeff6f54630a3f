"""Freshness where frames wait: in admission and in open batches, policies mixed in one partition."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.dead_letter import Reason
from riverlens.drop import DropReason
from riverlens_worker.admission import Admission
from riverlens_worker.batching import Limits, OpenBatches
from riverlens_worker.freshness import Freshness, newer, parse_rules
from riverlens_worker.messages import BatchReason, DecodedFrame, LeasedFrame, Outcome, Rejected, dead_letter
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.pieces import Piece, drop_stale, unless_empty
from tests.live_frames import live, row
from tests.worker_parts import examples

CAMERAS = ("every-1", "every-2", "aged-1", "live-1", "live-2")
RULES = ("live-*=latest_only", "aged-*=max_age:2s")
FRAME = st.tuples(st.sampled_from(CAMERAS), st.floats(-3, 0.5), st.sampled_from([0, 0, 0, 1]))
ADD = st.tuples(st.just("add"), st.integers(0, 1), st.lists(FRAME, min_size=1, max_size=5))
STEPS = st.lists(
    st.one_of(
        ADD,
        st.tuples(st.just("take"), st.integers(1, 6), st.just([])),
        st.tuples(st.just("sweep"), st.just(0), st.just([])),
        st.tuples(st.just("wait"), st.integers(1, 15), st.just([])),
    ),
    max_size=40,
)


def _freshness() -> Freshness:
    return Freshness(parse_rules(RULES))


class Waiting:
    """Admission under test: what waits by our own account, and what became of every frame."""

    def __init__(self) -> None:
        self.freshness = _freshness()
        self.admission = Admission(self.freshness)
        self.leases = [PartitionLease("frames", n) for n in range(2)]
        self.now_s = 10.0
        self.inside: list[LeasedFrame] = []
        self.seen: list[LeasedFrame] = []
        self.taken: list[LeasedFrame] = []
        self.dropped: list[LeasedFrame] = []
        self.ordinals: Counter[int] = Counter()

    def add(self, number: int, frames: list[tuple[str, float, int]]) -> None:
        """Frames of one partition arrive together, captured so long before or after now."""
        lease, items = self.leases[number], []
        for camera, captured_s, redriven in frames:
            items.append(
                live(
                    camera,
                    captured_s=self.now_s + captured_s,
                    arrived_s=self.now_s,
                    ordinal=self.ordinals[number],
                    lease=lease,
                    redriven=redriven,
                )
            )
            self.ordinals[number] += 1
        self.seen += items
        self.inside += items
        self.drop(self.admission.add(lease, list(items)))

    def drop(self, gone: object) -> None:
        """Each drop is right: of a stale frame, or of one that is older than another that waited then."""
        assert isinstance(gone, list)
        gone_frames = [rejected.source for rejected in gone]
        for rejected in gone:
            source = rejected.source
            assert isinstance(rejected, Rejected)
            assert rejected.outcome is Outcome.DROPPED
            assert not source.frame.redriven
            assert not source.frame.camera_id.startswith("every")
            if rejected.reason == DropReason.STALE:
                assert self.freshness.stale(source, self.now_s)
            else:
                others = [frame for frame in self.inside if _same_camera(frame, source)]
                assert any(newer(other, source) for other in others), "dropped in favour of an older one"
        self.dropped += gone_frames
        self.inside = [frame for frame in self.inside if frame not in gone_frames]

    def take(self, limit: int) -> None:
        """Nothing stale comes out; what comes out waited."""
        taken, gone = self.admission.take(limit, self.now_s)
        self.drop(gone)
        for item in taken:
            assert isinstance(item, LeasedFrame)
            assert not self.freshness.stale(item, self.now_s)
            self.inside.remove(item)
            self.taken.append(item)
        assert len(taken) == limit or not self.inside

    def check(self) -> None:
        """Our account is the queues'; a live camera has one frame at most in each partition."""
        assert len(self.admission) == len(self.inside)
        places = Counter(
            (id(f.lease), f.frame.camera_id) for f in self.inside if self.freshness.replaceable(f)
        )
        assert max(places.values(), default=0) <= 1


def _same_camera(one: LeasedFrame, other: LeasedFrame) -> bool:
    same = one.lease is other.lease and one.frame.camera_id == other.frame.camera_id
    return same and one is not other and not one.frame.redriven


@examples(300)
@given(STEPS)
def test_whatever_comes_each_frame_has_one_fate_and_the_right_one(
    steps: list[tuple[str, int, list[tuple[str, float, int]]]],
) -> None:
    """Policies mixed in partitions, time passing: taken or dropped, once each, never for an older frame."""
    line = Waiting()
    for verb, number, frames in steps:
        if verb == "add":
            line.add(number, frames)
        elif verb == "take":
            line.take(number)
        elif verb == "sweep":
            line.drop(line.admission.sweep(line.now_s))
            assert not any(line.freshness.stale(frame, line.now_s) for frame in line.inside)
        else:
            line.now_s += number / 10
        line.check()
    while line.inside:
        line.take(4)
    line.check()
    fates = Counter(map(id, (*line.taken, *line.dropped)))
    assert fates == Counter(map(id, line.seen))
    for lease in line.leases:
        mine = [frame for frame in line.taken if frame.lease is lease]
        live_ones = [frame for frame in mine if line.freshness.replaceable(frame)]
        queues = [[frame for frame in mine if frame not in live_ones]]
        queues += [[f for f in live_ones if f.frame.camera_id == camera] for camera in ("live-1", "live-2")]
        for queue in queues:
            ordinals = [frame.ordinal for frame in queue]
            assert ordinals == sorted(ordinals), "out of offset order"


@examples(100)
@given(STEPS)
def test_without_policies_nothing_is_ever_dropped(
    steps: list[tuple[str, int, list[tuple[str, float, int]]]],
) -> None:
    """`every_frame` drops nothing, however old a frame and however many wait."""
    admission, lease = Admission(), PartitionLease("frames", 0)
    ordinal, taken = 0, []
    for verb, number, frames in steps:
        if verb == "add":
            items = [
                live(camera, captured_s=at_s, ordinal=ordinal + n)
                for n, (camera, at_s, _) in enumerate(frames)
            ]
            ordinal += len(items)
            assert not admission.add(lease, list(items))
        elif verb == "take":
            found, gone = admission.take(number, 1e6)
            assert not gone
            taken += found
        else:
            assert not admission.sweep(1e6)
    taken += admission.take(1_000, 1e6)[0]
    assert [item.ordinal for item in taken if isinstance(item, LeasedFrame)] == list(range(ordinal))


@pytest.mark.parametrize("cameras", [2, 7, 20])
def test_a_busy_device_sees_every_live_camera_in_turn(cameras: int) -> None:
    """Each camera's frame renewed between any two turns: all are served equally often, always the newest."""
    admission, lease = Admission(_freshness()), PartitionLease("frames", 0)
    names = [f"live-{n}" for n in range(cameras)]
    served: Counter[str] = Counter()
    ordinal = 0
    for turn in range(5 * cameras):
        for name in names:
            admission.add(lease, [live(name, captured_s=turn, arrived_s=turn, ordinal=ordinal, lease=lease)])
            ordinal += 1
        taken, _ = admission.take(1, float(turn))
        (frame,) = taken
        assert isinstance(frame, LeasedFrame)
        assert frame.arrived_s == turn, "not the newest"
        served[frame.frame.camera_id] += 1
    assert set(served.values()) == {5}


def test_a_revoked_partition_gives_back_its_live_frames_too() -> None:
    """Purging returns the newest frame of each live camera, and its place is free again."""
    admission, lease = Admission(_freshness()), PartitionLease("frames", 0)
    first, second = (live("live-1", ordinal=n, lease=lease) for n in range(2))
    unread = dead_letter(live("x", ordinal=2, lease=lease), Reason.UNREADABLE, "")
    assert [gone.source for gone in admission.add(lease, [first, second, unread])] == [first]
    assert admission.purge(lease) == [second, unread]
    third = live("live-1", ordinal=3, lease=lease)
    assert not admission.add(lease, [third])
    assert admission.take(5, 0.0) == ([third], [])


ROW = st.tuples(st.sampled_from(CAMERAS), st.integers(0, 1), st.sampled_from([(), (4, 4)]), st.integers(0, 2))


@examples(250)
@given(st.lists(ROW, max_size=60), st.integers(1, 6), st.integers(1, 60))
def test_open_batches_hold_one_row_of_a_live_camera_and_lose_none(
    rows: list[tuple[str, int, tuple[int, ...], int]], most_rows: int, most_bytes: int
) -> None:
    """Every row leaves once: in a batch, superseded by a newer one of its camera, or stale."""
    waiting = OpenBatches(Limits(most_rows, most_bytes), _freshness())
    leases = [PartitionLease("frames", n) for n in range(2)]
    inside: dict[int, DecodedFrame] = {}
    out: list[int] = []
    now_s = 0.0

    def leaves(gone: DecodedFrame) -> None:
        del inside[gone.source.offset]
        out.append(gone.source.offset)

    def take() -> None:
        for stale in waiting.sweep(now_s):
            assert stale.source.frame.camera_id[0] != "e"
            leaves(stale)
        assert len(waiting) == len(inside)
        batch = waiting.take(now_s)
        for frame in batch.frames if batch else ():
            assert now_s - frame.source.arrived_s <= 2.0 or frame.source.frame.camera_id[0] == "e"
            leaves(frame)

    for number, (camera, partition, shape, then) in enumerate(rows):
        source = live(camera, captured_s=now_s, arrived_s=now_s, ordinal=number, lease=leases[partition])
        inside[number] = row(source, shape=shape, ready_s=now_s)
        older = waiting.add(inside[number])
        if older is not None:
            assert older.source.frame.camera_id == camera
            assert older.source.ordinal < number
            leaves(older)
        live_rows = Counter(
            (r.source.frame.camera_id, id(r.source.lease))
            for r in inside.values()
            if "live" in str(r.source.key)
        )
        assert max(live_rows.values(), default=0) <= 1
        assert len(waiting) == len(inside)
        now_s += 0.3
        if then == 2:
            take()
    while inside:
        take()
    assert sorted(out) == list(range(len(rows)))


def test_a_newer_row_keeps_its_cameras_turn() -> None:
    """A row that is renewed again and again does not make another shape wait less than its own, or more."""
    waiting, lease = OpenBatches(Limits(4, 1_000), _freshness()), PartitionLease("frames", 0)

    def put(camera: str, ordinal: int, shape: tuple[int, ...], at_s: float) -> None:
        source = live(camera, captured_s=at_s, arrived_s=at_s, ordinal=ordinal, lease=lease)
        waiting.add(row(source, shape=shape, ready_s=at_s))

    put("live-1", 0, (1, 1), 0.0)
    put("every-1", 1, (2, 2), 0.1)
    put("live-1", 2, (1, 1), 0.2)
    batch = waiting.take(0.3)
    assert batch is not None
    assert [frame.source.ordinal for frame in batch.frames] == [2]


def test_a_renewed_row_of_another_shape_moves_to_it() -> None:
    """A camera that changes its resolution still has one row, of the new shape."""
    waiting, lease = OpenBatches(Limits(4, 1_000), _freshness()), PartitionLease("frames", 0)
    old, new = (live("live-1", ordinal=n, lease=lease) for n in range(2))
    assert waiting.add(row(old, shape=(1, 1))) is None
    superseded = waiting.add(row(new, shape=(2, 2)))
    assert superseded is not None
    assert superseded.source is old
    batch = waiting.take(0.0)
    assert batch is not None
    assert [frame.source for frame in batch.frames] == [new]
    assert waiting.take(0.0) is None


@examples(150)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=6), st.integers(1, 8))
def test_a_backlog_leaves_room_in_the_next_batch_for_every_partition(backlogs: list[int], most: int) -> None:
    """Each partition has its share of a batch: at least the whole part of an equal one, or all it has."""
    waiting = OpenBatches(Limits(most, 1 << 30))
    for number, backlog in enumerate(backlogs):
        lease = PartitionLease("frames", number)
        for n in range(backlog):
            waiting.add(row(live("every-1", ordinal=n, lease=lease)))
    left = Counter({number: backlog for number, backlog in enumerate(backlogs) if backlog})
    while left:
        batch = waiting.take(0.0)
        assert batch is not None
        got = Counter(frame.source.lease.partition for frame in batch.frames)
        share = most // len(left)
        assert sum(got.values()) == min(most, sum(left.values()))
        assert all(got[number] >= min(share, count) for number, count in left.items())
        left -= got
    assert waiting.take(0.0) is None


@examples(100)
@given(st.lists(st.sampled_from(CAMERAS), min_size=1, max_size=8), st.integers(0, 8), st.floats(0, 3))
def test_a_piece_parts_from_its_stale_frames(cameras: list[str], half: int, age_s: float) -> None:
    """Those of the rest included; an empty piece gives way to what is left of the other half."""
    frames = [row(live(camera, ordinal=n)) for n, camera in enumerate(cameras)]
    piece = Piece(frames[:half], BatchReason.FULL, rest=frames[half:])
    freshness = _freshness()
    gone = drop_stale(piece, freshness, age_s)
    left = [frame for frame in frames if not freshness.stale(frame.source, age_s)]
    assert [rejected.source for rejected in gone] == [f.source for f in frames if f not in left]
    assert [*piece.frames, *piece.rest] == left
    assert [f for p in unless_empty(piece) for f in (*p.frames, *p.rest)] == left
    assert all(p.frames for p in unless_empty(piece))
