"""Which partitions may have frames decoded ahead: a batch's worth of all, and a share of their own."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from riverlens.dead_letter import Reason
from riverlens_worker.admission import Admission
from riverlens_worker.ahead import Ahead
from riverlens_worker.messages import LeasedFrame, dead_letter
from riverlens_worker.offsets import PartitionLease
from tests.worker_parts import leased


def _taken(admission: Admission, limit: int) -> list[LeasedFrame]:
    return [item for item in admission.take(limit, 0.0)[0] if isinstance(item, LeasedFrame)]


def test_a_quiet_partition_passes_a_busy_ones_backlog() -> None:
    """A batch of the backlog is decoded ahead, no more; a newcomer of another partition is not kept."""
    admission = Admission()
    admission.limit(8)
    busy, quiet = PartitionLease("frames", 0), PartitionLease("frames", 1)
    admission.add(busy, [leased(busy, offset) for offset in range(100)])
    ahead = _taken(admission, 100)
    assert len(ahead) == 8
    assert not admission.ready()
    admission.add(quiet, [leased(quiet, offset) for offset in range(100)])
    assert admission.ready()
    assert [frame.lease for frame in _taken(admission, 100)] == [quiet] * 4
    assert not admission.ready()
    for frame in ahead:
        admission.release(frame)
        admission.release(frame)
    assert admission.ready()
    assert [frame.lease for frame in _taken(admission, 100)] == [busy] * 4


def test_rejections_take_no_place() -> None:
    """What could not be read needs no call: any number of rejections passes."""
    admission, lease = Admission(), PartitionLease("frames", 0)
    admission.limit(2)
    admission.add(lease, [dead_letter(leased(lease, n), Reason.UNREADABLE, "") for n in range(50)])
    found = [item for _ in range(50) for item in admission.take(50, 0.0)[0]]
    assert len(found) == 50


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=200), st.integers(1, 12))
def test_what_is_ahead_is_bounded_and_every_partition_has_room_again(
    steps: list[tuple[int, bool]], rows: int
) -> None:
    """No partition has more than a batch, a newcomer always has room; released, all room is there again."""
    ahead = Ahead(rows)
    leases = [PartitionLease("frames", n) for n in range(6)]
    held: list[LeasedFrame] = []
    for offset, (number, release) in enumerate(steps):
        lease = leases[number]
        if release and held:
            ahead.release(held.pop(0))
        elif ahead.room(lease) > 0:
            frame = leased(lease, offset)
            ahead.add(lease, [frame])
            held.append(frame)
        assert len(ahead) == len(held)
        counts = Counter(frame.lease for frame in held)
        assert max(counts.values(), default=0) <= rows
        assert all(ahead.room(lease) >= 1 for lease in leases if lease not in counts)
        assert all(ahead.room(lease) >= rows - len(held) for lease in leases), "room left that nobody gets"
    for frame in held:
        ahead.release(frame)
    assert len(ahead) == 0
    assert all(ahead.room(lease) == rows for lease in leases)
