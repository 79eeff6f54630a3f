"""Asks the model. Shell: hands pieces of batches to the servers that have room, a task a call.

A batch is taken when a server can take it, so it grows until then. What a failed call means is decided in
`errors`, what becomes of its frames in `judge`; what is left of them goes first.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque

from riverlens_worker.batching import Limits
from riverlens_worker.channel import EndOfStream
from riverlens_worker.endpoints import Endpoint, Endpoints
from riverlens_worker.errors import BACKOFFS, Action, ModelError, Verdict
from riverlens_worker.expectation import Call
from riverlens_worker.freshness import Freshness
from riverlens_worker.grouping import best_rows
from riverlens_worker.limits import CallLimits
from riverlens_worker.messages import Batch, Prediction, Rejected
from riverlens_worker.metrics import Metrics
from riverlens_worker.model import ServedModel
from riverlens_worker.pieces import Piece, after_pass, of_batch, release_rest, sift, unless_empty
from riverlens_worker.predictor.call import Caller
from riverlens_worker.predictor.complaints import Complaints
from riverlens_worker.predictor.judge import Failed, Judge, Outcome
from riverlens_worker.predictor.ports import PredictorPorts
from riverlens_worker.predictor.turn import Turn

__all__ = ["Predictor", "PredictorPorts"]

logger = logging.getLogger(__name__)

_REGROUP_CALLS = 16


class Predictor:
    """Takes batches, calls the model, passes answers on. Ends when its input ends.

    Writer of: pieces that wait, calls under way, call limits, every endpoint's load.
    """

    def __init__(
        self, ports: PredictorPorts, endpoints: Endpoints, model: ServedModel, metrics: Metrics
    ) -> None:
        settings = model.settings
        self._ports = ports
        self._endpoints = endpoints
        self._metrics = metrics
        self._fixed_rows = model.layout.rows
        most = Limits(self._fixed_rows or settings.max_batch_size, settings.max_batch_bytes)
        self._limits = CallLimits(most)
        # What failed and waits is bounded by what could be under way: then no new batch is taken.
        self._most_held = most.rows * settings.max_in_flight_calls
        self._caller = Caller(model, metrics, ports.tracer)
        self._judge = Judge(self._caller, self._limits, self._fixed_rows)
        self._pieces: deque[Piece] = deque()
        self._pausing: dict[Piece, asyncio.TimerHandle] = {}
        self._calls = 0
        self._answered = 0
        self._complaints = Complaints(ports.waiting)
        self._taking: asyncio.Task[None] | None = None
        self._ended = False
        self._wake = asyncio.Event()
        self._turn = Turn(endpoints, self._wake, ports.full, ports.until_full)
        metrics.batch_limit.set(most.rows)

    def rows_per_s(self, rows: int) -> float | None:
        """What all servers can do together in calls of `rows` rows; None while unknown."""
        return self._endpoints.rows_per_s(rows)

    async def run(self) -> None:
        """Predict until the input ends and everything taken has its answer.

        Raises:
            ModelError: the model server refuses for good.
        """
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._endpoints.keep(self._ports.waiting))
            following = group.create_task(self._turn.follow())
            try:
                await self._dispatch(group)
            finally:
                keeping.cancel()
                following.cancel()
                self._turn.cancel()
                for timer in self._pausing.values():
                    timer.cancel()

    async def _dispatch(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._wake.clear()
            # A pause that ends between looking for room and waiting for its end must not be missed.
            looked_s = time.monotonic()
            while self._start_next(group):
                pass
            if self._ended and not (self._pieces or self._pausing or self._calls or self._taking):
                return
            if self._may_take():
                if self._take_now():
                    continue
                self._taking = group.create_task(self._take())
            elif self._pieces:
                self._turn.await_resume(looked_s)
            await self._wake.wait()

    def _may_take(self) -> bool:
        if self._ended or self._taking is not None or self._pieces:
            return False
        held = sum(piece.rows for piece in self._pausing)
        return held < self._most_held and self._turn.has_come()

    async def _take(self) -> None:
        try:
            batch = await self._ports.take()
        except EndOfStream:
            self._ended = True
        else:
            self._cut(batch)
        finally:
            self._taking = None
            self._wake.set()

    def _take_now(self) -> bool:
        """Take a batch that waits, if there is one: a task would do so some turns of the loop later."""
        batch = self._ports.take_now()
        if batch is not None:
            self._cut(batch)
            # What came meanwhile may fill the next one before anybody sees that this one has gone.
            asyncio.get_running_loop().call_soon(self._wake.set)
        return batch is not None

    def _cut(self, batch: Batch) -> None:
        rows = len(batch.frames)
        next_one = self._endpoints.choose(rows) if self._fixed_rows is None else None
        first = rows if next_one is None else next_one.load.first_rows(rows)
        self._pieces.extend(of_batch(batch, first, self._limits.current().rows))

    def _start_next(self, group: asyncio.TaskGroup) -> bool:
        """Start the first piece that a server has room for; whether there was one."""
        kept_free: set[str] = set()
        for piece in self._pieces:
            endpoint = self._room_for(piece, kept_free)
            if endpoint is None:
                continue
            self._pieces.remove(piece)
            full = piece.full or len(piece.frames) >= self._limits.current().rows
            call = endpoint.load.start(len(piece.frames), time.monotonic(), full=full, ready_s=piece.ready_s)
            endpoint.load.alone = piece.alone
            self._calls += 1
            group.create_task(self._run(piece, endpoint, call))
            return True
        return False

    def _room_for(self, piece: Piece, kept_free: set[str]) -> Endpoint | None:
        """A server for this piece; one that must be alone has a server kept free until it is."""
        among = [endpoint for endpoint in self._endpoints.up if endpoint.server not in kept_free]
        if not piece.alone:
            return self._endpoints.choose(len(piece.frames), avoid=piece.avoid, among=among)
        if not among:
            return None
        endpoint = min(among, key=lambda endpoint: len(endpoint.load.calls))
        kept_free.add(endpoint.server)
        return endpoint if not endpoint.load.calls and endpoint.load.has_room(time.monotonic()) else None

    async def _run(self, piece: Piece, endpoint: Endpoint, call: Call) -> None:
        try:
            await self._fence(piece)
            said = await self._caller.ask(piece, endpoint, call) if piece.frames else []
            # The server is free again before the answers are passed on.
            self._over(endpoint, call)
            if isinstance(said, Verdict):
                await self._failed(Failed(piece, endpoint, call, said))
            else:
                await self._passed(piece, said)
        finally:
            self._over(endpoint, call)
            self._calls -= 1
            self._wake.set()

    def _over(self, endpoint: Endpoint, call: Call) -> None:
        if call in endpoint.load.calls:
            endpoint.load.end(call)
            endpoint.load.alone = False
            self._endpoints.changed.fire()
            self._wake.set()

    async def _fence(self, piece: Piece) -> None:
        """Frames of partitions that moved on, and stale ones, go before they cost device time."""
        if gone := sift(piece, self._ports.freshness, time.monotonic()):
            await self._ports.results.send_many(gone)

    def sweep(self, freshness: Freshness, now_s: float) -> list[Rejected]:
        """Frames that have gone stale while no server took them; they wait no more."""
        gone = [r for p in (*self._pieces, *self._pausing) for r in sift(p, freshness, now_s)]
        if gone:
            self._pieces = deque(left for piece in self._pieces for left in unless_empty(piece))
            self._wake.set()
        return gone

    async def _passed(self, piece: Piece, answers: list[Prediction | Rejected]) -> None:
        if answers:
            self._complaints.passed()
            self._judge.guilt.add(len(answers))
            self._pieces.extendleft(reversed(after_pass(piece)))
            self._regroup(told=self._limits.passed(len(answers)))
            self._wake.set()
            await self._ports.results.send_many(answers)
        else:
            self._pieces.extendleft(reversed(release_rest(piece)))

    def _regroup(self, *, told: bool = False) -> None:
        """Where poison is frequent, calls are made as large as is cheapest."""
        self._answered += 1
        changed = told
        if self._answered % _REGROUP_CALLS == 0 and self._fixed_rows is None:
            costs = [cost for e in self._endpoints.up if (cost := e.load.fit.cost()) is not None]
            share, most = self._judge.guilt.share, self._limits.ungrouped_rows
            changed |= self._limits.group(best_rows(share, min(costs, default=None), most))
        if changed:
            self._tell_limits()

    def _tell_limits(self) -> None:
        limits = self._limits.current()
        self._metrics.batch_limit.set(limits.rows)
        self._ports.limit(limits)

    async def _failed(self, failed: Failed) -> None:
        piece, endpoint, verdict = failed.piece, failed.endpoint, failed.verdict
        piece.attempts += 1
        match verdict.action:
            case Action.STOP:
                self._stop(failed)
                outcome = Outcome([piece])
            case Action.AWAY:
                piece.avoid = endpoint.server
                if verdict.alert:
                    logger.error("model server %s: %s", endpoint.server, verdict.why)
                self._endpoints.eject(endpoint, f"{endpoint.server}: {verdict.why}")
                outcome = Outcome([piece])
            case Action.OVERLOAD:
                outcome = self._ease(failed)
            case Action.SPLIT:
                outcome = await self._judge.split(failed)
                self._tell_limits()
            case Action.BISECT:
                outcome = await self._judge.bisect(failed)
            case Action.RETRY:
                outcome = await self._retry(failed)
        await self._follow(failed, outcome)

    def _stop(self, failed: Failed) -> None:
        """No call can succeed here; where another server is up, only this one is left out."""
        endpoint, why = failed.endpoint, failed.verdict.why
        failed.piece.avoid = endpoint.server
        if not [other for other in self._endpoints.up if other is not endpoint]:
            anew = "if its model has changed, start the worker again"
            raise ModelError(f"the model server at {endpoint.server} refuses: {why}; {anew}")
        logger.error("the model server at %s refuses: %s", endpoint.server, why)
        self._endpoints.eject(endpoint, why)

    def _ease(self, failed: Failed) -> Outcome:
        endpoint, now_s = failed.endpoint, time.monotonic()
        chance = random.random()  # noqa: S311  # jitter, not a secret
        endpoint.load.overloaded(failed.call, now_s, BACKOFFS[Action.OVERLOAD], chance)
        failed.piece.avoid = endpoint.server
        self._complaints.failed(endpoint.server, failed.verdict.why)
        return Outcome([failed.piece])

    async def _retry(self, failed: Failed) -> Outcome:
        endpoint, verdict = failed.endpoint, failed.verdict
        if verdict.timed_out and endpoint.load.timed_out():
            self._endpoints.eject(endpoint, f"{endpoint.server}: {verdict.why}")
        self._complaints.failed(endpoint.server, verdict.why)
        return await self._judge.retry(failed)

    async def _follow(self, failed: Failed, outcome: Outcome) -> None:
        if outcome.pause:
            chance = random.random()  # noqa: S311  # jitter, not a secret
            pause_s = BACKOFFS[Action.RETRY].delay_s(failed.piece.attempts, chance)
            loop = asyncio.get_running_loop()
            for piece in outcome.pieces:
                self._pausing[piece] = loop.call_later(pause_s, self._again, piece)
        else:
            self._pieces.extendleft(reversed(outcome.pieces))
        self._wake.set()
        if outcome.given_up is not None:
            self._regroup()
            await self._ports.results.send_many([outcome.given_up])

    def _again(self, piece: Piece) -> None:
        del self._pausing[piece]
        self._pieces.appendleft(piece)
        self._wake.set()
