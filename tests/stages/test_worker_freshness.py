"""Freshness in the stages: what is stale is neither decoded nor sent, nor kept while nothing moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from riverlens_worker.admission import Admitted
from riverlens_worker.channel import Channel, EndOfStream
from riverlens_worker.decode_pool import DecodePool, DecodePoolPorts
from riverlens_worker.freshness import Freshness, parse_rules
from riverlens_worker.messages import DecodedFrame, LeasedFrame, Prediction, Rejected
from riverlens_worker.metrics import Metrics
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.sweeper import Sweeper
from tests.harness.predicting import predicting
from tests.harness.scripted_server import Refusal, ScriptedServer
from tests.live_frames import live, row
from tests.worker_parts import FIXED, encode, scene

JPEG = encode(scene(), "JPEG")


def _frame(camera: str, ordinal: int, age_s: float = 0.0, lease: PartitionLease | None = None) -> LeasedFrame:
    now_s = time.monotonic()
    return live(camera, captured_s=now_s - age_s, arrived_s=now_s, ordinal=ordinal, lease=lease, image=JPEG)


async def test_frames_that_grew_stale_on_the_way_are_not_decoded() -> None:
    """A reference may take seconds to fetch: age is asked again before an image is decoded."""
    frames = [_frame("live-1", 0, age_s=5), _frame("every-1", 1, age_s=5), _frame("live-2", 2)]
    batches: list[list[Admitted]] = [[*frames]]

    async def take(_: int) -> list[Admitted]:
        if not batches:
            raise EndOfStream
        return batches.pop()

    decoded: Channel[DecodedFrame] = Channel(10)
    results: Channel[Prediction | Rejected] = Channel(10)
    freshness = Freshness(parse_rules(["live-*=latest_only"]))
    pool = DecodePool(
        DecodePoolPorts(take, decoded, results, freshness), FIXED, 1, Metrics(CollectorRegistry())
    )
    await pool.run()
    assert [row.source.offset for row in await decoded.receive_many(9)] == [1, 2]
    (gone,) = await results.receive_many(9)
    assert isinstance(gone, Rejected)
    assert (gone.source.offset, gone.outcome, gone.reason) == (0, "dropped", "stale")
    assert pool.held == 0


async def test_no_frame_is_taken_before_there_is_room_for_its_row() -> None:
    """What waits in admission can still be superseded; what the pool has taken cannot."""
    asked: list[int] = []

    async def take(limit: int) -> list[Admitted]:
        asked.append(limit)
        if len(asked) > 3:
            raise EndOfStream
        return [_frame("live-1", len(asked))]

    decoded: Channel[DecodedFrame] = Channel(1)
    freshness = Freshness(parse_rules(["live-*=latest_only"]))
    pool = DecodePool(
        DecodePoolPorts(take, decoded, Channel(10), freshness), FIXED, 1, Metrics(CollectorRegistry())
    )
    running = asyncio.create_task(pool.run())
    for _ in range(3):
        (only,) = await decoded.receive_many(9)
        assert len(asked) == only.source.offset, "took one more while its row had no room"
    await running


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A scripted server, stopped at the end."""
    scripted = ScriptedServer()
    await scripted.start()
    yield scripted
    await scripted.stop()


def _rows(cameras: Sequence[str], first: int, age_s: float = 0.0) -> list[DecodedFrame]:
    return [row(_frame(camera, first + n, age_s), ready_s=float(n)) for n, camera in enumerate(cameras)]


async def test_what_a_failed_call_left_behind_is_not_asked_again_once_stale(server: ScriptedServer) -> None:
    """Frames of a call that broke off are tried again only while they are fresh; patient ones always."""
    settings = WorkerSettings(server=server.address, freshness=("live=max_age:5s",))
    away = asyncio.Event()

    async def broken(_: list[bytes]) -> Refusal | None:
        await away.wait()
        return "UNAVAILABLE", "going away"

    server.behave = broken
    async with predicting(settings) as line:
        await line.rows.send_many(_rows(["live", "every", "live"], 0))
        line.sent = 3
        await line.until(lambda: bool(server.calls), "the call is under way")
        server.states = []
        away.set()
        await line.until(lambda: bool(line.why), "the server is away")
        sweep = partial(line.predictor.sweep, settings.policies)
        Sweeper([sweep], line.results.put_many).once(time.monotonic() + 6.0)
        await line.until(lambda: len(line.dropped) == 2, "stale frames are dropped while nobody answers")
        server.states, server.behave = [30], ScriptedServer().behave
        await line.until(lambda: bool(line.answered), "the patient one is answered")
    line.check()
    assert line.dropped == {0: "stale", 2: "stale"}
    assert server.calls == [3, 1]


async def test_a_stale_row_is_dropped_when_its_batch_is_sealed(server: ScriptedServer) -> None:
    """It costs no device time, and its place in the batch goes to another."""
    settings = WorkerSettings(server=server.address, freshness=("live=latest_only",))
    async with predicting(settings) as line:
        await line.rows.send_many(_rows(["live", "every", "live"], 0, age_s=3))
        line.sent = 3
        await line.until(lambda: len(line.dropped) == 2, "stale rows are dropped")
    line.check()
    assert (line.answered, server.calls) == ([1], [1])
