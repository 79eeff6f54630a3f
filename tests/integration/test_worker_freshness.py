"""Freshness policies on a real line: an outage of the model server, live cameras all along."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.fixtures import StartWorker
from tests.harness.live import FRESHNESS, outage

AWAY_S = 1.0


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
async def test_live_cameras_are_live_at_once_and_patient_ones_lose_nothing(
    delivery: str, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """After an outage each camera has what its policy says; each frame one outcome, told in its order."""
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(
            topic_set, server=own.address, freshness=FRESHNESS, publish_drops=True, delivery=delivery
        )
        story = await outage(topic_set.settings.kafka, topic_set, worker, own, away_s=AWAY_S)
    story.check()
    assert story.account.drops
    story.account.check()
