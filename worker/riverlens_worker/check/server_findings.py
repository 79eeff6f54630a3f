"""What is wrong with the model servers, and with how the worker would feed them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from riverlens_worker.check.facts import FullBatch, ModelServer, Pair
from riverlens_worker.check.finding import Finding, bad, good, warning
from riverlens_worker.check.same_answers import TOLERANCE
from riverlens_worker.settings import WorkerSettings

_NO_LABELS = "the model names no labels"


def judge_servers(servers: Sequence[ModelServer], settings: WorkerSettings) -> Iterator[Finding]:
    """Each server by itself, then whether they serve the same."""
    some = any(not server.problem for server in servers)
    for server in servers:
        if server.problem:
            yield _away(server, others=some)
        else:
            yield from _served(server, settings)
    able = [server for server in servers if not server.problem]
    told = {(server.versions, server.signature, server.fed, server.read) for server in able}
    if len(told) > 1:
        found = "not all serve the same versions, signature and layout"
        yield warning("model servers", found, "see the lines above; events then depend on which is asked")


def _away(server: ModelServer, *, others: bool) -> Finding:
    what = f"model server {server.address}"
    found, _, remedy = server.problem.partition("; ")
    remedy = remedy or "see the settings server and model"
    if server.loading:
        return warning(what, found, "the worker waits for it")
    if others:
        return warning(what, f"{found} (others answer)", remedy)
    return bad(what, found, remedy)


def _served(server: ModelServer, settings: WorkerSettings) -> Iterator[Finding]:
    what = f"model {settings.model}"
    versions = ", ".join(f"{version} {state}" for version, state in server.versions)
    yield good(what, f"at {server.address}: version {versions}")
    yield good(what, f"signature {server.signature} takes {server.fed}, answers with {server.read}")
    for text in server.warnings:
        if not text.startswith(_NO_LABELS):
            found, _, remedy = text.partition("; ")
            yield warning(what, found, remedy or "see the settings that tell of the model: --help")
    yield from _labels(server)
    if server.pair is not None:
        yield _pair(server.pair)
    if server.full is not None:
        yield _full(server.full, server, settings)
    yield from _bytes(server, settings)


def _labels(server: ModelServer) -> Iterator[Finding]:
    if server.labels:
        yield good("labels", f"{server.labels} classes have names")
    elif server.labels == 0:
        found = "the model names none: events say class-<id>"
        yield warning("labels", found, "--labels FILE, with a class name a line, or --labels coco")


def _pair(pair: Pair) -> Finding:
    what = "two images"
    alone = f"1 row took {pair.single_ms:.3g} ms"
    if pair.problem:
        found = f"{alone}; two in one call are not answered: {pair.problem}"
        return warning(what, found, "export the model with a free batch dimension: riverlens serving export")
    times = f"{alone}, 2 rows {pair.double_ms:.3g} ms"
    if pair.difference is None:
        return good(what, f"{times}; their outputs have no common shape to compare")
    if pair.difference > TOLERANCE:
        found = f"{times}; together they are answered otherwise than alone, by up to {pair.difference:.2g}"
        return bad(what, found, "--max-batch-size 1, or export a model whose rows do not mix")
    return good(what, f"{times}; together they are answered as alone")


def _full(full: FullBatch, server: ModelServer, settings: WorkerSettings) -> Finding:
    what = f"batch of {full.rows}"
    if not full.problem:
        rate = full.rows * 1000 / full.ms if full.ms else 0
        small = "" if server.row_bytes else " of images of 64 x 64"
        return good(what, f"took {full.ms:.3g} ms: {rate:.3g} frames/s{small}, one call at a time")
    if full.limit is not None:
        found = f"the server takes at most {full.limit} rows; max_batch_size is {settings.max_batch_size}"
        mend = (
            f"--max-batch-size {full.limit}, or max_batch_size {{ value: {settings.max_batch_size} }} in the "
            "server's batching file"
        )
        return warning(what, found, mend)
    return warning(what, f"refused: {full.problem}", f"--max-batch-size {max(1, full.rows // 2)}")


def _bytes(server: ModelServer, settings: WorkerSettings) -> Iterator[Finding]:
    """Batches that bytes cut short, where every row has the same size."""
    if server.row_bytes is None:
        return
    most = settings.max_batch_bytes // server.row_bytes
    if most < settings.max_batch_size:
        found = (
            f"max_batch_bytes holds {most} rows of {server.row_bytes} bytes, not {settings.max_batch_size}"
        )
        yield warning("batch bytes", found, f"--max-batch-bytes {settings.max_batch_size * server.row_bytes}")
