"""Freshness where frames wait for decode: in admission, policies mixed in one partition."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens.dead_letter import Reason
from riverlens.drop import DropReason
from riverlens_worker.admission import Admission
from riverlens_worker.freshness import Freshness, newer, parse_rules
from riverlens_worker.messages import LeasedFrame, Outcome, Rejected, dead_letter
from riverlens_worker.offsets import PartitionLease
from tests.live_frames import live
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
        admission.release(frame)
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
