"""A configuration that changes while the embedded server runs: models, labels, reload requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.config import model_server_config_pb2

from riverlens.errors import RiverlensError
from riverlens_serving.server import Server
from tests.contract.client import Client, Refusal, array, floats, refusal, spec
from tests.model_servers import address, start_inside, wait_for
from tests.models import gate, half_plus, write_model_config

AVAILABLE, UNLOADING, END = 30, 40, 50
Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers in this process by their flags. Stopped at the end."""
    with ExitStack() as stack:
        yield partial(start_inside, stack)


@pytest.fixture
def connect(serve: Serve) -> Iterator[Callable[..., Client]]:
    """Starts a server by its flags and gives a client of it."""
    with ExitStack() as stack:
        yield lambda *argv: stack.enter_context(Client(address(serve(*argv))))


def _states(client: Client, model: str) -> list[tuple[int, int]]:
    try:
        versions = client.status(spec(model)).model_version_status
    except grpc.RpcError:
        return []
    return [(version.version, version.state) for version in versions]


def _two_models(folder: Path) -> None:
    half_plus(folder / "a" / "1", 2.0)
    half_plus(folder / "b" / "1", 3.0)


def _watched(folder: Path) -> tuple[str, str]:
    return f"--model_config_file={folder / 'models.config'}", "--model_config_file_poll_wait_seconds=0.05"


def test_the_config_file_is_followed(tmp_path: Path, connect: Callable[..., Client]) -> None:
    """A model that appears in the file is served, one that leaves is unloaded, one that returns is back."""
    _two_models(tmp_path)
    a, b = {"a": tmp_path / "a"}, {"b": tmp_path / "b"}
    write_model_config(tmp_path, a)
    client = connect(*_watched(tmp_path))
    write_model_config(tmp_path, b)
    wait_for(lambda: _states(client, "b") == [(1, AVAILABLE)] and _states(client, "a") == [(1, END)])
    assert refusal(client.predict, "a", {"x": floats(1)}).code == "NOT_FOUND"
    write_model_config(tmp_path, a | b)
    wait_for(lambda: _states(client, "a") == [(1, AVAILABLE)])
    assert array(client.predict("b", {"x": floats(1)}).outputs["y"]).tolist() == [3.5]


def test_a_slip_in_the_config_file_is_mended_by_its_next_text(
    tmp_path: Path, connect: Callable[..., Client]
) -> None:
    """A model whose base path is missing, or whose only version is broken, holds up no later change."""
    _two_models(tmp_path)
    (tmp_path / "broken" / "1").mkdir(parents=True)
    a = {"a": tmp_path / "a"}
    write_model_config(tmp_path, a)
    client = connect(*_watched(tmp_path), "--max_num_load_retries=5")
    write_model_config(tmp_path, a | {"b": tmp_path / "slip", "broken": tmp_path / "broken"})
    wait_for(lambda: bool(_states(client, "broken")))
    write_model_config(tmp_path, a | {"b": tmp_path / "b"})
    wait_for(lambda: _states(client, "b") == [(1, AVAILABLE)])


def test_a_model_that_returns_while_a_call_is_in_flight_holds_up_nothing(
    tmp_path: Path, connect: Callable[..., Client]
) -> None:
    """A model that left with a call in flight and is named again comes back after it; others come at once."""
    _two_models(tmp_path)
    opened = tmp_path / "opened"
    gate(tmp_path / "g" / "1", opened)
    a, b, g = ({name: tmp_path / name} for name in "abg")
    write_model_config(tmp_path, a | g)
    client = connect(*_watched(tmp_path))
    call = client.predict_future("g", {"x": floats(1)})
    wait_for(opened.with_suffix(".entered").exists)
    write_model_config(tmp_path, a)
    wait_for(lambda: _states(client, "g") == [(1, UNLOADING)])
    write_model_config(tmp_path, a | b | g)
    wait_for(lambda: _states(client, "b") == [(1, AVAILABLE)])
    assert _states(client, "g") == [(1, UNLOADING)]
    opened.touch()
    assert array(call.result().outputs["y"]).tolist() == [1]
    wait_for(lambda: _states(client, "g") == [(1, AVAILABLE)])


def test_labels_move_once_their_version_answers(tmp_path: Path, connect: Callable[..., Client]) -> None:
    """A label is given once its version is loaded, moves with the file, and goes when the file drops it."""
    for version in (1, 2):
        half_plus(tmp_path / "a" / str(version), 1.0 + version)
    models = {"a": tmp_path / "a"}
    both = "model_version_policy { all {} } "
    path = write_model_config(tmp_path, models)

    def write(labels: dict[str, int]) -> None:
        write_model_config(tmp_path, models, {"a": labels})
        text = path.read_text().replace("model_platform", both + "model_platform")
        beside = path.with_suffix(".both")
        beside.write_text(text)
        beside.rename(path)

    def labelled(name: str) -> int | None:
        try:
            reply = client.predict(spec("a", label=name), {"x": floats(1)})
        except grpc.RpcError:
            return None
        return int(reply.model_spec.version.value)

    write({})
    client = connect(*_watched(tmp_path))
    write({"stable": 1, "canary": 2})
    wait_for(lambda: labelled("stable") == 1 and labelled("canary") == 2)
    write({"stable": 2})
    wait_for(lambda: labelled("stable") == 2 and labelled("canary") is None)


def test_a_label_may_not_point_nowhere(tmp_path: Path, serve: Serve) -> None:
    """At the start no version answers yet: a label stops it, with the way out."""
    half_plus(tmp_path / "a" / "1")
    config = write_model_config(tmp_path, {"a": tmp_path / "a"}, {"a": {"stable": 1}})
    with pytest.raises(RiverlensError) as caught:
        serve(f"--model_config_file={config}")
    assert (
        "FAILED_PRECONDITION: Request to assign label to version 1 of model a, which is not currently"
        " available for inference; start without the label"
    ) in str(caught.value)
    serve(f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models")


def test_a_wrong_config_changes_nothing_but_the_log(
    tmp_path: Path, connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    """A config file that cannot be read, or a label that may not move, leaves what is served as it is."""
    half_plus(tmp_path / "a" / "1")
    path = write_model_config(tmp_path, {"a": tmp_path / "a"})
    client = connect(*_watched(tmp_path))
    path.write_text("improperly formatted file")
    wait_for(lambda: "not applied: --model_config_file" in caplog.text)
    write_model_config(tmp_path, {"a": tmp_path / "a"}, {"a": {"next": 2}})
    wait_for(lambda: "Request to assign label to version 2" in caplog.text)
    assert _states(client, "a") == [(1, AVAILABLE)]


def _config(models: dict[str, Path]) -> Any:
    message = model_server_config_pb2.ModelServerConfig()
    for name, path in models.items():
        message.model_config_list.config.add(name=name, base_path=str(path), model_platform="tensorflow")
    return message


def test_a_reload_request_is_answered_when_new_models_are(
    tmp_path: Path, connect: Callable[..., Client]
) -> None:
    """HandleReloadConfigRequest replaces the models, waits for new ones, and tells how counters grew."""
    _two_models(tmp_path)
    client = connect("--model_name=a", f"--model_base_path={tmp_path / 'a'}")
    counter = "/tensorflow/cc/saved_model/load_attempt_count"
    reply = client.reload(_config({"b": tmp_path / "b"}), [counter, "/none"])
    assert reply.status.error_code == 0
    assert [(metric.name, metric.int64_value_increase) for metric in reply.metric] == [
        (counter, 0),
        ("/none", 0),
    ]
    assert array(client.predict("b", {"x": floats(1)}).outputs["y"]).tolist() == [3.5]
    wait_for(lambda: _states(client, "a") == [(1, END)])


def test_a_reload_request_that_is_wrong_is_refused(tmp_path: Path, connect: Callable[..., Client]) -> None:
    """No list, a relative path, and a model that does not load are refused; what was served is."""
    half_plus(tmp_path / "a" / "1")
    (tmp_path / "broken" / "1").mkdir(parents=True)
    a = {"a": tmp_path / "a"}
    client = connect("--model_name=a", f"--model_base_path={tmp_path / 'a'}")
    assert refusal(client.reload, model_server_config_pb2.ModelServerConfig()) == Refusal(
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently"
        " supported",
    )
    assert refusal(client.reload, _config({"a": Path("relative")})).code == "INVALID_ARGUMENT"
    got = refusal(client.reload, _config(a | {"broken": tmp_path / "broken"}))
    assert got.code == "UNKNOWN"
    assert got.message.startswith("1 servable(s) did not become available: {{{name: broken version: 1}")
    assert _states(client, "a") == [(1, AVAILABLE)]
