"""What the demo leaves behind: numbers that balance, and a score against the truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from riverlens.demo.observer import Seen, percentile
from riverlens.demo.score import Score
from riverlens.demo.table import outcomes_line
from riverlens.demo.worker_metrics import WorkerMetrics

_BALANCE = re.compile(rb'"message":"balance:')


@dataclass(slots=True)
class Summary:
    """One run. `problems` says what did not hold; empty means the demo succeeded."""

    produced: int
    metrics: WorkerMetrics
    seen: Seen
    seconds: float
    first_event_s: float | None
    score: Score | None
    pictures: Sequence[Path] = ()
    hints: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """What a person must know went wrong."""
        found = []
        if self.seen.count == 0:
            found.append("no event came out; see the logs")
        if not self.metrics.balanced:
            found.append("the numbers do not balance")
        if self.metrics.outcomes.get("published", 0) != self.seen.count:
            published = self.metrics.outcomes.get("published", 0)
            found.append(f"the worker published {published} events, Kafka gave back {self.seen.count}")
        if self.seen.inversions:
            found.append(f"{self.seen.inversions} events came out of order")
        return found

    def lines(self) -> list[str]:
        """For a person."""
        latencies = list(self.seen.latencies_ms)
        p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
        seen, rate = self.seen, self.seen.count / self.seconds if self.seconds else 0.0
        lines = [
            f"produced {self.produced}, left on Kafka {max(0, self.produced - self.metrics.consumed)}",
            outcomes_line(self.metrics),
            f"events read back {seen.count}, repeats {seen.repeats}, out of order {seen.inversions}",
            f"capture to event p50 {_ms(p50)}, p99 {_ms(p99)}",
            f"mean batch {seen.mean_batch():.1f}, {rate:.1f} events/s",
        ]
        unreached = max(0, self.produced - self.metrics.consumed) + self.metrics.outcomes.get("fenced", 0)
        if unreached:
            lines.append(
                f"the cameras offered more than the model took: {unreached} frames were not reached "
                "(fenced: read, then left to the next worker)"
            )
        if self.first_event_s is not None:
            lines.append(f"first event {self.first_event_s:.1f} s after the start")
        if self.score is not None:
            recall, precision = self.score.recall, self.score.precision
            lines.append(
                f"against the truth at IoU 0.5: recall {_share(recall)}, precision {_share(precision)}"
            )
        if self.pictures:
            lines.append(f"pictures: {', '.join(str(path) for path in self.pictures)}")
        return [*lines, *self.hints, *(f"NOT WELL: {problem}" for problem in self.problems())]

    def write(self, folder: Path) -> Path:
        """`summary.json` in the folder, for machines; returns its path."""
        latencies = list(self.seen.latencies_ms)
        score = self.score
        body = {
            "produced": self.produced,
            "consumed": self.metrics.consumed,
            **{
                name: self.metrics.outcomes.get(name, 0)
                for name in ("published", "dropped", "dead_lettered", "fenced")
            },
            "in_flight": self.metrics.in_flight,
            "balanced": self.metrics.balanced,
            "events": self.seen.count,
            "repeats": self.seen.repeats,
            "out_of_order": self.seen.inversions,
            "p50_ms": percentile(latencies, 0.5),
            "p99_ms": percentile(latencies, 0.99),
            "mean_batch": round(self.seen.mean_batch(), 2),
            "seconds": round(self.seconds, 1),
            "first_event_s": self.first_event_s,
            "recall": score.recall if score else None,
            "precision": score.precision if score else None,
            "problems": self.problems(),
        }
        path = folder / "summary.json"
        path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n")
        return path


def final_balance(worker_log: Path) -> WorkerMetrics | None:
    """The worker's last word: the counts it logs (as JSON) when it has stopped; None where there are none."""
    lines = [line for line in worker_log.read_bytes().splitlines() if _BALANCE.search(line)]
    if not lines:
        return None
    body: dict[str, Any] = orjson.loads(lines[-1])
    names = ("published", "dropped", "dead_lettered", "fenced")
    return WorkerMetrics(
        consumed=body["consumed"],
        in_flight=body["in_flight"],
        outcomes={name: body[name] for name in names},
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
