"""Classify, Regress and MultiInference on tf.Examples, with TensorFlow Serving's checks."""

from __future__ import annotations

from typing import Any

import pytest
from tensorflow_serving.apis import input_pb2

from tests.contract.client import Client, Refusal, example, examples, refusal, spec

INVALID = "INVALID_ARGUMENT"
TWO = examples(example(x=2.0), example(x=4.0))


def _classes(result: Any) -> list[list[tuple[str, float]]]:
    return [[(entry.label, entry.score) for entry in row.classes] for row in result.classifications]


def test_classify_gives_labels_with_scores(client: Client) -> None:
    """Each example gets each class's label and score; the reply names the version and the signature."""
    reply = client.classify(spec("examples", signature="both"), TWO)
    assert _classes(reply.result) == [[("half", 3), ("all", 2)], [("half", 4), ("all", 4)]]
    assert reply.model_spec == spec("examples", version=1, signature="both")


def test_classify_without_labels_leaves_them_empty(client: Client) -> None:
    """A signature of scores alone gives classes without labels."""
    reply = client.classify(spec("examples", signature="scores"), TWO)
    assert _classes(reply.result) == [[("", 3), ("", 2)], [("", 4), ("", 4)]]


def test_no_signature_name_means_serving_default(client: Client) -> None:
    """An empty signature name is `serving_default`, and comes back as that."""
    assert client.classify(spec("examples"), TWO).model_spec.signature_name == "serving_default"


def test_regress_gives_a_value_each(client: Client) -> None:
    """Each example gets its value."""
    reply = client.regress(spec("examples", signature="regress"), TWO)
    assert [entry.value for entry in reply.result.regressions] == [3, 4]
    assert reply.model_spec == spec("examples", version=1, signature="regress")


def test_a_context_is_shared_by_all_examples(client: Client) -> None:
    """Features of the context stand in every example that does not have its own."""
    both = input_pb2.ExampleListWithContext(context=example(x=6.0), examples=[example(), example(x=2.0)])
    reply = client.regress(
        spec("examples", signature="regress"), input_pb2.Input(example_list_with_context=both)
    )
    assert [entry.value for entry in reply.result.regressions] == [5, 3]


def test_several_signatures_answer_in_one_call(client: Client) -> None:
    """MultiInference runs classify and regress on the same examples and answers task by task."""
    tasks = [
        (spec("examples", signature="both"), "classify"),
        (spec("examples", signature="regress"), "regress"),
    ]
    first, second = client.multi_inference(tasks, TWO).results
    assert _classes(first.classification_result)[0] == [("half", 3), ("all", 2)]
    assert [entry.value for entry in second.regression_result.regressions] == [3, 4]
    assert second.model_spec == spec("examples", version=1, signature="regress")


CLASSIFY_REFUSALS: list[Any] = [
    pytest.param(None, TWO, Refusal(INVALID, "Missing ModelSpec"), id="no-model-spec"),
    pytest.param(spec(), TWO, Refusal(INVALID, "ModelSpec has no name specified."), id="no-name"),
    pytest.param(
        spec("unknown"),
        TWO,
        Refusal("NOT_FOUND", "Servable not found for request: Latest(unknown)"),
        id="unknown-model",
    ),
    pytest.param(
        spec("examples", signature="other"),
        TWO,
        Refusal(INVALID, "No signature was found with the name: other"),
        id="unknown-signature",
    ),
    pytest.param(
        spec("two_inputs", signature="add"),
        TWO,
        Refusal(INVALID, "Expected one input Tensor."),
        id="two-inputs",
    ),
    pytest.param(
        spec("detector", signature="encoded_image_string"),
        TWO,
        Refusal(INVALID, "Expected one or two output Tensors, found 4"),
        id="four-outputs",
    ),
    pytest.param(spec("examples"), examples(), Refusal(INVALID, "Input is empty."), id="no-examples"),
    pytest.param(spec("examples"), None, Refusal(INVALID, "Input is empty."), id="no-input"),
]


@pytest.mark.parametrize(("model", "given", "expected"), CLASSIFY_REFUSALS)
def test_classify_refusal(client: Client, model: Any, given: Any, expected: Refusal) -> None:
    """Each bad Classify gets TensorFlow Serving's code and text."""
    assert refusal(client.classify, model, given) == expected


@pytest.mark.parametrize(
    ("method", "signature", "start"),
    [
        ("classify", "half_plus_two", "No classification inputs found in SignatureDef: inputs {"),
        ("regress", "half_plus_two", "No regression inputs found in SignatureDef: inputs {"),
        (
            "classify",
            "examples:regress",
            (
                'Expected classification signature outputs to contain at least one of "classes" or "scores".'
                " Signature was: inputs {"
            ),
        ),
        ("regress", "examples:scores", "No regression outputs found in SignatureDef: inputs {"),
        ("regress", "examples:both", "Expected one output Tensor."),
        (
            "regress",
            "examples:wide",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
        ),
    ],
)
def test_a_signature_of_another_kind_is_quoted(
    client: Client, method: str, signature: str, start: str
) -> None:
    """A signature that cannot classify or regress is refused with what it is."""
    model, _, name = signature.partition(":")
    got = refusal(getattr(client, method), spec(model, signature=name), TWO)
    assert (got.code, got.message[: len(start)]) == (INVALID, start)


def test_a_missing_feature_is_the_parsers_refusal(client: Client) -> None:
    """An example without a required feature fails in the graph, with the kernel's text."""
    got = refusal(client.classify, spec("examples"), examples(example(y=1.0)))
    assert got.code == INVALID
    assert "Feature: x (data type: float) is required but could not be found" in got.message


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([], Refusal(INVALID, "ModelSpec has no name specified.")),
        (
            [(spec("examples"), "classify"), (spec(), "classify")],
            Refusal(INVALID, "Found ModelSpec with an empty model name."),
        ),
        (
            [(spec("examples"), "classify"), (spec("half_plus_two"), "classify")],
            Refusal(INVALID, "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        ),
        (
            [(spec("examples"), "classify")] * 2,
            Refusal(INVALID, "Duplicate evaluation of signature: serving_default"),
        ),
        (
            [(spec("examples", signature="other"), "classify")],
            Refusal(INVALID, "Requested signature not found in model graph: other"),
        ),
        (
            [(spec("examples"), "predict")],
            Refusal("UNIMPLEMENTED", "Unsupported signature method_name: tensorflow/serving/predict"),
        ),
    ],
)
def test_multi_inference_refusal(client: Client, tasks: Any, expected: Refusal) -> None:
    """Each bad MultiInference gets TensorFlow Serving's code and text."""
    assert refusal(client.multi_inference, tasks, TWO) == expected
