"""Checksums of what Kafka answers, by the processor's own instruction. Shell of aiokafka's fetcher.

aiokafka computes them in portable C: 25 us for a frame of 45 kB. google-crc32c takes 2 us and a copy
(`timeit`, both on the machine of benchmarks/RESULTS.md).
"""

from __future__ import annotations

import struct
from typing import Any

import google_crc32c
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_AT, _OVERHEAD = 8, 12
_MAGIC_AT, _CRC_AT, _COVERED_FROM = 16, 17, 21
"""Places in a record batch (Kafka's message format, version 2): its checksum covers all behind itself."""
_OWN_MAGIC = 2
_length_of = struct.Struct(">i").unpack_from
_offset_of = struct.Struct(">q").unpack_from
_crc_of = struct.Struct(">I").unpack_from


class CheckedRecords:
    """aiokafka's `MemoryRecords`, which hands out only batches whose checksum is right."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._records = MemoryRecords(data)

    def size_in_bytes(self) -> int:
        """Size of all batches, an unfinished one at the end included."""
        size: int = self._records.size_in_bytes()
        return size

    def has_next(self) -> bool:
        """Whether another whole batch is there."""
        there: bool = self._records.has_next()
        return there

    def next_batch(self) -> Any:
        """The next batch, None where there is none.

        Raises:
            CorruptRecordException: it is not what the producer wrote.
        """
        batch = self._records.next_batch()
        if batch is None:
            return None
        data, begin = self._data, self._at
        self._at = end = begin + _OVERHEAD + _length_of(data, begin + _LENGTH_AT)[0]
        if data[begin + _MAGIC_AT] == _OWN_MAGIC:
            right = (
                google_crc32c.value(data[begin + _COVERED_FROM : end]) == _crc_of(data, begin + _CRC_AT)[0]
            )
        else:
            right = batch.validate_crc()
        if not right:
            raise CorruptRecordException(
                f"wrong checksum in the batch at offset {_offset_of(data, begin)[0]}"
            )
        return batch


def check_here() -> bool:
    """Let aiokafka's consumers read through `CheckedRecords`; whether that is all the checking they need.

    Not where google-crc32c has no binary for this machine: in plain Python it would take milliseconds.
    """
    able = google_crc32c.implementation == "c"
    if able:
        fetcher.MemoryRecords = CheckedRecords  # aiokafka has no such setting, and finds it by this name
    return able
