"""`riverlens worker tune`."""

from __future__ import annotations

import logging
import time

from rich.console import Console

from riverlens.errors import UnreachableError
from riverlens.logs import set_up_logs
from riverlens.precise_loop import run_precisely
from riverlens.settings import load
from riverlens_worker.batching import Limits
from riverlens_worker.endpoints import CallFailedError, Endpoint
from riverlens_worker.endpoints.tls import Tls
from riverlens_worker.limits import CallLimits
from riverlens_worker.model import discover
from riverlens_worker.tune import plan
from riverlens_worker.tune.choice import Search, Tuned
from riverlens_worker.tune.cost import padded
from riverlens_worker.tune.images import images
from riverlens_worker.tune.output import make_folder, write
from riverlens_worker.tune.plan import Candidate, Server
from riverlens_worker.tune.probe import Probe
from riverlens_worker.tune.runner import Runner, TargetError
from riverlens_worker.tune.settings import TuneSettings
from riverlens_worker.tune.show import Show

_TIMING_SHARE = 0.15
"""Of the whole time, for calls one at a time."""


def main(argv: list[str], prog: str) -> int:
    """Measure, write both files, say how to use them; 0."""
    settings = load(TuneSettings, argv, prog=prog)
    # What the worker would log while it runs is said in the lines.
    set_up_logs("debug" if settings.log_level == "debug" else "error", settings.log_format)
    logging.getLogger("riverlens_worker").setLevel(logging.NOTSET)
    show = Show(Console(highlight=False, soft_wrap=True))
    folder = make_folder(settings.out)
    tuned = run_precisely(tune(settings, show))
    write(settings, tuned, folder, show)
    return 0


async def tune(settings: TuneSettings, show: Show) -> Tuned:
    """Measure the server and find the settings.

    Raises:
        RiverlensError: the server is away or refuses, the model is unknown, the target out of reach.
    """
    began_s = time.monotonic()
    endpoint = Endpoint(settings.server, settings.model, Tls.of(settings))
    try:
        await endpoint.wait_available(_do_not_wait)
        model = await discover(endpoint, settings, _do_not_wait)
        sent = images(settings.images, model.target)
        most = min(settings.most_rows, max(1, settings.max_batch_bytes // sent.rows[0].nbytes))
        probe = Probe(endpoint, model, sent.rows, CallLimits(Limits(most, settings.max_batch_bytes)))
        show.line(
            f"{settings.model} on {settings.server} takes {model.layout.fed_text()}; sending {sent.text}"
        )
        server, padding = await _measure(probe, settings, most, show)
        slow_first = bool(probe.times.slow_first_sizes())
        if slow_first:
            show.line("the first call of a size is slow: sending each size once")
            await probe.warm_up(max(server.sizes))
        runner = Runner(model, sent.rows, settings, began_s, show)
        search = _search(server, settings)
        await runner.drive(search)
        assert search.best is not None  # noqa: S101  # else it has raised
        loads = await runner.loads(search.leader, search.best)
        show.loads(search.leader, loads)
        if not all(one.within(settings.latency_target_ms) for one in loads):
            show.line(
                "less load took longer than more: something else is at work here or there; run it again"
            )
    except CallFailedError as error:
        raise UnreachableError(f"the model server at {settings.server} stopped answering: {error}") from None
    finally:
        await endpoint.close()
    took_s = time.monotonic() - began_s
    return Tuned(search.leader, search.best, server, search.tried, took_s, slow_first, padding)


async def _measure(
    probe: Probe, settings: TuneSettings, most: int, show: Show
) -> tuple[Server, dict[int, int]]:
    """What calls cost, which sizes are padded, how many run at once."""
    target_s = settings.latency_target_ms / 1000
    fixed = probe.model.layout.rows
    await probe.one_by_one(plan.sizes(most, fixed), target_s, settings.seconds * _TIMING_SHARE)
    medians, cost = probe.times.medians(), probe.times.fit.cost()
    if min(medians.values()) > target_s:
        raise TargetError(
            f"latency_target_ms: {settings.latency_target_ms:g} ms is out of reach: on {settings.server} a"
            f" call of {min(medians)} alone takes {min(medians.values()) * 1000:.0f} ms:"
            " raise --latency-target-ms, or give it a faster server"
        )
    assert cost is not None  # noqa: S101  # every size was sent several times
    padding = padded(probe.times, cost[1])
    show.times(medians, padding)
    limit = probe.limits.current().rows
    if fixed is None and limit < most:
        show.line(f"the server takes at most {limit} rows a call")
    quick = [rows for rows, seconds in medians.items() if seconds <= target_s / 2] or [min(medians)]
    devices = await probe.devices(max(quick), settings.most_calls)
    offered = [rows for rows in medians if rows not in padding and rows <= limit]
    server = Server(*cost, devices, offered)
    show.server(server)
    return server, padding


def _search(server: Server, settings: TuneSettings) -> Search:
    target_s = settings.latency_target_ms / 1000
    rows = plan.best_size(server, target_s)
    ways = plan.ways(server.devices, rows, settings.most_calls)
    first_per_s = plan.first_load_per_s(server, rows, target_s)

    def rivals(best: Candidate, per_s: float) -> list[Candidate]:
        return plan.rivals(best, per_s, server, settings.most_calls)

    return Search(ways, first_per_s, settings.latency_target_ms, rivals)


def _do_not_wait(why: str) -> None:
    """The worker would wait here."""
    raise UnreachableError(why)
