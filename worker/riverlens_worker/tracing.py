"""Tells a worker's spans to whom takes them. Shell around `spans`; made only where tracing is on."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable, Sequence

from riverlens.trace_span import Value
from riverlens.tracing import SpanExport
from riverlens_worker.errors import Verdict
from riverlens_worker.messages import DecodedFrame, Outcome, Prediction, Rejected, frame_of
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.spans import (
    CallTrace,
    Clock,
    Names,
    Sampling,
    Traced,
    call_span,
    call_trace,
    frame_spans,
    frame_trace,
    passed_span,
)


class Tracer:
    """Asked by the publisher of each frame, by the predictor of each call; keeps nothing."""

    def __init__(self, settings: WorkerSettings, export: SpanExport) -> None:
        self._export = export
        self._sampling = Sampling(settings.tracing_ratio, secrets.token_hex(8))
        self._names = Names(settings.group_id, settings.events_topic, settings.dlq_topic)
        self._calls = itertools.count()

    def record_made(self, result: Prediction | Rejected) -> Traced | None:
        """A record was made of the frame; None where the frame is not sampled."""
        source = frame_of(result)
        trace = frame_trace(source, self._sampling)
        return None if trace is None else Traced(trace, result, time.monotonic())

    def settled(self, traced: Traced, outcome: Outcome) -> None:
        """Kafka holds the record, or (FENCED) it was given up."""
        self._export.put(frame_spans(traced, outcome, self._names, _now()))

    def passed_over(self, rejected: Rejected) -> None:
        """The frame settles without a record."""
        trace = frame_trace(rejected.source, self._sampling)
        if trace is not None:
            self._export.put([passed_span(rejected, trace, self._names, _now())])

    def call(self, frames: Iterable[DecodedFrame]) -> CallTrace | None:
        """A Predict call is about to leave; None where none of its frames is sampled."""
        return call_trace((frame.source for frame in frames), self._sampling, next(self._calls))

    def called(
        self,
        trace: CallTrace,
        server: str,
        started_s: float,
        rows: int,
        said: Sequence[Prediction | Rejected] | Verdict,
    ) -> None:
        """The call was answered, or failed. `started_s`: monotonic."""
        clock = _now()
        facts: dict[str, Value] = {"riverlens.rows": rows}
        error, end_ns = None, clock.wall_ns
        if isinstance(said, Verdict):
            error = said.why
            facts["error.type"] = said.action.name
        for answered in said if not isinstance(said, Verdict) else ():
            if isinstance(answered, Prediction):
                end_ns = clock.ns(answered.answered_s)
                facts["riverlens.model.version"] = answered.version
                facts["riverlens.batch.reason"] = answered.batch_reason.value
                facts["rpc.response.status_code"] = "OK"
                break
        self._export.put([call_span(trace, (clock.ns(started_s), end_ns), facts, server, error)])


def _now() -> Clock:
    return Clock(time.time_ns(), time.monotonic())
