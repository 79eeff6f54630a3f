"""Asks each model server as the worker would, and times a few calls. Shell."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import simplejpeg

from riverlens.errors import RiverlensError, UnreachableError
from riverlens.signature import InputKind, OutputKind
from riverlens_worker._stubs import ModelVersionStatus
from riverlens_worker.check.facts import FullBatch, ModelServer, Pair
from riverlens_worker.check.same_answers import difference
from riverlens_worker.decoding import to_row
from riverlens_worker.endpoints import CallFailedError, Endpoint
from riverlens_worker.endpoints.resolve import Resolver, system_addresses
from riverlens_worker.endpoints.tls import Tls
from riverlens_worker.errors import BACKOFFS, Action, decide
from riverlens_worker.model import ServedModel, discover
from riverlens_worker.predict_request import Rows, predict_request
from riverlens_worker.servers import parse_servers
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.tensors import read_reply

_STATUS_S = 5.0
_SIZE = 64
_LOADING = "is loading"
_MOST_WAITS = 3
"""Half a second each."""
_MOST_TRIES = 5
"""Of one call; with their pauses most of a second together."""


class _NotNowError(UnreachableError):
    """The worker would wait here; the check does not."""


async def look_at_model_servers(settings: WorkerSettings) -> tuple[ModelServer, ...]:
    """Each server of the setting `server`, one after the other: their times must not disturb one another."""
    resolver = Resolver(parse_servers(settings.server), system_addresses)
    addresses = await resolver.addresses()
    if not addresses:
        return (ModelServer(settings.server, problem=resolver.why),)
    try:
        tls = Tls.of(settings)
        return tuple([await _look(settings, tls, each, name) for each, name in addresses.items()])
    except RiverlensError as error:
        return (ModelServer(settings.server, problem=str(error)),)


async def _look(settings: WorkerSettings, tls: Tls | None, address: str, name: str) -> ModelServer:
    endpoint = Endpoint(address, settings.model, tls, name=name)
    found = ModelServer(address)
    try:
        why = await endpoint.why_not_available()
        if why is not None:
            return replace(found, problem=why, loading=_LOADING in why)
        found = replace(found, versions=await _versions(endpoint))
        with _heard() as warnings:
            model = await discover(endpoint, settings, _patience())
        found = replace(found, warnings=tuple(warnings))
        return await _try_model(found, model, endpoint)
    except (RiverlensError, CallFailedError) as error:
        return replace(found, problem=str(error))
    finally:
        await endpoint.close()


def _patience() -> Callable[[str], None]:
    """Waits where the worker would, but only for a moment: beside a busy one calls meet its frames.

    What it returns raises _NotNowError once that is over.
    """
    waits = iter(range(_MOST_WAITS))

    def wait(why: str) -> None:
        if next(waits, None) is None:
            raise _NotNowError(why)

    return wait


async def _versions(endpoint: Endpoint) -> tuple[tuple[int, str], ...]:
    states = await endpoint.versions(_STATUS_S)
    told = [(version, ModelVersionStatus.State.Name(state)) for version, state, _ in states]
    return tuple(sorted(told, reverse=True))


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What discovering the model warns of: a line of the check each, instead of a line of the log."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                heard.append(record.getMessage())

    source, listener = logging.getLogger("riverlens_worker.model"), Listener()
    source.addHandler(listener)
    source.propagate = False
    try:
        yield heard
    finally:
        source.removeHandler(listener)
        source.propagate = True


async def _try_model(found: ModelServer, model: ServedModel, endpoint: Endpoint) -> ModelServer:
    layout = model.layout
    version = next((number for number, state in found.versions if state == "AVAILABLE"), 0)
    rows = _test_rows(model)
    sized = layout.kind is InputKind.PIXELS and layout.height is not None and layout.width is not None
    found = replace(
        found,
        signature=layout.signature,
        fed=layout.fed_text(),
        read=layout.read_text(),
        labels=await _labels(model, version, endpoint),
        row_bytes=_nbytes(rows) if sized else None,
    )
    found = replace(found, pair=await _try_pair(model, endpoint, rows))
    if layout.rows is None:
        found = replace(found, full=await _try_full(model, endpoint, rows))
    return found


async def _labels(model: ServedModel, version: int, endpoint: Endpoint) -> int | None:
    if model.layout.output_kind not in {OutputKind.DETECTIONS, OutputKind.CLASSES}:
        return None
    return len((await model.reading(version, endpoint)).labels)


def _nbytes(rows: Rows) -> int:
    return len(rows[0]) if isinstance(rows[0], bytes) else int(rows[0].nbytes)


def _test_rows(model: ServedModel) -> Rows:
    """Two unlike images of one size: colours from left to right, and from right to left."""
    x, y = np.meshgrid(np.linspace(0, 255, _SIZE), np.linspace(0, 255, _SIZE))
    pixels = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
    pictures = (pixels, np.ascontiguousarray(pixels[:, ::-1]))
    return [to_row(simplejpeg.encode_jpeg(each, 90, "RGB"), None, model.target).row for each in pictures]


async def _call(model: ServedModel, endpoint: Endpoint, rows: Rows) -> tuple[float, Any]:
    """One Predict call: its time in ms, and the outputs.

    Raises:
        CallFailedError: any status but OK; where others' calls are in its way, after some tries.
    """
    request = predict_request(model.settings.model, model.layout, rows)
    tries = 0
    while True:
        asked_s = time.perf_counter()
        try:
            reply = await endpoint.predict(request, model.settings.predict_timeout_ms / 1000)
        except CallFailedError as error:
            tries += 1
            if tries == _MOST_TRIES or decide(error.code, error.details).action is not Action.OVERLOAD:
                raise
            await asyncio.sleep(BACKOFFS[Action.OVERLOAD].delay_s(tries, 1.0))
        else:
            return (time.perf_counter() - asked_s) * 1000, read_reply(reply)[1]


async def _try_pair(model: ServedModel, endpoint: Endpoint, rows: Rows) -> Pair:
    _, first = await _call(model, endpoint, rows[:1])
    single_ms, second = await _call(model, endpoint, rows[1:])
    if model.layout.rows is not None:
        return Pair(single_ms, problem="the model takes one image a call")
    try:
        await _call(model, endpoint, rows)
        double_ms, together = await _call(model, endpoint, rows)
    except CallFailedError as error:
        return Pair(single_ms, problem=decide(error.code, error.details).why)
    return Pair(single_ms, double_ms, difference(together, first, second))


async def _try_full(model: ServedModel, endpoint: Endpoint, rows: Rows) -> FullBatch:
    settings = model.settings
    most = max(1, min(settings.max_batch_size, settings.max_batch_bytes // _nbytes(rows)))
    batch = [rows[number % 2] for number in range(most)]
    try:
        await _call(model, endpoint, batch)
        ms, _ = await _call(model, endpoint, batch)
    except CallFailedError as error:
        verdict = decide(error.code, error.details)
        return FullBatch(most, limit=verdict.max_rows, problem=verdict.why)
    return FullBatch(most, ms)
