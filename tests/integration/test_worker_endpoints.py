"""Model servers that go away under a working worker: waited for, or done without."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens.kafka import KafkaSettings
from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.away import server_away
from tests.harness.feed import feed
from tests.harness.fixtures import StartWorker
from tests.harness.waiting import wait_for

AWAY_S = 6.0


async def test_a_model_server_away_costs_nothing(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """Killed under load and back after 6 s: no dead letter, flat memory, work goes on within seconds."""
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(topic_set, server=own.address)
        absence = await server_away(kafka, topic_set, worker, own, away_s=AWAY_S)
    # Other tests run beside this one, and the server's first run is slow; alone, in the long form, it is 2 s.
    absence.check(within_s=15)


@pytest.mark.chaos
async def test_one_of_two_model_servers_is_killed(
    *,
    kafka: KafkaSettings,
    topic_set: TopicSet,
    workers: StartWorker,
    colour_model: Path,
    tmp_path: Path,
    server: str,
) -> None:
    """The other one takes its work: /readyz stays as it is, and no frame is lost or dead-lettered."""
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(topic_set, server=f"{server},{own.address}")

        async def both() -> bool:
            samples = await worker.metrics()
            name = "riverlens_endpoint_frames_total{{endpoint={}}}"
            return all(samples.get(name.format(each), 0) > 50 for each in (server, own.address))

        async with feed(kafka, topic_set.frames, per_s=100) as running:
            await wait_for(both, what="both work")
            own.process.kill()
            after = running.sent + 200

            async def more() -> bool:
                assert (await worker.get("/readyz"))[0] == 200
                return running.sent > after

            await wait_for(more, what="two more seconds")
        account = await settled(kafka, topic_set, running.sent)
    account.check()
    assert not account.letters
