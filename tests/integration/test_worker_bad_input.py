"""Whatever lies on the frames topic: one dead letter each, or a good event; the stream goes on."""

from __future__ import annotations

from typing import Any

from riverlens.kafka import KafkaSettings
from tests.conftest import MakeTopics
from tests.harness.account import Account, headers_of, settled
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg, png, twelve_bit_jpeg
from tests.harness.topics import Put, put, put_null, watcher
from tests.harness.waiting import wait_for

MIB = 1024 * 1024
GOOD = "an event"
PARTITION = 1
HEADERS = [("content-type", b"image/jpeg"), ("x-own", b"\x00\xff"), ("x-own", b"again")]

CASES: dict[str, tuple[Put, str]] = {
    "null value": (Put(None), "undecodable"),
    "empty value": (Put(b""), "undecodable"),
    "text file": (Put(b"Dear reader,\n", headers=[("content-type", b"image/jpeg")]), "unsupported"),
    "truncated JPEG": (Put(jpeg(size=(320, 240))[:-300]), "undecodable"),
    "65536 x 65536 PNG": (Put(png(65536, 65536, b"")), "too_large"),
    "12-bit JPEG": (Put(twelve_bit_jpeg()), "undecodable"),
    "9 MB value": (Put(jpeg() + bytes(9_000_000)), "too_large"),
    "14 MB value": (Put(jpeg() + bytes(14_000_000)), "too_large"),
    "many headers": (Put(b"", headers=HEADERS), "undecodable"),
    "wrong content-type": (Put(jpeg(), headers=[("content-type", b"text/plain")]), GOOD),
    "missing key": (Put(jpeg(), key=None), GOOD),
    "missing key, camera-id": (Put(jpeg(), key=None, headers=[("camera-id", b"yard")]), GOOD),
    "empty key": (Put(jpeg(), key=b""), GOOD),
    "bad captured-at": (Put(jpeg(), headers=[("captured-at", b"yesterday")]), GOOD),
    "captured-at in the year 9999": (Put(jpeg(), headers=[("captured-at", b"9999-12-31T23:59:59Z")]), GOOD),
    "captured-at before 1970": (Put(jpeg(), headers=[("captured-at", b"1901-01-01T00:00:00Z")]), GOOD),
    "header values not UTF-8": (
        Put(jpeg(), headers=[(n, b"\xff\xfe") for n in ("frame-id", "sequence", "traceparent")]),
        GOOD,
    ),
    "key not UTF-8": (Put(jpeg(), key=b"\xff\xfecam"), GOOD),
    "no timestamp of this age": (Put(jpeg(), timestamp_ms=1), GOOD),
}


def _at_one_partition(record: Put) -> Put:
    return Put(record.value, record.key, record.headers, PARTITION, record.timestamp_ms)


async def test_each_bad_frame_costs_one_dead_letter(
    kafka: KafkaSettings, make_topics: MakeTopics, workers: StartWorker
) -> None:
    """Bad records become dead letters as they came, harmless oddities good events, and good frames go on."""
    topics = await make_topics(max_frame_bytes=16 * MIB)
    worker = await workers(topics)
    await put(kafka, topics.frames, [_at_one_partition(record) for record, _ in CASES.values()])
    await put_null(kafka, topics.frames, PARTITION)
    await put(kafka, topics.frames, [Put(jpeg(), partition=p) for p in range(4) for _ in range(20)])
    account = await settled(kafka, topics, len(CASES) + 1 + 80)
    account.check()
    for offset, (name, (record, expected)) in enumerate(CASES.items()):
        _check_case(account, (PARTITION, offset), name, record, expected)
    null = account.letters[PARTITION, len(CASES)]
    assert (null.key, null.value) == (None, b"")
    assert headers_of(null)["dlq-null-value"] == "true"
    counts = await worker.at_rest()
    assert counts["dead_lettered"] == len(account.letters)
    assert counts["published"] == len(account.events)
    assert await worker.stop() == 0


def _check_case(account: Account, place: tuple[int, int], name: str, record: Put, expected: str) -> None:
    if expected == GOOD:
        assert place in account.events, f"{name}: {account.reasons().get(place)}"
        _check_good(account, place, name)
        return
    assert account.reasons().get(place) == expected, name
    letter = account.letters[place]
    _check_letter_as_it_came(letter, record, name)


def _check_good(account: Account, place: tuple[int, int], name: str) -> None:
    body = account.events[place]
    cameras = {
        "missing key": f"partition-{PARTITION}",
        "empty key": f"partition-{PARTITION}",
        "missing key, camera-id": "yard",
        "key not UTF-8": "\\xff\\xfecam",
    }
    assert body["camera_id"] == cameras.get(name, "lobby")
    assert body["detections"][0]["class_id"] == 1
    assert all(value >= 0 for value in body["timing_ms"].values()), name


def _check_letter_as_it_came(letter: Any, record: Put, name: str) -> None:
    assert letter.key == record.key
    own = [(header, value) for header, value in letter.headers if not header.startswith("dlq-")]
    assert own == list(record.headers), name
    headers = headers_of(letter)
    if name == "14 MB value":
        # More than any client of ours sends: it says so instead.
        assert (letter.value, headers["dlq-value-omitted"]) == (b"", "true")
    else:
        assert letter.value == (record.value or b""), name
    assert ("dlq-null-value" in headers) == (record.value is None)
    assert headers["dlq-detail"]


async def test_memory_stays_flat_over_bad_frames(
    kafka: KafkaSettings, make_topics: MakeTopics, workers: StartWorker
) -> None:
    """Two thousand more bad frames leave the worker no larger than the first round, with huge ones, did."""
    topics = await make_topics(max_frame_bytes=16 * MIB)
    worker = await workers(topics)
    bad = [record for record, expected in CASES.values() if expected != GOOD]
    small = [record for record in bad if len(record.value or b"") < MIB] * 150
    count, sizes = 0, []
    async with watcher(kafka, topics.group) as watch:
        for batch in (bad * 3 + small, small, small):
            await put(kafka, topics.frames, batch)
            count += len(batch)

            async def done(count: int = count) -> bool:
                return await watch.count(topics.dlq) >= count

            await wait_for(done, what="all dead letters")
            sizes.append(worker.rss_bytes() / MIB)
    assert max(sizes) < 250, f"{sizes} MiB"
    assert sizes[-1] < sizes[0] + 10, f"{sizes} MiB"
