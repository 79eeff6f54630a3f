"""The worker watching itself: what it says of a standstill, and of one partition."""

from __future__ import annotations

import signal
from pathlib import Path

from riverlens.kafka import KafkaSettings
from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.fixtures import StartWorker
from tests.harness.image_server import image_server
from tests.harness.images import jpeg
from tests.harness.topics import Put, put
from tests.harness.waiting import wait_for


async def test_a_hanging_model_server_is_told_and_taken_back(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """SIGSTOP: /readyz turns 503 and names the calls without an answer; SIGCONT: ready, nothing lost."""
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(topic_set, server=own.address, watchdog_timeout_ms=1000)
        own.process.send_signal(signal.SIGSTOP)
        try:
            await put(kafka, topic_set.frames, [Put(jpeg(), partition=n % 4) for n in range(100)])

            async def told() -> str:
                status, text = await worker.get("/readyz")
                return text if status == 503 and "have no answer" in text else ""

            text = await wait_for(told, what="/readyz says that work stands still")
            assert text.startswith("nothing settled for ")
            assert "the predictor waits for the model server: " in text
            stalled = await worker.metrics()
            assert stalled["riverlens_partition_stalled_seconds{partition=0}"] > 0
        finally:
            own.process.send_signal(signal.SIGCONT)
        (await settled(kafka, topic_set, 100)).check()
        await worker.ready()
        assert (await worker.metrics())["riverlens_balance_difference"] == 0
        assert await worker.stop() == 0
    assert "work stands still: nothing settled" in worker.log()
    assert "work goes on" in worker.log()


async def test_one_stuck_partition_is_named_and_the_worker_stays_ready(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, tmp_path: Path
) -> None:
    """A reference that hangs: its partition's gauge runs, the log names it; /readyz stays 200."""
    async with image_server(tmp_path, jpeg()) as images:
        worker = await workers(
            topic_set,
            # So much longer than a put that a slow machine is no standstill.
            watchdog_timeout_ms=10_000,
            reference_prefixes=f"{images.origin}/",
            reference_ca_file=images.ca_file,
            reference_timeout_ms=60_000,
        )
        uri = [("content-type", b"text/uri-list")]
        await put(
            kafka, topic_set.frames, [Put(f"{images.origin}/stuck\n".encode(), b"cam", uri, partition=2)]
        )
        count = 1

        async def named() -> bool:
            nonlocal count
            await put(kafka, topic_set.frames, [Put(jpeg(), partition=1)])
            count += 1
            assert (await worker.get("/readyz"))[0] == 200
            return "partition 2 stands still for" in worker.log()

        await wait_for(named, what="the log names the partition")
        samples = await worker.metrics()
        assert samples["riverlens_partition_stalled_seconds{partition=2}"] >= 1
        assert samples["riverlens_partition_stalled_seconds{partition=0}"] == 0
        images.release.set()
        (await settled(kafka, topic_set, count)).check()

        async def freed() -> bool:
            return "partition 2 goes on" in worker.log()

        await wait_for(freed, what="the log says that it goes on")
