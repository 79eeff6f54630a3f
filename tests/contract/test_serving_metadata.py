"""GetModelMetadata and GetModelStatus, row by row."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tensorflow.core.framework import types_pb2

from tests.contract.client import Client, Refusal, refusal, refused, spec

INVALID = "INVALID_ARGUMENT"
AVAILABLE = 30


def test_metadata_has_every_signature_and_the_version(client: Client) -> None:
    """The reply names the version but no signature, and holds all signatures, TF2's init operation too."""
    reply = client.metadata(spec("two_inputs"))
    assert reply.model_spec == spec("two_inputs", version=1)
    signatures = client.signatures(spec("two_inputs", version=1))
    assert set(signatures) == {"add", "again", "__saved_model_init_op"}
    assert signatures["add"].inputs["a"].dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in signatures["add"].inputs["a"].tensor_shape.dim] == [-1, 3]


METADATA_REFUSALS: list[Any] = [
    pytest.param(None, ["signature_def"], Refusal(INVALID, "Missing ModelSpec"), id="row-1"),
    pytest.param(
        spec("unknown"),
        [],
        Refusal(INVALID, "GetModelMetadataRequest must specify at least one metadata_field"),
        id="row-16-before-the-lookup",
    ),
    pytest.param(
        spec("unknown"), ["other"], Refusal(INVALID, "Metadata field other is not supported"), id="row-17"
    ),
    pytest.param(spec(), ["signature_def"], Refusal(INVALID, "ModelSpec has no name specified."), id="row-2"),
    pytest.param(
        spec("unknown"),
        ["signature_def"],
        Refusal("NOT_FOUND", "Servable not found for request: Latest(unknown)"),
        id="row-3",
    ),
    pytest.param(
        spec("echo", version=2),
        ["signature_def"],
        Refusal("NOT_FOUND", "Servable not found for request: Specific(echo, 2)"),
        id="row-4",
    ),
    pytest.param(
        spec("echo", label="canary"),
        ["signature_def"],
        Refusal(INVALID, "Unrecognized servable version label: canary"),
        id="row-5",
    ),
]


@pytest.mark.parametrize(("model", "fields", "expected"), METADATA_REFUSALS)
def test_metadata_refusal(client: Client, model: Any, fields: list[str], expected: Refusal) -> None:
    """Each bad GetModelMetadata gets TensorFlow Serving's code and text."""
    assert refusal(client.metadata, model, fields) == expected


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(spec("half_plus_two"), id="all"),
        pytest.param(spec("half_plus_two", version=1), id="one"),
        pytest.param(spec("half_plus_two", label="ignored"), id="row-19b-label-is-ignored"),
    ],
)
def test_status_of_a_loaded_model(client: Client, model: Any) -> None:
    """A loaded version is AVAILABLE with an OK status."""
    (version,) = client.status(model).model_version_status
    assert (version.version, version.state) == (1, AVAILABLE)
    assert version.HasField("status")
    assert (version.status.error_code, version.status.error_message) == (0, "")


STATUS_REFUSALS: list[Any] = [
    pytest.param(None, Refusal(INVALID, "Missing ModelSpec"), id="row-1"),
    pytest.param(
        spec("half_plus_two", version=7),
        Refusal("NOT_FOUND", "Could not find version 7 of model half_plus_two"),
        id="row-18",
    ),
    pytest.param(
        spec("unknown"), Refusal("NOT_FOUND", "Could not find any versions of model unknown"), id="row-19"
    ),
    pytest.param(
        spec(), Refusal("NOT_FOUND", "Could not find any versions of model "), id="row-19-empty-name"
    ),
]


@pytest.mark.parametrize(("model", "expected"), STATUS_REFUSALS)
def test_status_refusal(client: Client, model: Any, expected: Refusal) -> None:
    """Each bad GetModelStatus gets TensorFlow Serving's code and text."""
    assert refusal(client.status, model) == expected


def test_an_unknown_method_is_unimplemented(client: Client) -> None:
    """A method that no server has is UNIMPLEMENTED; the text is the gRPC library's own."""
    call: Any = client.channel.unary_unary("/tensorflow.serving.PredictionService/NoSuchMethod")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=10)
    assert refused(caught.value).code == "UNIMPLEMENTED"
