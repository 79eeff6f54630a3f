"""References through the whole line: fetched, refused, and stuck without harm to others."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.account import headers_of, settled
from tests.harness.fixtures import StartWorker
from tests.harness.image_server import image_server
from tests.harness.images import GREEN, jpeg
from tests.harness.stuck import STUCK, beside_a_stuck_frame
from tests.harness.topics import Put, put

# The first one serves endless and broken bodies from its own event loop.
pytestmark = pytest.mark.alone

LIST = [("content-type", b"text/uri-list")]


async def test_references_become_events_or_dead_letters_as_they_came(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, tmp_path: Path
) -> None:
    """Files and https under the prefixes give events in order; the rest dead letters that hold the URI."""
    (tmp_path / "green.jpg").write_bytes(jpeg(GREEN))
    (tmp_path / "text.jpg").write_bytes(b"no image")
    async with image_server(tmp_path, jpeg()) as server:
        worker = await workers(
            topic_set,
            reference_prefixes=f"file://{tmp_path},{server.origin}",
            reference_ca_file=server.ca_file,
            # What fails here fails for another reason; good ones may wait for what serves the endless bodies.
            reference_timeout_ms=60_000,
        )
        good = [f"file://{tmp_path}/green.jpg", f"# a camera\r\n{server.origin}/ok?signature=x\r\n"]
        bad = {
            f"file://{tmp_path}/none.jpg": "reference_failed",
            f"file://{tmp_path}/../secret": "reference_failed",
            "file:///etc/passwd": "reference_failed",
            f"{server.origin}/redirect": "reference_failed",
            f"{server.origin}/endless": "reference_failed",
            "https://elsewhere.example/": "reference_failed",
            f"file://{tmp_path}/text.jpg": "unsupported",
        }
        values = [text.encode() for _ in range(10) for text in (*good, *bad)]
        await put(kafka, topic_set.frames, [Put(value, b"cam", LIST, partition=1) for value in values])
        account = await settled(kafka, topic_set, len(values))
        account.check()
        assert len(account.events) == 20
        classes = {body["detections"][0]["class_id"] for body in account.events.values()}
        assert classes == {1, 2}
        for place, letter in account.letters.items():
            assert letter.value == values[place[1]]
            assert headers_of(letter)["dlq-reason"] == bad[letter.value.decode()]
            assert "signature" not in headers_of(letter)["dlq-detail"]
        counts = await worker.at_rest()
        assert (counts["published"], counts["dead_lettered"], counts["in_flight"]) == (20, 70, 0)
        assert (await worker.metrics())["riverlens_in_flight_bytes"] == 0
        assert await worker.stop() == 0


async def test_references_are_refused_by_default(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Nothing may be fetched until a person says from where; the detail names the setting."""
    await workers(topic_set)
    await put(kafka, topic_set.frames, [Put(b"file:///etc/hostname", b"cam", LIST), Put(jpeg(), b"cam")])
    account = await settled(kafka, topic_set, 2)
    (letter,) = account.letters.values()
    assert headers_of(letter)["dlq-reason"] == "reference_failed"
    assert "reference_prefixes" in headers_of(letter)["dlq-detail"]


async def test_a_frame_stuck_for_five_seconds_costs_the_other_partitions_nothing(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, tmp_path: Path
) -> None:
    """The p99 of the other partitions stays near the usual; the stuck one loses nothing."""
    figures = await beside_a_stuck_frame(kafka, topic_set, workers, tmp_path, seconds=5)
    print(figures)  # noqa: T201  # the figure
    figures.account.check()
    assert not figures.account.letters
    assert figures.reference[0] == STUCK
    assert figures.account.events[figures.reference]["timing_ms"]["total"] > 3_000
    # A machine may stand still for a second or two; whoever waits for the stuck frame does for nearly five.
    assert figures.stuck_p99 <= max(2 * figures.usual_p99, 2_500)
