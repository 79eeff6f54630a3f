"""A new version that is fed or read otherwise: never misread, one line says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from riverlens.kafka import KafkaSettings
from tests import layout_models as m
from tests import model_servers
from tests.conftest import TopicSet
from tests.harness.account import settled
from tests.harness.fixtures import StartWorker
from tests.harness.topics import Put, put
from tests.harness.waiting import wait_for
from tests.layout_models import Form
from tests.worker_parts import encode

FIRST = Form((None, 48, 64, 3), "float32", m.from_unit, m.as_object_detection, info={"range": [0, 1]})
OTHERS = {
    "range": Form(
        (None, 48, 64, 3), "float32", m.from_signed, m.as_object_detection, info={"range": [-1, 1]}
    ),
    "dtype": Form((None, 48, 64, 3), "uint8", m.from_bytes, m.as_object_detection),
    "size": Form((None, 32, 32, 3), "float32", m.from_unit, m.as_object_detection, info={"range": [0, 1]}),
}
COUNT = 60


def _appear(form: Form, folder: Path) -> None:
    """A version appears whole: written beside, then renamed."""
    beside = folder.with_name(f".{folder.name}")
    m.write(form, beside)
    beside.rename(folder)


def _image() -> bytes:
    """128 x 96 pixels, black, a red rectangle at (0.25, 0.375, 0.75, 0.5)."""
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[36:48, 32:96] = (204, 10, 10)
    return encode(pixels, "PNG")


@pytest.mark.parametrize("other", OTHERS)
async def test_a_version_of_another_layout_is_not_misread(
    kafka: KafkaSettings, topic_set: TopicSet, workers: StartWorker, tmp_path: Path, other: str
) -> None:
    """The worker ends with one line; started again it finds out anew: every frame has its right event."""
    base = tmp_path / "seen"
    m.write(FIRST, base / "1")
    flags = ("--model_name=seen", f"--model_base_path={base}", "--file_system_poll_wait_seconds=1")
    frames = [Put(_image(), partition=n % 4) for n in range(COUNT)]
    with model_servers.model_server(tmp_path / "own.log", *flags) as own:
        worker = await workers(topic_set, server=own.address, model="seen")
        await put(kafka, topic_set.frames, frames)
        await settled(kafka, topic_set, COUNT)
        _appear(OTHERS[other], base / "2")
        await wait_for(_served(own.log), what="version 2")
        await put(kafka, topic_set.frames, frames)

        async def ended() -> bool:
            return not worker.running()

        await wait_for(ended, what="the worker ends")
        last = worker.log().strip().splitlines()[-1]
        assert "start the worker again" in last, last
        await workers(topic_set, server=own.address, model="seen")
        account = await settled(kafka, topic_set, 2 * COUNT)
        account.check()
    assert not account.letters
    seen = {body["model"]["version"]: body for body in account.events.values()}
    assert set(seen) == {1, 2}
    for body in account.events.values():
        (found,) = body["detections"]
        assert found["score"] == pytest.approx(0.8, abs=0.02)


def _served(log: Path) -> Callable[[], Awaitable[bool]]:
    async def served() -> bool:
        return "loaded seen version 2" in await asyncio.to_thread(log.read_text)

    return served
