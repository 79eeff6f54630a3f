"""A checked request on one loaded version: prepare, run, read. No transport, no look-up.

Used by gRPC, by HTTP and by the replay of warm-up requests, so that all three are refused alike.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from riverlens_serving import examples, prediction
from riverlens_serving.config import PredictOptions
from riverlens_serving.examples import CLASSIFY, REGRESS
from riverlens_serving.metrics import Metrics
from riverlens_serving.prediction import Call
from riverlens_serving.servable import Servable
from riverlens_serving.status import Code, ServingError, invalid
from riverlens_serving.tensors import Array

_RUNTIME = "TF1"


class Inference:
    """The methods of PredictionService on a `Servable`. `timeout_ms <= 0`: none.

    Every method raises ServingError with the status for the caller.
    """

    def __init__(self, options: PredictOptions, metrics: Metrics) -> None:
        self.options = options
        self._metrics = metrics

    def predict(self, servable: Servable, version: int, request: Any, timeout_ms: int) -> bytes:
        """A PredictRequest to a serialized PredictResponse."""
        name = request.model_spec.name
        call = prediction.prepare(request, servable, self.options)
        outputs = self.run(servable, name, call, timeout_ms)
        as_content = self.options.reply_as_content
        return prediction.reply(name, version, call, outputs, servable, as_content=as_content)

    def run(self, servable: Servable, model_name: str, call: Call, timeout_ms: int) -> list[Array]:
        """Run a prepared Predict, timed under the model's name."""
        return self._run(servable, (model_name, "Predict"), call.feeds, call.fetches, timeout_ms)

    def classify(self, servable: Servable, version: int, request: Any, timeout_ms: int) -> Any:
        """A ClassificationRequest to a ClassificationResponse."""
        result = self._on_examples(servable, request, CLASSIFY, timeout_ms)
        response = classification_pb2.ClassificationResponse(result=result)
        _fill_spec(response.model_spec, request.model_spec, version)
        return response

    def regress(self, servable: Servable, version: int, request: Any, timeout_ms: int) -> Any:
        """A RegressionRequest to a RegressionResponse."""
        result = self._on_examples(servable, request, REGRESS, timeout_ms)
        response = regression_pb2.RegressionResponse(result=result)
        _fill_spec(response.model_spec, request.model_spec, version)
        return response

    def _on_examples(self, servable: Servable, request: Any, method: str, timeout_ms: int) -> Any:
        spec = request.model_spec
        name = spec.signature_name or prediction.DEFAULT_SIGNATURE
        check = self.options.check_method_name
        signature = examples.signature(servable.signature_defs, name)
        call = examples.prepare(signature, method, check_method_name=check)
        batch = examples.serialized(request.input)
        api = "Classify" if method == CLASSIFY else "Regress"
        fetches = tuple(call.outputs.values())
        values = self._run(servable, (spec.name, api), {call.input_name: batch}, fetches, timeout_ms)
        self._count_examples(spec.name, len(batch))
        return examples.RESULTS[method](dict(zip(call.outputs, values, strict=True)), len(batch))

    def multi_inference(self, servable: Servable, version: int, request: Any, timeout_ms: int) -> Any:
        """A MultiInferenceRequest to a MultiInferenceResponse: several signatures in one run."""
        calls = [
            self._task(servable, task, request.tasks[:number]) for number, task in enumerate(request.tasks)
        ]
        batch = examples.serialized(request.input)
        fetches = tuple(sorted({name for call in calls for name in call.outputs.values()}))
        name = request.tasks[0].model_spec.name
        feeds = {call.input_name: batch for call in calls}
        values = self._run(servable, (name, "MultiInference"), feeds, fetches, timeout_ms)
        self._count_examples(name, len(batch))
        by_tensor = dict(zip(fetches, values, strict=True))
        response = inference_pb2.MultiInferenceResponse()
        for task, call in zip(request.tasks, calls, strict=True):
            outputs = {alias: by_tensor[tensor] for alias, tensor in call.outputs.items()}
            result = response.results.add()
            _fill_spec(result.model_spec, task.model_spec, version)
            part = examples.RESULTS[task.method_name](outputs, len(batch))
            if task.method_name == CLASSIFY:
                result.classification_result.CopyFrom(part)
            else:
                result.regression_result.CopyFrom(part)
        return response

    def _task(self, servable: Servable, task: Any, earlier: Sequence[Any]) -> examples.ExampleCall:
        spec = task.model_spec
        name = spec.signature_name or prediction.DEFAULT_SIGNATURE
        if not spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if any(other.model_spec.name != spec.name for other in earlier):
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if name in {other.model_spec.signature_name or prediction.DEFAULT_SIGNATURE for other in earlier}:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        if name not in servable.signature_defs:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name not in examples.RESULTS:
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        check = self.options.check_method_name
        return examples.prepare(servable.signature_defs[name], task.method_name, check_method_name=check)

    def _count_examples(self, model_name: str, count: int) -> None:
        self._metrics.example_counts.observe(count, model_name)
        self._metrics.example_count_total.add(model_name, by=count)

    def _run(
        self,
        servable: Servable,
        labels: tuple[str, str],
        feeds: Mapping[str, Array],
        fetches: Sequence[str],
        timeout_ms: int,
    ) -> list[Array]:
        started = time.perf_counter()
        outputs = servable.session.run(feeds, fetches, timeout_ms)
        elapsed_us = (time.perf_counter() - started) * 1e6
        self._metrics.runtime_latency.observe(elapsed_us, *labels, _RUNTIME)
        return outputs


def _fill_spec(target: Any, asked: Any, version: int) -> None:
    """The model that answered: its name, the version, the signature by its effective name, never a label."""
    target.name = asked.name
    target.version.value = version
    target.signature_name = asked.signature_name or prediction.DEFAULT_SIGNATURE
