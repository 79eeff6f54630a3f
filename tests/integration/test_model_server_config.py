"""What the embedded server is told: labels, a config that changes, TLS, sockets, warm-up, HTTP."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from riverlens.errors import RiverlensError, SetupError
from riverlens_serving import flags
from riverlens_serving.server import Server
from tests.contract.client import (
    Client,
    Refusal,
    array,
    example,
    examples,
    floats,
    predict_request,
    refusal,
    spec,
)
from tests.model_servers import wait_for
from tests.models import examples as examples_model
from tests.models import gate, half_plus, write_model_config

AVAILABLE, END = 30, 50
QUICK = ("--port=auto", "--file_system_poll_wait_seconds=0.05", "--max_num_load_retries=0")
Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers in this process by their flags. Stopped at the end."""
    with ExitStack() as stack:

        def start(*argv: str) -> Server:
            options = flags.parse((*QUICK, *argv), "serve")
            assert options is not None
            server = Server(options, threading.Event())
            stack.callback(server.stop)
            server.start()
            return server

        yield start


@pytest.fixture
def connect(serve: Serve) -> Iterator[Callable[..., Client]]:
    """Starts a server by its flags and gives a client of it."""
    with ExitStack() as stack:
        yield lambda *argv: stack.enter_context(Client(_address(serve(*argv))))


def _address(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


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


def _certificates(folder: Path) -> tuple[str, str]:
    """A key and a certificate of its own authority, for 127.0.0.1."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return key.read_text(), certificate.read_text()


@pytest.mark.parametrize("verify", [False, True])
def test_tls(tmp_path: Path, serve: Serve, verify: bool) -> None:  # noqa: FBT001  # a column
    """With an SSLConfig only TLS is answered, and with client_verify only clients with a certificate."""
    key, certificate = _certificates(tmp_path)
    config = tmp_path / "ssl.config"
    lines = {"server_key": key, "server_cert": certificate, "custom_ca": certificate}
    config.write_text(
        "".join(f"{name}: {json.dumps(text)}\n" for name, text in lines.items())
        + f"client_verify: {str(verify).lower()}\n"
    )
    half_plus(tmp_path / "a" / "1")
    server = serve("--model_name=a", f"--model_base_path={tmp_path / 'a'}", f"--ssl_config_file={config}")
    address = _address(server)

    def outcome(credentials: grpc.ChannelCredentials) -> str:
        with grpc.secure_channel(address, credentials) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                stub.Predict(predict_request("a", {"x": floats(1)}), 10)
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

    authority = certificate.encode()
    assert outcome(grpc.ssl_channel_credentials(authority)) == ("UNAVAILABLE" if verify else "OK")
    assert outcome(grpc.ssl_channel_credentials(authority, key.encode(), authority)) == "OK"
    with Client(address) as plain:
        assert refusal(plain.predict, "a", {"x": floats(1)}).code == "UNAVAILABLE"


def test_a_unix_socket_answers_too(tmp_path: Path, serve: Serve) -> None:
    """`--grpc_socket_path` is a second way in."""
    half_plus(tmp_path / "a" / "1")
    path = tmp_path / "s"
    serve("--model_name=a", f"--model_base_path={tmp_path / 'a'}", f"--grpc_socket_path={path}")
    with Client(f"unix:{path}") as client:
        assert array(client.predict("a", {"x": floats(2)}).outputs["y"]).tolist() == [3]


def _write_warmup(folder: Path, *logs: Any) -> None:
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log if isinstance(log, bytes) else log.SerializeToString())


def _log(kind: str, request: Any) -> Any:
    log = prediction_log_pb2.PredictionLog()
    getattr(log, f"{kind}_log").request.CopyFrom(request)
    return log


def _classify_request(method: str) -> Any:
    log = prediction_log_pb2.PredictionLog()
    request = getattr(log, f"{method}_log").request
    request.model_spec.name = "m"
    request.model_spec.signature_name = {"classify": "both", "regress": "regress"}[method]
    request.input.CopyFrom(examples(example(x=1.0)))
    return log


def test_warmup_requests_are_replayed_before_a_version_answers(tmp_path: Path, serve: Serve) -> None:
    """Each kind of request in the file runs as often as asked, before anybody's call does."""
    folder = examples_model(tmp_path / "m" / "1")
    _write_warmup(folder, _classify_request("classify"), _classify_request("regress"))
    server = serve(
        "--model_name=m",
        f"--model_base_path={tmp_path / 'm'}",
        "--num_request_iterations_for_warmup=3",
        "--rest_api_port=auto",
        f"--monitoring_config_file={_monitoring(tmp_path)}",
    )
    page = _get(server, "/metrics")[1].decode()
    assert ":tensorflow:core:graph_runs{} 6" in page
    assert f':tensorflow:serving:model_warmup_records_read{{model_path="{folder}",status="OK"}} 2' in page


@pytest.mark.parametrize(
    ("logs", "text"),
    [
        ([_log("predict", predict_request("m", {"x": floats(1)}))], "Serving signature key"),
        ([b"\xff"], "Failed to parse warmup record"),
        ([_classify_request("classify")] * 1001, r"exceeds the maximum \(1000\)"),
    ],
    ids=["a-request-fails", "no-prediction-log", "too-many"],
)
def test_a_failing_warmup_fails_the_load(tmp_path: Path, serve: Serve, logs: list[Any], text: str) -> None:
    """A warm-up request that fails, or a file that is none, keeps the version from being served."""
    folder = examples_model(tmp_path / "m" / "1")
    if "key" in text:
        logs[0].predict_log.request.model_spec.signature_name = "nobody"
    _write_warmup(folder, *logs)
    with pytest.raises(RiverlensError, match=text):
        serve("--model_name=m", f"--model_base_path={tmp_path / 'm'}")


def test_a_warmup_file_that_is_no_tfrecord_fails_the_load(tmp_path: Path, serve: Serve) -> None:
    """Other bytes are told as what they are."""
    folder = half_plus(tmp_path / "m" / "1")
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    path.write_bytes(b"no record" * 10)
    with pytest.raises(RiverlensError, match="Please verify your warmup data is in TFRecord format"):
        serve("--model_name=m", f"--model_base_path={tmp_path / 'm'}")


def _monitoring(folder: Path) -> Path:
    path = folder / "monitoring.config"
    path.write_text('prometheus_config { enable: true path: "/metrics" }')
    return path


def _get(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply, body


def test_cors_headers_where_asked_for(tmp_path: Path, serve: Serve) -> None:
    """With CORS on, a browser's preflight is answered and each reply carries the headers."""
    half_plus(tmp_path / "a" / "1")
    server = serve(
        f"--model_base_path={tmp_path / 'a'}", "--rest_api_port=auto", "--rest_api_enable_cors_support"
    )
    preflight, _ = _get(server, "/v1/models/default:predict", "OPTIONS", Origin="https://example.org")
    assert (preflight.status, preflight.getheader("Access-Control-Allow-Origin")) == (200, "*")
    assert _get(server, "/v1/models/default")[0].getheader("Access-Control-Allow-Methods") == "POST, GET"
    refused, body = _get(server, "/v1/models/default:predict", "OPTIONS")
    assert refused.status == 400
    assert json.loads(body) == {"error": "Origin header is missing in CORS preflight"}


def test_http_drains_too(tmp_path: Path, serve: Serve) -> None:
    """A stop lets an HTTP request in flight finish and closes its connection; no new one is taken."""
    opened = tmp_path / "opened"
    gate(tmp_path / "g" / "1", opened)
    server = serve("--model_name=g", f"--model_base_path={tmp_path / 'g'}", "--rest_api_port=auto")
    port = server.rest_port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/v1/models/g:predict", json.dumps({"instances": [5]}))
    wait_for(lambda: opened.with_suffix(".entered").exists())
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(server.stop)
        wait_for(lambda: _is_refused(port))
        opened.touch()
        reply = connection.getresponse()
        assert json.loads(reply.read()) == {"predictions": [5.0]}
        assert reply.getheader("Connection") == "close"
        assert stopped.result()


def _is_refused(port: int | None) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    connection.close()
    return False


def test_a_taken_http_port_is_one_clear_line(tmp_path: Path, serve: Serve) -> None:
    """A port that another server has is told with the flag that mends it."""
    half_plus(tmp_path / "a" / "1")
    flag = f"--model_base_path={tmp_path / 'a'}"
    taken = serve(flag, "--rest_api_port=auto").rest_port
    with pytest.raises(SetupError, match="choose another with --rest_api_port"):
        serve(flag, f"--rest_api_port={taken}")


def test_a_session_config_file_is_taken(tmp_path: Path, connect: Callable[..., Client]) -> None:
    """A ConfigProto text sets up the sessions; a wrong one is named."""
    half_plus(tmp_path / "a" / "1")
    config = tmp_path / "session.config"
    config.write_text("intra_op_parallelism_threads: 1")
    base = f"--model_base_path={tmp_path / 'a'}"
    client = connect(base, f"--tensorflow_session_config_file={config}")
    assert array(client.predict("default", {"x": floats(2)}).outputs["y"]).tolist() == [3]
    config.write_text("no such field: 1")
    with pytest.raises(RiverlensError, match="--tensorflow_session_config_file: Invalid protobuf file"):
        connect(base, f"--tensorflow_session_config_file={config}")
