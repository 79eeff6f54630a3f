"""TensorFlow Serving's Prometheus metrics: names, labels and buckets of its sources, all declared here.

Written by hand because its page differs from the Prometheus libraries': names with colons, TYPE lines only,
`{}` where there is no label, and a metric without a cell prints just its TYPE line.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager

from riverlens_serving.status import Code, ServingError

PAGE_PATH = "/monitoring/prometheus/metrics"

_MAX_CELLS = 1000
"""Labels carry what callers send: beyond this many, new ones count as `other`."""
_OTHER = "other"


def exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """Upper bounds of `monitoring::Buckets::Exponential`; one more bucket above them takes the rest."""
    return tuple(scale * growth**power for power in range(count))


_LATENCY_US = exponential(10, 1.8, 33)
_QUEUING_US = exponential(100, 1.2, 52)
_ROWS = exponential(1, 2, 14)


class _Family:
    """One metric with its cells, one per combination of label values."""

    def __init__(self, name: str, kind: str, labels: tuple[str, ...]) -> None:
        self.name = name
        self._kind = kind
        self._labels = labels
        self._lock = threading.Lock()

    @property
    def _page_name(self) -> str:
        return self.name.replace("/", ":")

    def _head(self) -> str:
        return f"# TYPE {self._page_name} {self._kind}"

    def _shown(self, values: tuple[str, ...]) -> list[str]:
        return [f'{label}="{_escaped(value)}"' for label, value in zip(self._labels, values, strict=True)]


def _escaped(value: str) -> str:
    # TensorFlow Serving leaves line ends as they are, which breaks its page; callers choose model names.
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Counter(_Family):
    """A number that only grows."""

    def __init__(self, name: str, *labels: str) -> None:
        super().__init__(name, "counter", labels)
        self._cells: dict[tuple[str, ...], int] = {}

    def add(self, *values: str, by: int = 1) -> None:
        """Count, under these label values."""
        with self._lock:
            if values not in self._cells and len(self._cells) >= _MAX_CELLS:
                values = (_OTHER,) * len(values)
            self._cells[values] = self._cells.get(values, 0) + by

    def first(self) -> int:
        """The oldest cell's value, 0 without one: what a reload of the configuration reports."""
        with self._lock:
            return next(iter(self._cells.values()), 0)

    def lines(self) -> Iterator[str]:
        """The metric's part of the page."""
        yield self._head()
        with self._lock:
            cells = dict(self._cells)
        for values, value in cells.items():
            yield f"{self._page_name}{{{','.join(self._shown(values))}}} {value}"


class Histogram(_Family):
    """How often values fell between bounds, and their sum."""

    def __init__(self, name: str, bounds: tuple[float, ...], *labels: str) -> None:
        super().__init__(name, "histogram", labels)
        self._bounds = bounds
        self._cells: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def observe(self, value: float, *values: str) -> None:
        """Count a value, under these label values."""
        bucket = bisect_right(self._bounds, value)
        with self._lock:
            if values not in self._cells and len(self._cells) >= _MAX_CELLS:
                values = (_OTHER,) * len(values)
            cell = self._cells.get(values)
            if cell is None:
                cell = self._cells[values] = ([0] * (len(self._bounds) + 1), [0.0])
            cell[0][bucket] += 1
            cell[1][0] += value

    def lines(self) -> Iterator[str]:
        """The metric's part of the page. Sums keep all digits; TensorFlow Serving prints six."""
        yield self._head()
        with self._lock:
            cells = {values: (tuple(counts), total[0]) for values, (counts, total) in self._cells.items()}
        limits = [*(f"{bound:.6g}" for bound in self._bounds), "+Inf"]
        for values, (counts, total) in cells.items():
            shown = self._shown(values)
            count = 0
            for limit, inside in zip(limits, counts, strict=True):
                count += inside
                labels = ",".join((*shown, f'le="{limit}"'))
                yield f"{self._page_name}_bucket{{{labels}}} {count}"
            yield f"{self._page_name}_sum{{{','.join(shown)}}} {total:.16g}"
            yield f"{self._page_name}_count{{{','.join(shown)}}} {count}"


class Metrics:
    """Everything that one server counts. Times are in microseconds."""

    def __init__(self) -> None:
        serving, batching = "/tensorflow/serving", "/tensorflow/serving/batching_session"
        core, loading = "/tensorflow/core", "/tensorflow/cc/saved_model"
        self.request_count = Counter(f"{serving}/request_count", "model_name", "status")
        self.request_latency = Histogram(
            f"{serving}/request_latency", _LATENCY_US, "model_name", "API", "entrypoint"
        )
        self.runtime_latency = Histogram(
            f"{serving}/runtime_latency", _LATENCY_US, "model_name", "API", "runtime"
        )
        self.example_counts = Histogram(f"{serving}/request_example_counts", exponential(1, 2, 15), "model")
        self.example_count_total = Counter(f"{serving}/request_example_count_total", "model")
        self.warmup_latency = Histogram(
            f"{serving}/model_warmup_latency", _LATENCY_US, "model_path", "status"
        )
        self.warmup_records = Counter(f"{serving}/model_warmup_records_read", "model_path", "status")
        self.queuing_latency = Histogram(f"{batching}/queuing_latency", _QUEUING_US, "thread_pool_name")
        self.wrapped_run_count = Counter(f"{batching}/wrapped_run_count")
        self.input_batch_size = Histogram(f"{batching}/input_batch_size", _ROWS)
        self.processed_batch_size = Histogram(f"{batching}/processed_batch_size", _ROWS)
        self.padding_size = Histogram(f"{batching}/padding_size", _ROWS, "execution_batch_size")
        self.graph_runs = Counter(f"{core}/graph_runs")
        self.graph_run_time = Counter(f"{core}/graph_run_time_usecs")
        self.graph_run_time_histogram = Histogram(
            f"{core}/graph_run_time_usecs_histogram", exponential(1000, 2, 20)
        )
        self.direct_session_runs = Counter(f"{core}/direct_session_runs")
        self.load_attempt_count = Counter(f"{loading}/load_attempt_count", "model_path", "status")
        self.load_latency = Counter(f"{loading}/load_latency", "model_path")

    def families(self) -> list[Counter | Histogram]:
        """Every metric, by name."""
        found = [family for family in vars(self).values() if isinstance(family, Counter | Histogram)]
        return sorted(found, key=lambda family: family.name)

    def page(self) -> str:
        """The text that Prometheus scrapes."""
        return "".join(f"{line}\n" for family in self.families() for line in family.lines())

    def graph_run(self, elapsed_us: float) -> None:
        """Count one run of a session."""
        self.graph_runs.add()
        self.direct_session_runs.add()
        self.graph_run_time.add(by=int(elapsed_us))
        self.graph_run_time_histogram.observe(elapsed_us)

    @contextmanager
    def request(self, model_name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count a request by its status; time it where that is OK."""
        started = time.perf_counter()
        status = Code.INTERNAL
        try:
            yield
            status = Code.OK
        except ServingError as error:
            status = error.code
            raise
        finally:
            if status is Code.OK:
                elapsed_us = (time.perf_counter() - started) * 1e6
                self.request_latency.observe(elapsed_us, model_name, api, entrypoint)
            self.request_count.add(model_name, status.name)
