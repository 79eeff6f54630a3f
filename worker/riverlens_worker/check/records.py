"""A look at the frames themselves: where they begin and end, the newest and the oldest unread. Shell."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from riverlens.frame import read_frame
from riverlens_worker.check.facts import Partition
from riverlens_worker.settings import WorkerSettings

_READ_S = 3.0
_POLL_MS = 200
_BACK = 2
"""Offsets from the end: behind the last frame there may be the marker of a transaction."""


@dataclass(frozen=True, slots=True)
class _Times:
    captured_ms: int
    appended_ms: int


async def look_at_frames(
    settings: WorkerSettings, partitions: int, committed: Mapping[int, int]
) -> dict[int, Partition]:
    """Offsets and times by partition, read without a group. What cannot be read is left out.

    Raises:
        KafkaError: Kafka does not answer, or refuses.
    """
    consumer = AIOKafkaConsumer(
        **settings.kafka.client_options(), enable_auto_commit=False, max_partition_fetch_bytes=4096
    )
    all_of_them = [TopicPartition(settings.frames_topic, number) for number in range(partitions)]
    try:
        await consumer.start()
        starts = await consumer.beginning_offsets(all_of_them)
        ends = await consumer.end_offsets(all_of_them)
        full = [tp for tp in all_of_them if ends[tp] > starts[tp]]
        newest = await _read(consumer, {tp: max(starts[tp], ends[tp] - _BACK) for tp in full}, -1)
        unread = {tp: max(starts[tp], committed.get(tp.partition, starts[tp])) for tp in full}
        left = {tp: offset for tp, offset in unread.items() if offset < ends[tp]}
        oldest = await _read(consumer, left, 0)
    finally:
        await consumer.stop()
    return {
        tp.partition: Partition(
            starts[tp],
            ends[tp],
            committed.get(tp.partition),
            newest[tp].captured_ms if tp in newest else None,
            newest[tp].appended_ms if tp in newest else None,
            oldest[tp].captured_ms if tp in oldest else None,
        )
        for tp in all_of_them
    }


async def _read(
    consumer: AIOKafkaConsumer, places: Mapping[TopicPartition, int], which: int
) -> dict[TopicPartition, _Times]:
    """The times of a record at or soon behind each place: the first (0) or the last (-1) that comes."""
    found: dict[TopicPartition, _Times] = {}
    consumer.assign(list(places))
    for tp, offset in places.items():
        consumer.seek(tp, offset)
    # Never cancelled from outside: aiokafka would not fetch again.
    give_up_s = time.monotonic() + _READ_S
    try:
        while len(found) < len(places) and time.monotonic() < give_up_s:
            wanted = [tp for tp in places if tp not in found]
            for tp, records in (await consumer.getmany(*wanted, timeout_ms=_POLL_MS)).items():
                found[tp] = _Times(read_frame(records[which]).captured_at_ms, records[which].timestamp)
    except (KafkaError, ValueError, AssertionError):
        # No right to read, which is told elsewhere, or a record that cannot be parsed: the worker will
        # find and dead-letter it.
        return found
    return found
