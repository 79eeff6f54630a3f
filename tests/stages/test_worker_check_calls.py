"""`worker check` beside a busy worker: calls that meet its frames at the server say nothing of the set-up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from riverlens.errors import UnreachableError
from riverlens_worker.check import model_server
from riverlens_worker.endpoints import CallFailedError, Endpoint
from riverlens_worker.settings import WorkerSettings
from tests.harness.scripted_server import Refusal, ScriptedServer, model_of

SHAPES = (
    "FAILED_PRECONDITION",
    "Tensors with name 'x' from different tasks have different shapes and padding is off",
)
BROKEN = ("INVALID_ARGUMENT", "not an image")


@asynccontextmanager
async def _asking(refusals: list[Refusal]) -> AsyncIterator[tuple[ScriptedServer, Endpoint]]:
    """A server that refuses the first calls in these ways, and a channel to it."""

    async def behave(_: list[bytes]) -> Refusal | None:
        return refusals.pop(0) if refusals else None

    server = ScriptedServer(behave)
    await server.start()
    endpoint = Endpoint(server.address, "street")
    try:
        yield server, endpoint
    finally:
        await endpoint.close()
        await server.stop()


async def test_a_call_that_met_others_is_tried_again() -> None:
    """As the worker tries it again; and it is timed by itself."""
    async with _asking([SHAPES, SHAPES]) as (server, endpoint):
        model = model_of(WorkerSettings(model="street"), endpoint)
        _, answer = await model_server._call(model, endpoint, [b"image"])
        assert answer["y"].tolist() == [5]
        assert server.calls == [1, 1, 1]


@pytest.mark.parametrize(("refusals", "calls"), [([SHAPES] * 9, 5), ([BROKEN] * 9, 1)])
async def test_what_does_not_pass_is_told(refusals: list[Refusal], calls: int) -> None:
    """A server that is always overloaded, after some tries; what no other try would mend, at once."""
    async with _asking(refusals) as (server, endpoint):
        model = model_of(WorkerSettings(model="street"), endpoint)
        with pytest.raises(CallFailedError):
            await model_server._call(model, endpoint, [b"image"])
        assert len(server.calls) == calls


def test_waiting_where_the_worker_would_ends() -> None:
    """A person waits for the check: a second and a half, no longer."""
    wait = model_server._patience()
    for _ in range(3):
        wait("too many calls at once")
    with pytest.raises(UnreachableError, match="too many calls at once"):
        wait("too many calls at once")
