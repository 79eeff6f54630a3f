"""The ledger and the lease: what may be committed, whatever order frames are settled in."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverlens_worker.offsets import LeaseState, OffsetLedger, PartitionLease, StallGuard
from riverlens_worker.ordering import Resequencer
from tests.worker_parts import examples

OFFSETS = st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True).map(sorted)


@examples(300)
@given(OFFSETS, st.randoms(use_true_random=False), st.floats(0, 1))
def test_committable_never_passes_an_open_offset_and_never_falls(
    offsets: list[int], chance: random.Random, eagerness: float
) -> None:
    """Opening and settling in any order: the committed offset is the lowest open, and only rises."""
    ledger = OffsetLedger()
    to_open, to_settle = list(offsets), list[int]()
    last = -1
    while to_open or to_settle:
        if to_open and (not to_settle or chance.random() < eagerness):
            offset = to_open.pop(0)
            ledger.open(offset, captured_at_ms=offset * 2)
            to_settle.append(offset)
        else:
            ledger.settle(to_settle.pop(chance.randrange(len(to_settle))))
        committable = ledger.committable()
        assert committable is not None
        assert committable == (min(to_settle) if to_settle else ledger.highest + 1)
        assert ledger.oldest_ms() == (min(to_settle) * 2 if to_settle else None)
        assert len(ledger) == len(to_settle)
        assert committable >= last
        last = committable
    assert ledger.committable() == offsets[-1] + 1


@examples(200)
@given(OFFSETS, st.integers(0, 10_001), st.randoms(use_true_random=False))
def test_strays_and_double_settles_are_refused(offsets: list[int], other: int, chance: random.Random) -> None:
    """An offset that was never opened, even inside a gap, or was settled before, cannot be settled."""
    ledger = OffsetLedger()
    for offset in offsets:
        ledger.open(offset)
    if other not in offsets:
        with pytest.raises(ValueError, match="not open"):
            ledger.settle(other)
    chance.shuffle(offsets)
    for count, offset in enumerate(offsets, 1):
        ledger.settle(offset)
        with pytest.raises(ValueError, match="not open"):
            ledger.settle(offset)
        assert len(ledger) == len(offsets) - count


def test_offsets_are_opened_in_rising_order_only() -> None:
    """An offset that comes again, or after a higher one, is a defect that the ledger names."""
    ledger = OffsetLedger()
    assert ledger.committable() is None
    ledger.open(5)
    for offset in (5, 4):
        with pytest.raises(ValueError, match=f"offset {offset} after 5"):
            ledger.open(offset)
    assert len(ledger) == 1


@examples(200)
@given(st.permutations(range(40)), st.integers(0, 1000))
def test_any_permutation_comes_out_in_order(order: list[int], first: int) -> None:
    """Whatever order the answers come in, they leave in the order of the frames, each as soon as it may."""
    resequencer = Resequencer[str](first)
    released: list[str] = []
    for count, ordinal in enumerate(order, 1):
        released += resequencer.push(first + ordinal, f"item {ordinal}")
        assert len(resequencer) == count - len(released)
        came = set(order[:count])
        due = next(n for n in range(len(order) + 1) if n not in came)
        assert released == [f"item {n}" for n in range(due)]
    assert len(resequencer) == 0


def test_an_ordinal_comes_once() -> None:
    """The same ordinal again, released or waiting, is a defect that the resequencer names."""
    resequencer = Resequencer[int]()
    resequencer.push(0, 0)
    resequencer.push(2, 2)
    for ordinal in (0, 2):
        with pytest.raises(ValueError, match="twice"):
            resequencer.push(ordinal, ordinal)


def test_a_lease_tells_what_is_new_to_commit() -> None:
    """Nothing before the first settled frame, nothing twice, and never past an open frame."""
    lease = PartitionLease("frames", 3, next_offset=7, committed=7)
    assert lease.to_commit() is None
    lease.ledger.open(7)
    lease.ledger.open(9)
    assert lease.to_commit() is None
    lease.ledger.settle(9)
    assert lease.to_commit() is None
    lease.ledger.settle(7)
    assert lease.to_commit() == 10
    lease.committed = 10
    assert lease.to_commit() is None


def test_a_lease_is_open_then_draining_then_fenced() -> None:
    """A draining lease takes no new work but may still publish; a fenced one does neither."""
    lease = PartitionLease("frames", 0)
    seen = []
    for state in LeaseState:
        lease.state = state
        seen.append((lease.open, lease.fenced))
    assert seen == [(True, False), (False, False), (False, True)]


@pytest.mark.parametrize(
    ("session_s", "heartbeat_s"), [(6.0, 1.0), (6.0, 2.0), (3.0, 1.0), (3.0, 0.1), (10.0, 3.0), (45.0, 3.0)]
)
def test_a_stall_is_suspected_before_the_session_can_have_run_out(
    session_s: float, heartbeat_s: float
) -> None:
    """The broker may have expelled us a session after the last heartbeat; suspicion is always earlier,
    and a tick that comes on time, or half a second late, raises none.
    """  # noqa: D205  # one sentence on two lines
    guard = StallGuard(session_timeout_s=session_s, heartbeat_s=heartbeat_s, now_s=100.0)
    expelled_s = 100.0 - heartbeat_s + session_s
    assert guard.suspect(expelled_s - 0.05 * session_s)
    assert not guard.suspect(101.5)
    assert guard.suspect(100.0 + 1.0 + session_s / 2 + 0.01)


def test_suspicion_holds_over_later_beats_until_membership_is_proved() -> None:
    """A process that was stopped publishes nothing after it wakes, whoever runs first, until the proof."""
    guard = StallGuard(session_timeout_s=6.0, heartbeat_s=1.0, now_s=0.0)
    for second in range(1, 5):
        guard.beat(float(second))
        assert not guard.suspect(float(second))
    woken_s = 60.0  # SIGSTOP at 4, SIGCONT at 60
    assert guard.suspect(woken_s), "a publisher that runs before the late beat must see it"
    for second in range(3):
        guard.beat(woken_s + second)
        assert guard.suspect(woken_s + second), "on-time beats after the stall prove nothing"
    guard.prove(woken_s + 3)
    assert not guard.suspect(woken_s + 3)
    guard.beat(woken_s + 4)
    assert not guard.suspect(woken_s + 4.5)
