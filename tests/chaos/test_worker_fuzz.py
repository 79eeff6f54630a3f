"""The long fuzz: images by the hundred thousand, and a long stream with unreadable records in it."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from riverlens.kafka import KafkaSettings
from riverlens_worker.decoding import UndecodableError, to_row
from tests.conftest import TopicSet
from tests.harness.fixtures import StartWorker
from tests.harness.fuzz import stream, survives
from tests.mutations import mutated, seeds
from tests.worker_parts import TARGETS

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

IMAGES = 100_000


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's remarks on odd files
def test_a_hundred_thousand_mutated_images_are_rows_or_reasons() -> None:
    """No other exception, and none takes two seconds of CPU."""
    chance = random.Random(20)  # noqa: S311  # a game with seeds
    targets, outcomes = list(TARGETS.values()), Counter[str]()
    slowest_s = 0.0
    for _ in range(IMAGES):
        image, target = mutated(chance.choice(seeds()), chance), chance.choice(targets)
        started_s = time.process_time()
        try:
            to_row(image, None, target)
            outcomes["row"] += 1
        except UndecodableError as error:
            outcomes[error.reason.value] += 1
        except Exception as error:
            error.add_note(f"{target} of bytes.fromhex({image.hex()!r})")
            raise
        slowest_s = max(slowest_s, time.process_time() - started_s)
    print(f"{IMAGES} images: {dict(outcomes)}, slowest {slowest_s * 1000:.0f} ms")  # noqa: T201  # the figures
    assert slowest_s < 2


@pytest.mark.parametrize("signature", ["serving_default", "encoded_image_string"])
async def test_a_long_fuzzed_stream(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, signature: str
) -> None:
    """Five thousand frames fuzzed at every level: the worker lives, the books balance."""
    worker = await workers(topic_set, signature=signature, reference_prefixes="https://127.0.0.1:1")
    records = stream(5_000)
    account = await survives(kafka, topic_set, worker, records, timeout_s=400)
    reasons = Counter(account.reasons().values())
    print(f"{len(records)} frames: {len(account.events)} events, dead letters {dict(reasons)}")  # noqa: T201  # the figures
