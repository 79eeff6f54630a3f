"""Checksums of record batches, held against aiokafka's own."""

from __future__ import annotations

from typing import Any

import google_crc32c
import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from riverlens_worker import source
from riverlens_worker.metrics import Metrics
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source.checksums import CheckedRecords
from riverlens_worker.source.poller import _PARSE_ERRORS

NONE, GZIP = 0, 1
HEAD_BYTES = 17
"""Offset, length, epoch and magic: what a broker rewrites, so no checksum covers it."""


def batch(values: list[bytes], *, codec: int = NONE, base_offset: int = 0) -> bytes:
    """A batch of version 2 as a broker stores it."""
    builder = DefaultRecordBatchBuilder(
        2, codec, is_transactional=0, producer_id=7, producer_epoch=0, base_sequence=0, batch_size=1 << 20
    )
    for place, value in enumerate(values):
        builder.append(place, timestamp=1, key=b"cam", value=value, headers=[("h", b"x")])
    return base_offset.to_bytes(8, "big") + bytes(builder.build())[8:]


def old_batch(values: list[bytes]) -> bytes:
    """A message set of version 1, as a topic of old may hold."""
    builder = LegacyRecordBatchBuilder(1, NONE, 1 << 20)
    for place, value in enumerate(values):
        builder.append(place, timestamp=1, key=None, value=value)
    return bytes(builder.build())


def read(records: CheckedRecords) -> list[tuple[int, bytes]]:
    found = []
    while records.has_next():
        found += [(record.offset, record.value) for record in records.next_batch()]
    return found


@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=4),
    st.sampled_from([NONE, GZIP]),
    st.integers(0, 30),
)
def test_what_was_written_is_read(values: list[bytes], codec: int, cut: int) -> None:
    """Several batches and an unfinished one behind them: all records of the whole ones."""
    raw = batch(values, codec=codec) + batch(values, codec=codec, base_offset=len(values))
    records = CheckedRecords(raw + raw[:cut])
    assert records.size_in_bytes() == MemoryRecords(raw + raw[:cut]).size_in_bytes() == len(raw) + cut
    assert read(records) == list(enumerate(values + values))
    assert records.next_batch() is None


def test_batches_of_old_are_read() -> None:
    """A topic may hold message sets that a producer wrote years ago."""
    raw = old_batch([b"a", b"b"])
    assert [value for _, value in read(CheckedRecords(raw))] == [b"a", b"b"]
    damaged = bytearray(raw)
    damaged[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="checksum"):
        read(CheckedRecords(bytes(damaged)))


@given(st.data(), st.sampled_from([NONE, GZIP]))
def test_a_changed_bit_is_found(data: st.DataObject, codec: int) -> None:
    """Wherever it is from the checksum on: the batch before it is read, it is not."""
    good = batch([b"good"])
    bad = bytearray(batch([b"frame" * 20, b"other"], codec=codec, base_offset=1))
    place = data.draw(st.integers(HEAD_BYTES, len(bad) - 1))
    bad[place] ^= 1 << data.draw(st.integers(0, 7))
    records = CheckedRecords(good + bytes(bad))
    assert [record.value for record in records.next_batch()] == [b"good"]
    with pytest.raises(CorruptRecordException, match="offset 1"):
        records.next_batch()


@example(b"")
@given(st.binary(max_size=5_000))
def test_both_compute_the_same(raw: bytes) -> None:
    """google-crc32c computes what Kafka's format means by CRC-32C; here not in plain Python."""
    assert google_crc32c.implementation == "c"
    assert google_crc32c.value(raw) == calc_crc32c(raw)


@pytest.mark.parametrize("binary", [True, False])
def test_a_worker_checks_once_here_or_in_aiokafka(monkeypatch: pytest.MonkeyPatch, *, binary: bool) -> None:
    """Here where there is a binary, and in aiokafka where there is none: nowhere is not checked."""
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    monkeypatch.setattr(google_crc32c, "implementation", "c" if binary else "python")
    monkeypatch.setattr(source, "AIOKafkaConsumer", lambda **options: made.append(options))
    source.Source(WorkerSettings(), Metrics(CollectorRegistry()), 0.0)
    assert made[0]["check_crcs"] is not binary
    assert fetcher.MemoryRecords is (CheckedRecords if binary else MemoryRecords)


def test_aiokafkas_fetcher_reads_through_it() -> None:
    """It looks the class up by this name when an answer comes: after a new release, look again."""
    assert "MemoryRecords" in fetcher.Fetcher._proc_fetch_request.__code__.co_names


@pytest.mark.parametrize("magic", [0, 130])
def test_a_wrong_magic_is_a_record_that_cannot_be_parsed(magic: int) -> None:
    """The parser of aiokafka fails over it with an error of the interpreter's."""
    raw = bytearray(batch([b"frame"]))
    raw[HEAD_BYTES - 1] = magic
    with pytest.raises(_PARSE_ERRORS):
        read(CheckedRecords(bytes(raw)))
