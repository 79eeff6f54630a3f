"""The predictor against servers of scripted behaviour: who is blamed, who is waited for, who is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from riverlens_worker._stubs import ModelVersionStatus
from riverlens_worker.errors import ModelError
from riverlens_worker.settings import WorkerSettings
from tests.harness.predicting import predicting
from tests.harness.scripted_server import Behave, Refusal, ScriptedServer, refuses, takes

Serve = Callable[..., Awaitable[ScriptedServer]]
GOOD, BAD = b"good", b"bad"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts scripted servers; stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(
            behave: Behave | None = None, host: str = "127.0.0.1", port: int = 0
        ) -> ScriptedServer:
            server = ScriptedServer(*([] if behave is None else [behave]))
            server.port = port
            await server.start(host)
            stack.push_async_callback(server.stop)
            return server

        yield start


def _settings(*servers: ScriptedServer, **fields: object) -> WorkerSettings:
    return WorkerSettings(server=",".join(server.address for server in servers), **fields)  # type: ignore[arg-type]  # a test's fields


def _frames(count: int, bad: set[int]) -> list[bytes]:
    return [BAD if n in bad else GOOD for n in range(count)]


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        ("INVALID_ARGUMENT", "Unknown image file format", "model_rejected"),
        ("INTERNAL", "Blas GEMM launch failed", "model_rejected"),
        ("UNKNOWN", "Predict internal error", "model_rejected"),
        ("FAILED_PRECONDITION", "something never listed", "model_rejected"),
        ("DATA_LOSS", "corrupt", "model_rejected"),
        ("DEADLINE_EXCEEDED", "Timed out waiting for notification", "model_timeout"),
    ],
)
async def test_only_the_guilty_frame_is_given_up(serve: Serve, code: str, text: str, reason: str) -> None:
    """Whatever status one frame causes, all its neighbours are answered and it alone is dead-lettered."""
    server = await serve(refuses(lambda image: image == BAD, code, text))
    async with predicting(_settings(server, max_batch_size=8)) as line:
        await line.send(_frames(24, {11}))
    line.check()
    assert line.dead == {11: reason}


@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "UNAVAILABLE", "ABORTED"])
async def test_nothing_is_given_up_while_nothing_passes(serve: Serve, code: str) -> None:
    """A server that fails every call, the test image too, costs no frame; once it works all are answered."""
    server = await serve(refuses(lambda _: True, code, "broken"))
    async with predicting(_settings(server, max_batch_size=4)) as line:
        await line.send(_frames(12, set()))
        await line.until(lambda: len(server.calls) > 15, "many failed calls")
        assert not line.dead
        server.behave = refuses(lambda _: False, "OK")
    line.check()
    assert not line.dead


async def test_a_model_that_refuses_its_test_image_stops_the_worker(serve: Serve) -> None:
    """Where a new version refuses everything as invalid, no frame is blamed: the worker stops and says so."""
    server = await serve()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # the end of the block raises it
        async with predicting(_settings(server, max_batch_size=4)) as line:
            await line.send(_frames(4, set()))
            await line.until(lambda: len(line.answered) == 4, "the first frames")
            server.behave = refuses(lambda _: True, "INVALID_ARGUMENT", "Incompatible shapes: [3] vs. [2]")
            await line.send(_frames(4, set()))
    assert caught.group_contains(ModelError, match="refuses even the test image")
    assert not line.dead


async def test_a_neighbour_in_the_servers_batch_is_not_blamed(serve: Serve) -> None:
    """A server that merges our calls and fails them together: good frames that met a bad one are answered."""
    merged: list[tuple[list[bytes], asyncio.Future[bool]]] = []

    async def behave(images: list[bytes]) -> Refusal | None:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        merged.append((images, done))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.02, flush)
        return ("INVALID_ARGUMENT", "one status for the whole batch") if await done else None

    def flush() -> None:
        bad = any(BAD in images for images, _ in merged)
        for _, done in merged:
            done.set_result(bad)
        merged.clear()

    server = await serve(behave)
    bad = set(range(0, 60, 7))
    async with predicting(_settings(server, max_batch_size=4, max_in_flight_calls=4)) as line:
        await line.send(_frames(60, bad))
    line.check()
    assert set(line.dead) == bad


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("Task size 8 is larger than maximum input batch size 3", lambda rows, _: rows <= 3),
        ("CLIENT: Received message larger than max (6000 vs. 3000)", lambda rows, _: rows <= 4),
        ("Received message larger than max (80 vs. 40)", lambda _, nbytes: nbytes <= 40),
        ("OOM when allocating tensor with shape[8]", lambda rows, _: rows <= 2),
    ],
)
async def test_calls_become_as_small_as_they_must(
    serve: Serve, text: str, fits: Callable[[int, int], bool]
) -> None:
    """A refusal for size is learnt: later calls fit, and no frame pays for it."""
    code = "INVALID_ARGUMENT" if text.startswith("Task") else "RESOURCE_EXHAUSTED"
    image = b"x" * 10

    async def behave(images: list[bytes]) -> Refusal | None:
        own = [each for each in images if each == image]
        return None if fits(len(own), 10 * len(own)) else (code, text)

    server = await serve(behave)
    async with predicting(_settings(server, max_batch_size=8, max_in_flight_calls=2)) as line:
        await line.send([image] * 64)
    line.check()
    assert not line.dead
    errors = line.value("riverlens_predict_errors_total", code=code)
    # Without learning each of the first calls would be refused: 24 and more, of 8 and of 4 rows.
    assert errors <= 16


async def test_memory_limits_grow_back(serve: Serve) -> None:
    """Rows halved because memory ran out come back, one after every 20 calls that passed."""

    async def behave(images: list[bytes]) -> Refusal | None:
        return ("RESOURCE_EXHAUSTED", "OOM when allocating tensor") if len(images) > 4 and short else None

    short = True
    server = await serve(behave)
    async with predicting(_settings(server, max_batch_size=8)) as line:
        await line.send(_frames(64, set()))
        await line.until(lambda: len(line.answered) == 64, "answers in small calls")
        assert line.value("riverlens_batch_limit_rows") == 4
        short = False
        await line.send(_frames(900, set()))
    line.check()
    assert line.value("riverlens_batch_limit_rows") == 8


async def test_overload_lowers_the_calls_at_once(serve: Serve) -> None:
    """A server with room for one call gets about one at a time, is not hammered, and no frame pays."""
    room = asyncio.Semaphore(1)

    async def behave(_: list[bytes]) -> Refusal | None:
        if room.locked():
            return "RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!"
        async with room:
            await asyncio.sleep(0.002 * 2)
        return None

    server = await serve(behave)
    async with predicting(_settings(server, max_batch_size=4, max_in_flight_calls=8)) as line:
        await line.send(_frames(200, set()))
    line.check()
    assert not line.dead
    assert line.value("riverlens_predict_errors_total", code="RESOURCE_EXHAUSTED") < 50


async def test_a_server_without_its_model_is_waited_for(serve: Serve) -> None:
    """NOT_FOUND while a version loads: nothing is blamed, /readyz says why, work goes on once it is there."""
    server = await serve()
    async with predicting(_settings(server)) as line:
        server.states = [ModelVersionStatus.LOADING]
        server.behave = refuses(lambda _: True, "NOT_FOUND", "Servable not found for request: Latest(street)")
        await line.send(_frames(50, set()))
        await line.until(lambda: "is loading 'street'" in line.why, "/readyz says why")
        server.states, server.version = [ModelVersionStatus.AVAILABLE], 2
        server.behave = refuses(lambda _: False, "OK")
    line.check()
    assert not line.dead
    assert set(line.versions.values()) == {2}
    assert line.why == ""


async def test_one_of_two_servers_fails_every_call(serve: Serve) -> None:
    """Retries go to the other server first: all is answered there, nothing is blamed."""
    broken = await serve(refuses(lambda _: True, "INTERNAL", "broken"))
    good = await serve(takes(0.002))
    async with predicting(_settings(broken, good, max_batch_size=4)) as line:
        await line.send(_frames(200, set()))
    line.check()
    assert not line.dead


async def test_a_server_that_serves_another_model_is_left_out(serve: Serve) -> None:
    """Where one of two says that a setting is wrong, the other goes on; where the last does, all stops."""
    odd = await serve(refuses(lambda _: True, "FAILED_PRECONDITION", 'Serving signature key "x" not found.'))
    good = await serve()
    async with predicting(_settings(odd, good)) as line:
        await line.send(_frames(200, set()))
    line.check()
    assert not line.dead


async def test_a_slow_server_gets_little_work(serve: Serve) -> None:
    """Of two servers, one ten times slower, the quick one answers most frames, and the slow one some."""
    quick, slow = await serve(takes(0.01)), await serve(takes(0.1))
    async with predicting(_settings(quick, slow, max_batch_size=4)) as line:
        await line.send(_frames(1000, set()))
    line.check()
    share = line.value("riverlens_endpoint_frames_total", endpoint=slow.address) / 1000
    print(f"\nof two servers the one 10 times slower answers {share:.0%}")  # noqa: T201  # a figure
    assert 0 < share < 0.4


async def test_a_server_killed_and_restarted(serve: Serve) -> None:
    """Two servers, one killed under load and back later: nothing is lost, and it is asked again."""
    one, two = await serve(takes(0.005)), await serve(takes(0.005))
    async with predicting(_settings(one, two, max_batch_size=4)) as line:
        await line.send(_frames(400, set()))
        await line.until(lambda: len(line.answered) > 100, "frames flow")
        await two.stop()
        await line.until(lambda: len(line.answered) == 400, "the other answers all")
        assert line.value("riverlens_endpoint_up", endpoint=two.address) == 0
        await two.start()
        await line.until(lambda: line.value("riverlens_endpoint_up", endpoint=two.address) == 1, "it is back")
        before = sum(two.calls)
        await line.send(_frames(400, set()))
    line.check()
    assert not line.dead
    assert sum(two.calls) - before > 20
    assert line.value("riverlens_endpoint_ejections_total", endpoint=two.address) == 1


async def test_a_server_that_hangs_is_left_out(serve: Serve) -> None:
    """Calls that run into their deadline twice in a row: the server is left out, their frames go on."""
    hung, good = await serve(takes(60)), await serve(takes(0.005))
    async with predicting(_settings(hung, good, max_batch_size=4, predict_timeout_ms=1000)) as line:
        await line.send(_frames(100, set()))
        await line.until(lambda: len(line.answered) == 100, "all are answered elsewhere")
    line.check()
    assert not line.dead


async def test_each_address_of_a_name_is_a_server(serve: Serve) -> None:
    """`dns:///`: every address gets work, a new one joins, one that is gone is left in peace."""
    first = await serve(takes(0.005), "127.0.0.1")
    second = await serve(takes(0.005), "127.0.0.2", first.port)
    names = ["127.0.0.1", "127.0.0.2"]

    async def resolve(name: str, port: int) -> list[str]:
        assert (name, port) == ("models.test", first.port)
        return names

    settings = WorkerSettings(server=f"dns:///models.test:{first.port}", max_batch_size=4)
    async with predicting(settings, resolve=resolve) as line:
        await line.until(lambda: len(line.endpoints.up) == 2, "both answer")
        await line.send(_frames(200, set()))
        await line.until(lambda: len(line.answered) == 200, "answers")
        assert sum(first.calls) > 20
        assert sum(second.calls) > 20
        names.remove("127.0.0.1")
        await line.endpoints._look_up()  # a white box: the next look-up is seconds away
        before = sum(first.calls)
        await line.send(_frames(100, set()))
    line.check()
    assert sum(first.calls) == before


async def test_poison_is_found_with_few_calls(serve: Serve) -> None:
    """One guilty frame among 32: about log2(32) calls more, no good frame is asked more than that often."""
    server = await serve(refuses(lambda image: image == BAD, "INVALID_ARGUMENT"))
    async with predicting(_settings(server, max_batch_size=32)) as line:
        await line.send(_frames(32, {19}))
    line.check()
    assert set(line.dead) == {19}
    assert len(server.calls) <= 1 + 2 * 5 + 2
