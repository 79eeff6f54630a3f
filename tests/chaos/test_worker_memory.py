"""Memory under frames that are small on Kafka and huge when decoded."""

from __future__ import annotations

import pytest

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.fixtures import StartWorker
from tests.harness.images import jpeg
from tests.harness.topics import Put, put

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

GIB = 2**30


async def test_huge_frames_are_decoded_a_few_at_a_time(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker
) -> None:
    """Twenty-eight frames of 90 MB of pixels each, at native size, never stand decoded side by side."""
    image = jpeg(size=(6_000, 5_000), quality=50)
    frames = [Put(image, b"cam-%d" % (n % 4), partition=n % 4) for n in range(28)]
    await put(kafka, topic_set.frames, frames)
    worker = await workers(topic_set, ready=False)
    account = await settled(kafka, topic_set, len(frames), timeout_s=120)
    account.check()
    assert not account.letters
    peak = worker.peak_rss_bytes() / GIB
    print(f"peak {peak:.2f} GiB")  # noqa: T201  # the figure
    assert peak < 1.8
