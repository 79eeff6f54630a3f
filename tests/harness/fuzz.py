"""A frame stream fuzzed at every level, and what must hold whatever lies in it."""

from __future__ import annotations

import random
import time
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.account import Account, headers_of, settled
from tests.harness.topics import Put, put
from tests.harness.worker import Worker
from tests.image_bombs import too_large, undecodable
from tests.mutations import mutated, seeds

T = TypeVar("T")

PARTITIONS = 4
MIB = 1024 * 1024
_KNOWN = (
    "content-type",
    "frame-id",
    "sequence",
    "captured-at",
    "camera-id",
    "traceparent",
    "redriven",
    "dlq-reason",
)
_MINUTE_MS = 60_000

_ODD_VALUES = st.sampled_from(
    [
        *(
            b"text/uri-list",
            b"application/x-raw-rgb;width=4;height=2",
            b"image/jpeg",
            b"\xff\xfe",
            b"",
            b"\0",
        ),
        *(b"9999-12-31T23:59:59Z", b"0000-00-00", b"1969-12-31T23:59:59.999Z", b"-1", b"1e9", b"9" * 40),
        *(
            "\u0661\u06f2".encode(),
            b"a" * 5_000,
            b"%",
            b"\n",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ]
)
_HEADERS = st.lists(
    st.tuples(st.sampled_from(_KNOWN) | st.text(max_size=20), _ODD_VALUES | st.binary(max_size=30)),
    max_size=6,
)
_URIS = st.sampled_from(
    [b"file:///etc/passwd", b"https://127.0.0.1:1/a", b"file:///\0", b"#\r\n", b"http://[::1]/"]
)
_IMAGES = st.builds(
    lambda seed, which: mutated(seeds()[which], random.Random(seed)),  # noqa: S311  # a game with seeds
    st.integers(0, 2**32),
    st.integers(0, len(seeds()) - 1),
)
_BOMBS = st.sampled_from([each for each in (too_large() | undecodable()).values() if len(each) < MIB])
_SIZES = st.integers(0, 3 * MIB).map(lambda size: b"\xff\xd8\xff" + bytes(size))


def _weighted(*pairs: tuple[st.SearchStrategy[T], int]) -> st.SearchStrategy[T]:
    """One of these, by weight; `one_of` counts repeated ones once."""
    places = [place for place, (_, weight) in enumerate(pairs) for _ in range(weight)]
    return st.sampled_from(places).flatmap(lambda place: pairs[place][0])


_VALUES = _weighted(
    (_IMAGES, 8),
    (st.sampled_from(seeds()), 5),
    (st.binary(max_size=200), 1),
    (st.just(bytes(24)), 1),
    (_BOMBS, 1),
)
_KEYS = (
    st.none() | st.binary(max_size=60) | st.sampled_from([b"lobby", b"\xff", b"a/b?#%", b"k" * 3_000, b"\0"])
)
# Older ones retention might remove while the test still reads them; a broker refuses later ones.
_TIMES = st.none() | st.integers(-10 * _MINUTE_MS, 50 * _MINUTE_MS).map(lambda ahead: _now_ms() + ahead)
_PARTITION = st.integers(0, PARTITIONS - 1)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _records(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[Put]:
    return st.builds(Put, values, _KEYS, _HEADERS, _PARTITION, _TIMES)


_REFERENCE = st.just([("content-type", b"text/uri-list")])
_FRAMES = _weighted(
    (_records(_VALUES), 20),
    (_records(_SIZES), 1),
    (st.builds(Put, _URIS, _KEYS, _REFERENCE, _PARTITION), 1),
    (st.builds(Put, st.none(), st.binary(min_size=1, max_size=9), _HEADERS, _PARTITION), 1),
)


def stream(count: int) -> list[Put]:
    """As many records as hypothesis makes of `count` examples, the same in each run."""
    records: list[Put] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_FRAMES)
    def collect(record: Put) -> None:
        records.append(record)

    collect()
    return records


async def survives(
    kafka: KafkaSettings, topics: TopicSet, worker: Worker, records: list[Put], timeout_s: float = 60
) -> Account:
    """Send the records; the worker lives, each has one outcome, each dead letter is as its record came."""
    await put(kafka, topics.frames, records)
    account = await settled(kafka, topics, len(records), timeout_s=timeout_s)
    account.check()
    sent: dict[int, list[Put]] = {partition: [] for partition in range(PARTITIONS)}
    for record in records:
        assert record.partition is not None
        sent[record.partition].append(record)
    for (partition, offset), letter in account.letters.items():
        _check_letter(letter, sent[partition][offset])
    counts = await worker.at_rest()
    assert (counts["dead_lettered"], counts["published"]) == (len(account.letters), len(account.events))
    assert counts["consumed"] == len(records)
    assert await worker.stop() == 0
    return account


def _check_letter(letter: Any, record: Put) -> None:
    headers = headers_of(letter)
    assert "dlq-value-omitted" not in headers
    assert letter.value == (record.value or b"")
    assert letter.key == record.key
    kept = [(name, value) for name, value in record.headers if not name.startswith("dlq-")]
    assert [(name, value) for name, value in letter.headers if not name.startswith("dlq-")] == kept
    assert headers["dlq-detail"]
