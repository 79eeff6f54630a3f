"""`riverlens worker run`."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from riverlens.admin import Admin
from riverlens.errors import RiverlensError
from riverlens.kafka_producer import log_leftovers
from riverlens.logs import set_up_logs
from riverlens.precise_loop import run_precisely
from riverlens.settings import load
from riverlens.trace_counts import SpanCounts
from riverlens.tracing import CLOSE_S, open_export
from riverlens_worker.allocator import keep_freed_memory
from riverlens_worker.metrics import Metrics
from riverlens_worker.pipeline import Pipeline
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.tracing import Tracer

logger = logging.getLogger(__name__)


def main(argv: list[str], prog: str) -> int:
    """Run one worker until SIGTERM or SIGINT; 0 after a clean stop."""
    settings = load(WorkerSettings, argv, prog=prog)
    set_up_logs(settings.log_level, settings.log_format)
    # What was imported lives as long as the process: without this every full collection walks all of it.
    gc.freeze()
    keep_freed_memory()
    try:
        run_precisely(run_worker(settings))
    except* RiverlensError as group:
        raise first_error(group) from None
    return 0


async def run_worker(settings: WorkerSettings) -> None:
    """One worker with its admin port and signal handlers, until it is stopped.

    Raises:
        RiverlensError: what made it stop by itself, perhaps within an ExceptionGroup.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library does not type it
    # a second series for each counter that no dashboard reads
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    metrics = Metrics(registry)
    export = open_export(settings.tracing, settings.tracing_endpoint, "riverlens-worker")
    tracer = None if export is None else Tracer(settings, export)
    if export is not None:
        registry.register(SpanCounts(export))
    pipeline = Pipeline(settings, metrics, tracer)
    admin = Admin(registry, pipeline.not_ready)
    loop = asyncio.get_running_loop()
    log_leftovers(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, pipeline.stop)
    try:
        await admin.start(settings.admin_host, settings.admin_port)
        await pipeline.run()
    finally:
        await pipeline.close()
        if export is not None:
            await export.close(min(settings.drain_timeout_ms / 1000, CLOSE_S))
        await admin.close()
        _log_balance(metrics)
    logger.info("stopped")


def _log_balance(metrics: Metrics) -> None:
    """The worker's last word: every frame read has its outcome, or was given up for its next owner."""
    counts = metrics.balance()
    if not counts["consumed"]:
        return
    settled = sum(counts.values()) - counts["consumed"]
    level = logging.INFO if settled == counts["consumed"] else logging.ERROR
    text = " + ".join(f"{name} {count}" for name, count in counts.items() if name != "consumed")
    logger.log(level, "balance: consumed %d = %s", counts["consumed"], text, extra=counts)


def first_error(group: BaseExceptionGroup[RiverlensError]) -> RiverlensError:
    """The first error a person should read, however deep task groups wrapped it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RiverlensError)  # noqa: S101  # except* let nothing else in
    return error
