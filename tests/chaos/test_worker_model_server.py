"""A model server away for a minute under load."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens.kafka import KafkaSettings
from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.away import server_away
from tests.harness.fixtures import StartWorker

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

AWAY_S = 60.0


async def test_a_model_server_away_for_a_minute(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """Killed under load and back after 60 s: no dead letter, flat memory, work goes on within 2 s."""
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(topic_set, server=own.address)
        absence = await server_away(kafka, topic_set, worker, own, away_s=AWAY_S)
    absence.check()
