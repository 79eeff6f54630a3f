"""The embedded server from start to drain, with real TensorFlow and real gRPC."""

from __future__ import annotations

import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from riverlens.errors import RiverlensError, SetupError
from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.config import Listen, Model, Patience, ServerOptions
from riverlens_serving.server import Server
from tests import model_servers
from tests.contract.client import Client, Refusal, array, floats, refusal, refused, spec
from tests.model_servers import wait_for
from tests.models import gate, half_plus

QUICK = Patience(poll_s=0.02, max_retries=0)
LOADING, AVAILABLE, UNLOADING, END = 20, 30, 40, 50


@contextmanager
def serving(*models: Model, listen: Listen | None = None, **options: object) -> Iterator[Client]:
    """A client of a server in this process, on a free port."""
    settings = ServerOptions(models, listen or Listen(port=None), QUICK, **options)  # type: ignore[arg-type]  # one of the options each
    server = Server(settings, threading.Event())
    with ExitStack() as stack:
        stack.callback(server.stop)
        yield stack.enter_context(Client(f"127.0.0.1:{server.start()}"))


def _states(client: Client, model: str) -> list[tuple[int, int]]:
    versions = client.status(spec(model)).model_version_status
    return [(version.version, version.state) for version in versions]


def _appear(made: Path, place: Path) -> None:
    """A version folder appears whole, as exporters rename it into place."""
    made.rename(place)


def test_hot_swap_under_load_loses_no_call(tmp_path: Path) -> None:
    """While callers call, version 2 takes over: no call fails, and no caller sees 1 again after 2."""
    half_plus(tmp_path / "m" / "1", 2.0)
    half_plus(tmp_path / "new", 3.0)
    stop = threading.Event()
    with serving(Model("m", tmp_path / "m")) as client, ThreadPoolExecutor(4) as callers:

        def call_until_stopped() -> list[tuple[int, float]]:
            seen = []
            while not stop.is_set():
                reply = client.predict("m", {"x": floats(2)})
                seen.append((reply.model_spec.version.value, float(reply.outputs["y"].float_val[0])))
            return seen

        calls = [callers.submit(call_until_stopped) for _ in range(4)]
        _appear(tmp_path / "new", tmp_path / "m" / "2")
        wait_for(lambda: _states(client, "m") == [(2, AVAILABLE), (1, END)])
        stop.set()
        for call in calls:
            seen = call.result()
            assert seen == sorted(seen)
            assert set(seen) <= {(1, 3.0), (2, 4.0)}


@pytest.fixture
def gated(tmp_path: Path) -> tuple[Path, Path]:
    """A base path whose version 1 holds its callers, and the file that lets them go."""
    opened = tmp_path / "opened"
    gate(tmp_path / "g" / "1", opened)
    return tmp_path / "g", opened


def _entered(opened: Path) -> bool:
    return opened.with_suffix(".entered").exists()


def test_a_call_in_flight_finishes_on_the_version_that_took_it(
    gated: tuple[Path, Path], tmp_path: Path
) -> None:
    """The old version stays UNLOADING until its last call is answered; new calls get the new one."""
    base, opened = gated
    half_plus(tmp_path / "new", 3.0)
    with serving(Model("g", base)) as client:
        held = client.predict_future("g", {"x": floats(7)})
        wait_for(lambda: _entered(opened))
        _appear(tmp_path / "new", base / "2")
        wait_for(lambda: _states(client, "g") == [(2, AVAILABLE), (1, UNLOADING)])
        assert client.predict("g", {"x": floats(2)}).model_spec.version.value == 2
        assert refusal(client.predict, spec("g", version=1), {"x": floats(2)}) == Refusal(
            "NOT_FOUND", "Servable not found for request: Specific(g, 1)"
        )
        opened.touch()
        reply = held.result()
        assert (reply.model_spec.version.value, array(reply.outputs["y"]).tolist()) == (1, [7])
        wait_for(lambda: _states(client, "g") == [(2, AVAILABLE), (1, END)])


def test_a_broken_version_changes_nothing_but_the_status(tmp_path: Path) -> None:
    """A version without a SavedModel ends with TensorFlow Serving's text while the one before serves on."""
    half_plus(tmp_path / "m" / "1")
    with serving(Model("m", tmp_path / "m")) as client:
        (tmp_path / "m" / "2").mkdir()
        wait_for(lambda: _states(client, "m") == [(2, END), (1, AVAILABLE)])
        broken = client.status(spec("m", version=2)).model_version_status[0].status
        assert broken.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        assert broken.error_message == (
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called"
            f" `saved_model.pb`)\nSpecified file path: {tmp_path / 'm' / '2'}"
        )
        assert client.predict("m", {"x": floats(2)}).model_spec.version.value == 1


def test_a_half_copied_version_fails_to_load(tmp_path: Path) -> None:
    """A version whose variables are missing ends with an error instead of failing each call."""
    half_plus(tmp_path / "m" / "1")
    half_plus(tmp_path / "half")
    (tmp_path / "half" / "variables" / "variables.index").unlink()
    with serving(Model("m", tmp_path / "m")) as client:
        _appear(tmp_path / "half", tmp_path / "m" / "2")
        wait_for(lambda: _states(client, "m") == [(2, END), (1, AVAILABLE)])


def test_an_emptied_base_path_unloads_the_model(tmp_path: Path) -> None:
    """When the last version folder goes, calls are NOT_FOUND, and the status still lists the version."""
    half_plus(tmp_path / "m" / "1")
    with serving(Model("m", tmp_path / "m")) as client:
        shutil.rmtree(tmp_path / "m" / "1")
        wait_for(lambda: _states(client, "m") == [(1, END)])
        assert refusal(client.predict, "m", {"x": floats(1)}) == Refusal(
            "NOT_FOUND", "Servable not found for request: Latest(m)"
        )


def test_one_call_too_many_is_refused(gated: tuple[Path, Path]) -> None:
    """With every thread taken, a call gets RESOURCE_EXHAUSTED at once instead of waiting in line."""
    base, opened = gated
    with serving(Model("g", base), listen=Listen(port=None, max_threads=1)) as client:
        held = client.predict_future("g", {"x": floats(1)})
        wait_for(lambda: _entered(opened))
        assert refusal(client.predict, "g", {"x": floats(1)}).code == "RESOURCE_EXHAUSTED"
        opened.touch()
        assert array(held.result().outputs["y"]).tolist() == [1]


def test_a_deadline_ends_the_run(gated: tuple[Path, Path]) -> None:
    """The caller's deadline stops the run: the version can be unloaded although nobody opens the gate."""
    base, opened = gated
    with serving(Model("g", base)) as client:
        held = client.predict_future("g", {"x": floats(1)}, timeout_s=10)
        wait_for(lambda: _entered(opened))
        with pytest.raises(grpc.RpcError) as caught:
            held.result()
        assert refused(caught.value).code == "DEADLINE_EXCEEDED"
        shutil.rmtree(base / "1")
        wait_for(lambda: _states(client, "g") == [(1, END)])


def test_wrong_batching_sizes_fail_the_load(tmp_path: Path) -> None:
    """Allowed sizes that do not end in the largest batch stop the start with TensorFlow Serving's text."""
    half_plus(tmp_path / "m" / "1")
    batching = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 4), num_batch_threads=1)
    with pytest.raises(RiverlensError) as caught, serving(Model("m", tmp_path / "m"), batching=batching):
        pass
    assert str(caught.value).startswith(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: m version:"
        " 1} due to error: INVALID_ARGUMENT: Last entry in allowed_batch_sizes must match max_batch_size;"
        " last entry was 4; expected 8}, }"
    )


def test_a_broken_only_version_stops_the_start(tmp_path: Path) -> None:
    """A server none of whose versions loads says so and does not listen."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    with (
        pytest.raises(RiverlensError, match=r"1 servable\(s\) did not become available"),
        serving(Model("m", tmp_path / "m")),
    ):
        pass


def test_the_start_waits_for_a_base_path_and_can_be_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing base path is waited for, with a reason in the log, until it is there or SIGTERM comes."""
    stopping = threading.Event()
    models = Model("there", tmp_path / "m"), Model("never", tmp_path / "never")
    server = Server(ServerOptions(models, Listen(port=None), QUICK), stopping)
    caplog.set_level("INFO")
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        stack.callback(stopping.set)
        port = pool.submit(server.start)
        wait_for(lambda: f"Could not find base path {tmp_path / 'm'} for servable there" in caplog.text)
        half_plus(tmp_path / "new")
        (tmp_path / "m").mkdir()
        _appear(tmp_path / "new", tmp_path / "m" / "1")
        wait_for(lambda: "loaded there version 1" in caplog.text)
        stopping.set()
        assert port.result() is None
    assert server.stop()


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    """A port that another process has is told with the flag that mends it."""
    half_plus(tmp_path / "m" / "1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Listen(port=taken.getsockname()[1])
        with (
            pytest.raises(SetupError, match="choose others with --port and --bind_address"),
            serving(Model("m", tmp_path / "m"), listen=listen),
        ):
            pass


def test_sigterm_lets_calls_in_flight_finish(gated: tuple[Path, Path], tmp_path: Path) -> None:
    """After SIGTERM no new call is taken, the one in flight is answered, and the exit code is 0."""
    base, opened = gated
    port_file, log = tmp_path / "port", tmp_path / "log"
    process = model_servers.start(
        log, "--model_name=g", f"--model_base_path={base}", f"--port_file={port_file}"
    )
    with ExitStack() as stack:
        stack.callback(model_servers.stop, process)
        running = model_servers.wait_ready(process, log)
        assert running.address == f"127.0.0.1:{port_file.read_text().strip()}"
        client = stack.enter_context(Client(running.address))
        held = client.predict_future("g", {"x": floats(5)})
        wait_for(lambda: _entered(opened))
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: "draining" in log.read_text())
        with Client(running.address) as late:
            assert refusal(late.predict, "g", {"x": floats(1)}).code == "UNAVAILABLE"
        opened.touch()
        assert array(held.result().outputs["y"]).tolist() == [5]
        assert process.wait() == 0
    assert "Traceback" not in log.read_text()
