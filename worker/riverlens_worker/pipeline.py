"""Joins the stages, and owns the worker's life. The only module that knows more than one stage.

    Source -> References -> DecodePool -> Batcher -> Predictor -> Publisher
       ^                                                              |
       +-------------------------- Settled ---------------------------+

Start: Kafka and the model server are asked at the same time; frames are read only once a test image was
answered. Soft stop: reading ends, the end travels right, what is under way is published and committed.
Hard stop (second signal, or the drain deadline): all is cancelled, the low watermark is committed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from riverlens_worker.backoff import Deadline
from riverlens_worker.batcher import Batcher
from riverlens_worker.batching import LatencyTarget, Limits
from riverlens_worker.channel import Channel
from riverlens_worker.decode_pool import DecodePool, DecodePoolPorts
from riverlens_worker.endpoint_load import next_due_in_s, slowest_cost
from riverlens_worker.endpoints import Endpoints
from riverlens_worker.fetch_pace import Demand
from riverlens_worker.freshness import Freshness
from riverlens_worker.loop_lag import LoopLag
from riverlens_worker.messages import DecodedFrame, Prediction, Rejected
from riverlens_worker.metrics import Lifecycle, Metrics, value_of
from riverlens_worker.model import ServedModel, discover
from riverlens_worker.predictor import Predictor, PredictorPorts
from riverlens_worker.publisher import Publisher, PublisherPorts
from riverlens_worker.references import ReferencePorts, References
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.source import Source
from riverlens_worker.sparing import Sparing
from riverlens_worker.sweeper import Sweeper
from riverlens_worker.tracing import Tracer
from riverlens_worker.watchdog import Reading
from riverlens_worker.watching import Watching, partition_readings, unread_frames

logger = logging.getLogger(__name__)

_RATE_OVER_S = 2.0
_STOP_S = 3.0
_GRACE_S = 2.0


@dataclass(slots=True)
class _Stages:
    """Everything that exists once the model is known."""

    decode_pool: DecodePool
    batcher: Batcher
    predictor: Predictor


class Pipeline:
    """One worker: make it inside the event loop, `run` it once, `stop` it from a signal handler."""

    def __init__(self, settings: WorkerSettings, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._tracer = tracer
        self._results: Channel[Prediction | Rejected] = Channel(4 * settings.max_batch_size)
        # Rows pass through here to the batcher, which shares them out: what waits here goes as it came.
        most = Limits(settings.max_batch_size, settings.max_batch_bytes)
        self._decoded: Channel[DecodedFrame] = Channel(most.nbytes // 4, most.share)
        policies = settings.policies
        # Where every frame counts nobody asks, and nothing is swept.
        self._freshness = policies if policies.asks else None
        self._source = Source(settings, metrics, time.monotonic(), self._freshness, self._results.put_many)
        self._references = References(
            ReferencePorts(self._source.take, self._source.changed, self._source.hold), settings, metrics
        )
        self._endpoints = Endpoints(settings, metrics)
        source = self._source
        asked = source.may_publish, source.is_member, source.committed
        ports = PublisherPorts(self._results, source.settle, *asked, source.sealed, tracer)
        self._publisher = Publisher(ports, settings, metrics)
        self._watching: Watching | None = None
        self._not_ready = "starting"
        self._running = False
        self._closed = False
        self._stopping = asyncio.Event()
        self._killed = asyncio.Event()
        self._set_state(Lifecycle.STARTING)

    def not_ready(self) -> str:
        """Why the worker is not ready, in words; "" where it is."""
        return self._not_ready or (self._watching.stalled if self._watching else "")

    def stop(self) -> None:
        """First call: soft stop. Second: hard stop. Never waits."""
        (self._killed if self._stopping.is_set() else self._stopping).set()

    async def run(self) -> None:
        """Run until stopped.

        Raises:
            RiverlensError: Kafka, the model server or a setting makes it impossible.
        """
        try:
            await self._until_stopped()
        except BaseException as error:
            self._set_state(Lifecycle.FAILED)
            self._not_ready = f"failed: {error}"
            raise
        finally:
            await self.close()
        self._set_state(Lifecycle.STOPPED)

    async def _until_stopped(self) -> None:
        work = asyncio.create_task(self._work(), name="work")
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
            else:
                await self._drain(work)
        finally:
            stop.cancel()
            work.cancel()
            # Its error, if any, was raised above; here only its end matters.
            await asyncio.gather(work, stop, return_exceptions=True)

    async def _drain(self, work: asyncio.Task[None]) -> None:
        """Soft stop with a deadline; then, or at the second signal, cancel."""
        self._set_state(Lifecycle.DRAINING)
        self._not_ready = "stopping"
        logger.info("stopping: finishing what is under way")
        self._source.end()
        if not self._running:
            work.cancel()
        kill = asyncio.create_task(self._killed.wait())
        timeout_s = self._settings.drain_timeout_ms / 1000
        await asyncio.wait({work, kill}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        kill.cancel()
        if not work.done():
            logger.warning("stopping: out of time, what is under way will be read again")
            work.cancel()
        try:
            await work
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            # Ours: a hard stop. `work` is done, the caller goes on to the last commit.
        raise_if_failed(work)

    async def _work(self) -> None:
        model = await self._start()
        stages = self._assemble(model)
        self._publisher.name_signature(model.layout.signature)
        self._set_state(Lifecycle.RUNNING)
        self._running = True
        watching = self._watching = self._watchdog(stages)
        self._not_ready = ""
        async with asyncio.TaskGroup() as group:
            parts = [self._source.run(), self._watch(stages), watching.run(), LoopLag(self._metrics).run()]
            if self._freshness is not None:
                parts.append(self._sweeper(stages, self._freshness).run())
            side = [group.create_task(part) for part in parts]
            publishing = group.create_task(self._publisher.run())
            async with asyncio.TaskGroup() as front:
                front.create_task(self._references.run())
                front.create_task(stages.decode_pool.run())
                front.create_task(stages.batcher.run())
                front.create_task(stages.predictor.run())
            self._results.close()
            await publishing
            for task in side:
                task.cancel()

    async def _start(self) -> ServedModel:
        """Ask Kafka and the model server at once; join the group only when the model has answered."""
        kafka = asyncio.create_task(self._publisher.start())
        model = asyncio.create_task(discover(self._endpoints, self._settings, self._waiting))
        try:
            await asyncio.wait({kafka, model}, return_when=asyncio.FIRST_EXCEPTION)
            # Kafka's client leaves connections open where its start is cancelled half-way.
            await asyncio.wait({kafka}, timeout=_GRACE_S)
        finally:
            ended = [task for task in (kafka, model) if not task.done() and task.cancel()]
            await asyncio.gather(*ended, return_exceptions=True)
        raise_if_failed(kafka)
        raise_if_failed(model)
        # Not beside it: a join that is cancelled because the model is refused leaves connections open.
        await self._source.start(self._publisher)
        return model.result()

    def _assemble(self, model: ServedModel) -> _Stages:
        settings, metrics = self._settings, self._metrics
        # A model that fixes its rows gets calls of just so many: more in one would run one after the other.
        limits = Limits(model.layout.rows or settings.max_batch_size, settings.max_batch_bytes)
        freshness = self._freshness
        decoding = DecodePoolPorts(self._references.take, self._decoded, self._results, freshness)
        decode_pool = DecodePool(decoding, model.target, settings.decode_threads, metrics)
        sparing = Sparing(partial(self._source.beside_backlog, limits.rows), lambda: self._endpoints.loads)
        batcher = Batcher(
            self._decoded,
            limits,
            metrics,
            freshness,
            self._results.put_many,
            target=LatencyTarget(settings.latency_target_ms, lambda: slowest_cost(self._endpoints.loads)),
            # Where calls have a fixed size, smaller ones are filled up to it.
            spared=sparing.rows if model.layout.rows is None else None,
            coming=partial(self._coming, decode_pool),
            sealed=self._source.sealed,
        )
        asked = batcher.take, batcher.take_now, batcher.full, batcher.until_full
        heard = batcher.limit, self._waiting, freshness, self._tracer
        ports = PredictorPorts(*asked, self._results, *heard)
        predictor = Predictor(ports, self._endpoints, model, metrics)
        stages = _Stages(decode_pool, batcher, predictor)
        ahead = batcher.limit_rows + decode_pool.at_once + self._references.at_once
        self._source.serve(lambda: self._demand(stages), self._endpoints.changed, ahead)
        return stages

    def _sweeper(self, stages: _Stages, freshness: Freshness) -> Sweeper:
        decoding, calling = (
            partial(stage.sweep, freshness) for stage in (stages.decode_pool, stages.predictor)
        )
        return Sweeper((self._source.sweep, decoding, stages.batcher.sweep, calling), self._results.put_many)

    def _coming(self, decode_pool: DecodePool) -> int:
        """Frames that are being decoded, or may be."""
        return self._source.takeable + decode_pool.held + len(self._decoded)

    def _demand(self, stages: _Stages) -> Demand:
        batcher, pool = stages.batcher, stages.decode_pool
        missing = batcher.limit_rows - batcher.waiting - len(self._decoded) - pool.held - self._source.waiting
        due_in_s = next_due_in_s(self._endpoints.loads, time.monotonic(), full=batcher.full())
        return Demand(due_in_s, missing, batcher.decode_s * pool.rows_a_thread(missing))

    def _waiting(self, why: str) -> None:
        """The model server keeps us waiting, or ("") does no more. Shown by /readyz."""
        if not self._stopping.is_set():
            self._not_ready = f"waiting for the model server: {why}" if why else ""

    async def _watch(self, stages: _Stages) -> None:
        """Keep the load ratio: arrivals on Kafka, read or not, against the rate of full batches."""
        before, before_s = self._metrics.arrived(), time.monotonic()
        while True:
            await asyncio.sleep(_RATE_OVER_S)
            now, now_s = self._metrics.arrived(), time.monotonic()
            ceiling = stages.predictor.rows_per_s(stages.batcher.limit_rows)
            if ceiling:
                # A partition that moved on takes its lag along: that is no arrival less than none.
                self._metrics.load_ratio.set(max(0.0, now - before) / (now_s - before_s) / ceiling)
            before, before_s = now, now_s

    def _watchdog(self, stages: _Stages) -> Watching:
        metrics, leases = self._metrics, self._source.leases

        def look(now_s: float) -> Reading:
            in_flight = int(value_of(metrics.in_flight_frames))
            reading = Reading(
                now_s=now_s,
                settled=value_of(metrics.consumed) - in_flight,
                unread=unread_frames(leases, metrics),
                source=self._source.waiting,
                references=self._references.held,
                decode=stages.decode_pool.held,
                batcher=len(self._decoded) + stages.batcher.waiting,
                publisher=len(self._results) + self._publisher.in_hand,
                unacknowledged=self._publisher.unacknowledged,
                early=self._publisher.early,
                calls=int(value_of(metrics.calls_in_flight)),
                excused=bool(self._not_ready),
                partitions=partition_readings(leases, metrics),
            )
            # What no other stage holds is on its way through the predictor.
            return replace(reading, predictor=max(0, in_flight - reading.in_flight))

        return Watching(look, self._settings.watchdog_timeout_ms / 1000, metrics)

    async def close(self) -> None:
        """Commit and disconnect; harmless where it never ran, or a second time."""
        if self._closed:
            return
        self._closed = True
        deadline = Deadline.after(_STOP_S, time.monotonic())
        await self._source.close(deadline)
        await self._publisher.close(max(0.5, deadline.remaining_s(time.monotonic())))
        await self._endpoints.close()

    def _set_state(self, state: Lifecycle) -> None:
        self._metrics.state.set(state.value)


def raise_if_failed(task: asyncio.Task[Any]) -> None:
    """Raise what a finished task failed with; a cancelled one failed with nothing."""
    if not task.cancelled() and task.exception() is not None:
        task.result()
