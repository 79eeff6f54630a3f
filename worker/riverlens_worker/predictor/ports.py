"""What joins the predictor to its neighbours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from riverlens_worker.batching import Limits
from riverlens_worker.channel import Channel
from riverlens_worker.freshness import Freshness
from riverlens_worker.messages import Batch, Prediction, Rejected
from riverlens_worker.tracing import Tracer


@dataclass(frozen=True, slots=True)
class PredictorPorts:
    """Where batches come from, results go to, who hears how much a call may hold, and why nothing moves.

    Attributes:
        take: the next batch, as soon as there is one. Raises EndOfStream after the last.
        take_now: the next batch; None where `take` would wait or end.
        full: whether a batch waits that cannot grow any more.
        until_full: returns once `full` is what is given.
        freshness: the cameras' policies; None where every frame counts.
        tracer: hears of calls; None where tracing is off.
    """

    take: Callable[[], Awaitable[Batch]]
    take_now: Callable[[], Batch | None]
    full: Callable[[], bool]
    until_full: Callable[[bool], Awaitable[None]]
    results: Channel[Prediction | Rejected]
    limit: Callable[[Limits], None]
    waiting: Callable[[str], None]
    freshness: Freshness | None = None
    tracer: Tracer | None = None
