"""A frame that hangs for 20 s, as a reference to a host that does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.fixtures import StartWorker
from tests.harness.stuck import beside_a_stuck_frame

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


async def test_a_frame_stuck_for_twenty_seconds_costs_the_other_partitions_nothing(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, tmp_path: Path
) -> None:
    """Its partition fills its room and is paused; the p99 of the others stays within twice the usual."""
    figures = await beside_a_stuck_frame(kafka, topic_set, workers, tmp_path, seconds=20)
    print(figures)  # noqa: T201  # the figure
    figures.account.check()
    assert not figures.account.letters
    assert figures.account.events[figures.reference]["timing_ms"]["total"] > 19_000
    assert figures.stuck_p99 <= 2 * figures.usual_p99
