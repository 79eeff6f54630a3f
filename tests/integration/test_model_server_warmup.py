"""What happens before a version answers: warm-up requests, and how its session is set up."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from riverlens.errors import RiverlensError
from riverlens_serving.server import Server
from tests.contract.client import Client, array, example, examples, floats, predict_request
from tests.model_servers import address, start_inside
from tests.models import examples as examples_model
from tests.models import half_plus

Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers in this process by their flags. Stopped at the end."""
    with ExitStack() as stack:
        yield partial(start_inside, stack)


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
    page = _page(server, "/metrics")
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


def _page(server: Server, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_a_session_config_file_is_taken(tmp_path: Path, serve: Serve) -> None:
    """A ConfigProto text sets up the sessions; a wrong one is named."""
    half_plus(tmp_path / "a" / "1")
    config = tmp_path / "session.config"
    config.write_text("intra_op_parallelism_threads: 1")
    base = f"--model_base_path={tmp_path / 'a'}"
    with Client(address(serve(base, f"--tensorflow_session_config_file={config}"))) as client:
        assert array(client.predict("default", {"x": floats(2)}).outputs["y"]).tolist() == [3]
    config.write_text("no such field: 1")
    with pytest.raises(RiverlensError, match="--tensorflow_session_config_file: Invalid protobuf file"):
        serve(base, f"--tensorflow_session_config_file={config}")
