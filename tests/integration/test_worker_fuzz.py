"""A fuzzed frame stream through a real worker, short; `make chaos` runs the long one."""

from __future__ import annotations

from collections import Counter

import pytest

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.fixtures import StartWorker
from tests.harness.fuzz import stream, survives


@pytest.mark.parametrize("signature", ["serving_default", "encoded_image_string"])
async def test_a_fuzzed_stream_leaves_the_worker_alive_and_the_books_balanced(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, signature: str
) -> None:
    """Keys, headers, times, sizes and bytes at random: an event or a dead letter as it came, each once."""
    worker = await workers(topic_set, signature=signature, reference_prefixes="https://127.0.0.1:1")
    records = stream(300)
    account = await survives(kafka, topic_set, worker, records)
    reasons = Counter(account.reasons().values())
    print(f"{len(records)} frames: {len(account.events)} events, dead letters {dict(reasons)}")  # noqa: T201  # the figures
    assert len(account.events) > 30
    assert {"undecodable", "unsupported", "too_large", "reference_failed"} <= set(reasons)
