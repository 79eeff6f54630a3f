"""Freshness policies through a minute without the model server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.fixtures import StartWorker
from tests.harness.live import FRESHNESS, outage

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

AWAY_S = 60.0


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
async def test_after_a_minute_away_live_cameras_are_live_and_patient_ones_have_all(
    delivery: str, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """`latest_only`: the first event is of a frame under 1 s old; `every_frame`: all, in order."""
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(topic_set, server=own.address, freshness=FRESHNESS, delivery=delivery)
        story = await outage(topic_set.settings.kafka, topic_set, worker, own, away_s=AWAY_S)
    story.check(live_ms=1_000)
    assert not story.account.drops, "published only where asked"
