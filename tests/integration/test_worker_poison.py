"""Frequent poison and a real model that rejects the whole call: only the guilty pay, the others hardly.

Frames of 1080p, as cameras send them: the cost is in the decoding. Where a call costs much and a row next to
nothing, one bit of knowledge a call is all there is, and 5 % of poison costs more than half.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from riverlens_worker.endpoints import Endpoints
from riverlens_worker.model import ServedModel, discover
from riverlens_worker.settings import WorkerSettings
from tests.harness.images import noise_jpeg, poison_png
from tests.harness.predicting import predicting
from tests.model_servers import model_server

pytestmark = pytest.mark.alone

FRAMES = 240
ONE_IN = 20


@pytest.fixture(scope="module")
def server(colour_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A model server whose model decodes the images itself: one that it cannot fails its whole call."""
    log = tmp_path_factory.mktemp("poison") / "server.log"
    with model_server(log, "--model_name=colour", f"--model_base_path={colour_model}") as running:
        yield running.address


async def _frames_per_s(server: str, frames: list[bytes]) -> tuple[float, set[int]]:
    """Frames settled a second from the first to the last, after as many to warm up; those given up."""
    settings = WorkerSettings(server=server, model="colour", signature="encoded_image_string")

    async def find(endpoints: Endpoints) -> ServedModel:
        return await discover(endpoints, settings, lambda _: None)

    async with predicting(settings, find) as line:
        await line.send(frames)
        await line.until(lambda: len(line.answered) + len(line.dead) == len(frames), "the first round")
        started_s = time.monotonic()
        await line.send(frames)
        await line.until(lambda: len(line.answered) + len(line.dead) == 2 * len(frames), "the second round")
        seconds = time.monotonic() - started_s
    line.check()
    return len(frames) / seconds, set(line.dead)


async def test_one_bad_frame_in_twenty_costs_less_than_half(server: str) -> None:
    """With 5 % poison exactly the bad frames are given up, and throughput stays above half."""
    image = noise_jpeg(1, (1920, 1080))
    bad = set(random.Random(3).sample(range(FRAMES), FRAMES // ONE_IN))  # noqa: S311  # no secret
    # What else the machine does can only make it worse: the best of five counts.
    for _ in range(5):
        clean, none = await _frames_per_s(server, [image] * FRAMES)
        poisoned, found = await _frames_per_s(
            server, [poison_png() if n in bad else image for n in range(FRAMES)]
        )
        ratio = poisoned / clean
        said = f"{clean:.0f} frames/s clean, {poisoned:.0f} with 1 bad in {ONE_IN}: {ratio:.2f}"
        print(f"\n{said}")  # noqa: T201  # figures
        assert not none
        assert found == bad | {FRAMES + n for n in bad}
        if ratio > 0.5:
            break
    assert ratio > 0.5, said
