"""Which reference is fetched next: fair to partitions and hosts, within the room."""

from __future__ import annotations

from riverlens_worker.messages import LeasedFrame
from riverlens_worker.offsets import LeaseState, PartitionLease
from riverlens_worker.reference_uri import Location, parse
from riverlens_worker.references.turns import Turns, Wanted
from tests.worker_parts import leased

FILE, WEB = parse("file:///mnt/cams/a"), parse("https://images.example/live/1")


def _wanted(lease: PartitionLease, location: Location = WEB) -> Wanted:
    frame: LeasedFrame = leased(lease, lease.ledger.highest + 1)
    return Wanted(frame, location, location)


def _turns(**limits: int) -> Turns:
    return Turns(**({"at_once": 4, "room_bytes": 1_000, "most_bytes": 10} | limits))


def _start_all(turns: Turns) -> list[Wanted]:
    return list(iter(turns.next, None))


def test_one_lease_takes_half_of_a_host_and_others_the_rest() -> None:
    """References that hang in one partition leave room for those of another; offsets keep their order."""
    turns, one, other = _turns(), PartitionLease("frames", 0), PartitionLease("frames", 1)
    mine, theirs = [_wanted(one) for _ in range(5)], [_wanted(other) for _ in range(5)]
    for wanted in mine:
        turns.add(wanted)
    assert _start_all(turns) == mine[:2]
    for wanted in theirs:
        turns.add(wanted)
    assert _start_all(turns) == theirs[:2]
    assert turns.done(mine[1])
    assert _start_all(turns) == [mine[2]]


def test_a_lease_fetches_in_offset_order_whatever_order_they_come_in() -> None:
    """A live camera's newest frame may come before others of lower offsets; those are fetched first."""
    turns, lease = _turns(at_once=2), PartitionLease("frames", 0)
    frames = [_wanted(lease) for _ in range(4)]
    for number in (0, 3, 1, 2):
        turns.add(frames[number])
    found = []
    while (wanted := turns.next()) is not None:
        found.append(wanted)
        turns.done(wanted)
    assert found == frames


def test_hosts_and_files_have_limits_of_their_own() -> None:
    """A host that hangs holds back no other one."""
    turns = _turns(at_once=1)
    web, file = _wanted(PartitionLease("frames", 0)), _wanted(PartitionLease("frames", 1), FILE)
    turns.add(web)
    turns.add(file)
    assert set(_start_all(turns)) == {web, file}


def test_a_lease_starts_no_fetch_that_could_pass_its_room() -> None:
    """But for its oldest open frame, which everything behind it waits for."""
    turns, lease = _turns(room_bytes=25), PartitionLease("frames", 0)
    lease.bytes_held = 10
    first, second = _wanted(lease), _wanted(lease)
    turns.add(first)
    turns.add(second)
    assert _start_all(turns) == [first]
    lease.bytes_held = 100
    turns.done(first)
    assert _start_all(turns) == []
    lease.ledger.settle(first.source.offset)
    assert _start_all(turns) == [second]


def test_what_is_given_up_is_given_up_once() -> None:
    """References of a lease that moved on come out once, waiting or under way, and free their host."""
    turns, gone, kept = _turns(at_once=2), PartitionLease("frames", 0), PartitionLease("frames", 1)
    lost = [_wanted(gone) for _ in range(3)]
    for wanted in lost:
        turns.add(wanted)
    assert _start_all(turns) == lost[:1]
    assert not turns.any_lost()
    gone.state = LeaseState.DRAINING
    assert turns.any_lost()
    assert turns.lost() == lost
    assert (len(turns), turns.lost(), turns.done(lost[0])) == (0, [], False)
    stays = [_wanted(kept), _wanted(kept)]
    for wanted in stays:
        turns.add(wanted)
    assert _start_all(turns) == stays[:1]
    assert turns.unstarted() == stays[1:]
    assert turns.everything() == stays[:1]
    assert len(turns) == 0
