"""Freshness and fairness where rows wait: in open batches, and for a call that is asked again."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.batching import Limits, OpenBatches
from riverlens_worker.freshness import Freshness, parse_rules
from riverlens_worker.messages import BatchReason, DecodedFrame
from riverlens_worker.offsets import LeaseState, PartitionLease
from riverlens_worker.pieces import Piece, sift, unless_empty
from tests.live_frames import live, row
from tests.worker_parts import examples

CAMERAS = ("every-1", "every-2", "aged-1", "live-1", "live-2")


def _freshness() -> Freshness:
    return Freshness(parse_rules(("live-*=latest_only", "aged-*=max_age:2s")))


ROW = st.tuples(st.sampled_from(CAMERAS), st.integers(0, 1), st.sampled_from([(), (4, 4)]), st.integers(0, 2))


class Rows:
    """Open batches under test, and what waits by our own account."""

    def __init__(self, limits: Limits) -> None:
        self.waiting = OpenBatches(limits, _freshness())
        self.leases = [PartitionLease("frames", n) for n in range(2)]
        self.inside: dict[int, DecodedFrame] = {}
        self.out: list[int] = []
        self.now_s = 0.0

    def add(self, number: int, camera: str, partition: int, shape: tuple[int, ...]) -> None:
        """A row arrives; of a live camera one waits at most, the newest."""
        lease = self.leases[partition]
        source = live(camera, captured_s=self.now_s, arrived_s=self.now_s, ordinal=number, lease=lease)
        self.inside[number] = row(source, shape=shape, ready_s=self.now_s)
        older = self.waiting.add(self.inside[number])
        if older is not None:
            assert older.source.frame.camera_id == camera
            assert older.source.ordinal < number
            self.leaves(older)
        sources = [each.source for each in self.inside.values()]
        places = Counter((s.frame.camera_id, id(s.lease)) for s in sources if "live" in s.frame.camera_id)
        assert max(places.values(), default=0) <= 1
        assert len(self.waiting) == len(self.inside)

    def take(self) -> None:
        """A batch leaves, with nothing stale in it."""
        for stale in self.waiting.sweep(self.now_s):
            assert not stale.source.frame.camera_id.startswith("every")
            self.leaves(stale)
        assert len(self.waiting) == len(self.inside)
        batch = self.waiting.take(self.now_s)
        for frame in batch.frames if batch else ():
            source = frame.source
            assert self.now_s - source.arrived_s <= 2.0 or source.frame.camera_id.startswith("every")
            self.leaves(frame)

    def leaves(self, gone: DecodedFrame) -> None:
        """Each leaves once."""
        del self.inside[gone.source.offset]
        self.out.append(gone.source.offset)


@examples(250)
@given(st.lists(ROW, max_size=60), st.integers(1, 6), st.integers(1, 60))
def test_open_batches_hold_one_row_of_a_live_camera_and_lose_none(
    rows: list[tuple[str, int, tuple[int, ...], int]], most_rows: int, most_bytes: int
) -> None:
    """Every row leaves once: in a batch, superseded by a newer one of its camera, or stale."""
    line = Rows(Limits(most_rows, most_bytes))
    for number, (camera, partition, shape, then) in enumerate(rows):
        line.add(number, camera, partition, shape)
        line.now_s += 0.3
        if then == 2:
            line.take()
    while line.inside:
        line.take()
    assert sorted(line.out) == list(range(len(rows)))


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
    """Those of the rest included; an empty piece gives way to what is left; what lost some is not full."""
    frames = [row(live(camera, ordinal=n)) for n, camera in enumerate(cameras)]
    piece = Piece(frames[:half], BatchReason.FULL, rest=frames[half:], full=True)
    freshness = _freshness()
    gone = sift(piece, freshness, age_s)
    left = [frame for frame in frames if not freshness.stale(frame.source, age_s)]
    assert [rejected.source for rejected in gone] == [f.source for f in frames if f not in left]
    assert [*piece.frames, *piece.rest] == left
    assert piece.full is (not gone)
    assert [f for p in unless_empty(piece) for f in (*p.frames, *p.rest)] == left
    assert all(p.frames for p in unless_empty(piece))


def test_a_piece_parts_from_frames_of_partitions_that_moved_on() -> None:
    """Whether or not policies ask for fresh frames, those are fenced."""
    gone, stays = PartitionLease("frames", 0), PartitionLease("frames", 1)
    frames = [row(live("every-1", ordinal=n, lease=lease)) for n, lease in enumerate((gone, stays, gone))]
    gone.state = LeaseState.FENCED
    for freshness in (None, _freshness()):
        piece = Piece(frames[:2], BatchReason.FULL, rest=frames[2:])
        assert [rejected.outcome for rejected in sift(piece, freshness, 0.0)] == ["fenced"] * 2
        assert (piece.frames, piece.rest) == (frames[1:2], [])
