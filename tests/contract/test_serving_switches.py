"""What changes with TensorFlow Serving's switches: method names, tensor_content, health, metrics."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.contract.client import Client, Refusal, array, example, examples, floats, refusal, refused, spec
from tests.contract.rest_client import RestClient

PAGE = "/monitoring/prometheus/metrics"
ONE = examples(example(x=2.0))


@pytest.mark.row("check 14")
def test_other_method_names_are_refused_by_predict(strict_client: Client) -> None:
    """With the check on, Predict takes the three method names of TensorFlow Serving and no other."""
    got = refusal(strict_client.predict, spec("examples", signature="custom"), {})
    assert got == Refusal(
        "INTERNAL",
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict,"
        " tensorflow/serving/classify, tensorflow/serving/regress}. Was: tensorflow/serving/custom",
    )


@pytest.mark.parametrize(("method", "kind"), [("classify", "classification"), ("regress", "regression")])
def test_other_method_names_are_refused_by_classify_and_regress(
    strict_client: Client, method: str, kind: str
) -> None:
    """With the check on, each takes its own method name only."""
    got = refusal(getattr(strict_client, method), spec("examples", signature="custom"), ONE)
    assert got == Refusal(
        "INVALID_ARGUMENT",
        f"Expected {kind} signature method_name to be tensorflow/serving/{method}. Was:"
        " tensorflow/serving/custom",
    )


def test_without_the_check_a_fitting_signature_of_any_name_answers(client: Client) -> None:
    """Off, the method name is not looked at."""
    reply = client.regress(spec("examples", signature="custom"), ONE)
    assert [entry.value for entry in reply.result.regressions] == [3]


def test_replies_in_tensor_content(strict_client: Client) -> None:
    """With the switch on, numbers come back as bytes."""
    reply = strict_client.predict("half_plus_two", {"x": floats(1, 2)}).outputs["y"]
    assert [descriptor.name for descriptor, _ in reply.ListFields()] == [
        "dtype", "tensor_shape", "tensor_content",
    ]  # fmt: skip
    assert array(reply).tolist() == [2.5, 3]


def _check(client: Client, name: str) -> bytes:
    request = b"\x0a" + bytes([len(name)]) + name.encode() if name else b""
    call: Any = client.channel.unary_unary("/grpc.health.v1.Health/Check")
    reply: bytes = call(request, timeout=10)
    return reply


def test_health_knows_the_server_and_its_services(client: Client) -> None:
    """The whole server and the services' short names are SERVING; nothing else is known."""
    for name in ("", "ModelService", "PredictionService"):
        assert _check(client, name) == b"\x08\x01"
    for name in ("tensorflow.serving.PredictionService", "x" * 127):
        with pytest.raises(grpc.RpcError) as caught:
            _check(client, name)
        assert refused(caught.value).code == "NOT_FOUND"


def test_health_is_off_unless_asked_for(strict_client: Client) -> None:
    """Without the flag the service is UNIMPLEMENTED."""
    with pytest.raises(grpc.RpcError) as caught:
        _check(strict_client, "")
    assert refused(caught.value).code == "UNIMPLEMENTED"


def _value(page: str, name: str) -> float:
    lines = [line for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].removeprefix(name)) if lines else 0.0


COUNTED = [
    ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"}',
    (
        ':tensorflow:serving:request_latency_bucket{model_name="half_plus_two",API="Predict",'
        'entrypoint="GRPC",le="+Inf"}'
    ),
    ':tensorflow:serving:request_latency_count{model_name="half_plus_two",API="Predict",entrypoint="GRPC"}',
    ':tensorflow:serving:runtime_latency_count{model_name="half_plus_two",API="Predict",runtime="TF1"}',
    ":tensorflow:core:graph_runs{}",
]


def test_metrics_count_requests(client: Client, rest: RestClient) -> None:
    """A Predict raises the counts under TensorFlow Serving's names and labels."""
    before = rest.get(PAGE).body.decode()
    client.predict("half_plus_two", {"x": floats(1)})
    after = rest.get(PAGE)
    assert after.content_type == "text/plain"
    for name in COUNTED:
        assert _value(after.body.decode(), name) == _value(before, name) + 1, name


def test_metrics_count_refusals_by_what_was_asked(client: Client, rest: RestClient) -> None:
    """A refused request is counted under its status and the name that it asked for, and is not timed."""
    refusal(client.predict, "nobody", {})
    page = rest.get(PAGE).body.decode()
    assert _value(page, ':tensorflow:serving:request_count{model_name="nobody",status="NOT_FOUND"}') >= 1
    assert 'request_latency_count{model_name="nobody"' not in page


def test_metrics_have_tensorflow_servings_buckets(client: Client, rest: RestClient) -> None:
    """Latencies fall into 33 buckets from 10 us by 1.8, and one above them."""
    client.predict("half_plus_two", {"x": floats(1)})
    labels = 'model_name="half_plus_two",API="Predict",entrypoint="GRPC"'
    head = f":tensorflow:serving:request_latency_bucket{{{labels},"
    limits = [
        line.removeprefix(f'{head}le="').partition('"')[0]
        for line in rest.get(PAGE).body.decode().splitlines()
        if line.startswith(head)
    ]
    assert limits[:4] == ["10", "18", "32.4", "58.32"]
    assert limits[-2:] == ["1.47476e+09", "+Inf"]
    assert len(limits) == 34
