"""A new version of the model while frames flow: nobody downstream notices but by the version's number."""

from __future__ import annotations

import shutil
from pathlib import Path

from riverlens.kafka import KafkaSettings
from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.account import Account, settled
from tests.harness.feed import feed
from tests.harness.fixtures import StartWorker
from tests.harness.waiting import wait_for

PER_S = 200


async def test_versions_change_under_load_without_a_loss(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, colour_model: Path, tmp_path: Path
) -> None:
    """At 200 frames/s version 2 takes over: no error, no loss, first 1 then 2; a broken 3 is a log line."""
    base = tmp_path / "colour"
    shutil.copytree(colour_model / "1", base / "1")
    flags = ("--model_name=colour", f"--model_base_path={base}", "--max_num_load_retries=0")
    log = tmp_path / "own.log"
    with model_servers.model_server(log, *flags, "--file_system_poll_wait_seconds=1") as own:
        worker = await workers(topic_set, server=own.address)

        async def version(wanted: int) -> bool:
            return (await worker.metrics()).get("riverlens_model_version") == wanted

        async with feed(kafka, topic_set.frames, per_s=PER_S) as running:
            await wait_for(lambda: version(1), what="version 1")
            _appear(colour_model / "1", base / "2")
            await wait_for(lambda: version(2), what="version 2")
            _break(base, 3)

            async def told() -> bool:
                return "version 3" in log.read_text() and await version(2)

            await wait_for(told, what="the broken version")
            after = running.sent + PER_S

            async def flowed() -> bool:
                return running.sent >= after

            await wait_for(flowed, what="a second of frames")
        account = await settled(kafka, topic_set, running.sent)
        account.check()
        assert not account.letters
        _check_versions(account)
        metrics = await worker.metrics()
        failed = {name: value for name, value in metrics.items() if "predict_errors" in name and value}
        assert not failed


def _check_versions(account: Account) -> None:
    """In each partition's order: some events of version 1, then some of version 2, then no other."""
    for partition in {place[0] for place in account.events}:
        places = sorted(place for place in account.events if place[0] == partition)
        versions = [account.events[place]["model"]["version"] for place in places]
        assert versions == sorted(versions)
        assert set(versions) == {1, 2}


def _break(base: Path, version: int) -> None:
    """A version whose files are no model."""
    broken = base / ".broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"no model")
    broken.rename(base / str(version))


def _appear(source: Path, folder: Path) -> None:
    """A version appears whole: copied beside, then renamed."""
    beside = folder.with_name(f".{folder.name}")
    shutil.copytree(source, beside)
    beside.rename(folder)
