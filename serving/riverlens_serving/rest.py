"""TensorFlow Serving's HTTP API without its transport: method, path and body to a reply."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import orjson
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from riverlens_serving import (
    json_examples,
    json_replies,
    json_tensors,
    json_text,
    lookup,
    metadata,
    prediction,
)
from riverlens_serving.config import Rest
from riverlens_serving.inference import Inference
from riverlens_serving.metrics import Metrics
from riverlens_serving.registry import Registry
from riverlens_serving.services import defect
from riverlens_serving.status import Code, ServingError, invalid

_VERSION = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_CALL = re.compile(
    rf"/v1/models/(?P<model>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE | re.ASCII
)
_STATUS = re.compile(
    rf"/v1/models(?:/(?P<model>[^/:]+))?{_VERSION}(?:/(?P<part>metadata))?", re.IGNORECASE | re.ASCII
)
_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_INT64_MAX = 2**63 - 1

HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""How TensorFlow Serving's http_server.cc tells each status."""

_JSON = "application/json"
_NOT_FOUND_PAGE = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
)
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back over HTTP."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Request:
    """A request as far as its path tells. `model` and `api` label the metrics, whatever becomes of it."""

    model: str = ""
    api: str = ""
    part: str = ""
    spec: Any = field(default_factory=model_pb2.ModelSpec)


class RestApi:
    """`answer` each request. Safe to call from many threads."""

    def __init__(self, registry: Registry, inference: Inference, metrics: Metrics, options: Rest) -> None:
        self._registry = registry
        self._inference = inference
        self._metrics = metrics
        self._options = options

    def answer(self, method: str, path: str, body: bytes, origin: str = "") -> Reply:
        """The reply to one request. `path` without its query; `origin` is the header of that name."""
        if self._options.metrics_path is not None and path == self._options.metrics_path:
            return Reply(200, "text/plain", self._metrics.page().encode())
        if _API.fullmatch(path) is None:
            return Reply(404, "text/html", _NOT_FOUND_PAGE)
        headers = _CORS if self._options.cors else ()
        request = _Request()
        try:
            match = _route(method, path, request)
            with self._metrics.request(request.model, request.api, "REST"):
                reply = self._reply(method, path, body, origin, request, matched=match)
                return Reply(200, _JSON, reply, headers)
        except ServingError as error:
            refused = error
        except RecursionError:
            refused = invalid("JSON Parse error: nested too deeply")
        except Exception as error:  # noqa: BLE001  # every failure needs a status
            refused = defect(error)
        return Reply(HTTP_STATUS[refused.code], _JSON, json_replies.error(refused.message), headers)

    def _reply(
        self, method: str, path: str, body: bytes, origin: str, request: _Request, *, matched: bool
    ) -> bytes:
        if method == "OPTIONS":
            if "http://" in origin or "https://" in origin:
                return b""
            raise ServingError(Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight")
        match (method, request.api) if matched else ("", ""):
            case "POST", "predict":
                return self._predict(request.spec, body)
            case "POST", "classify":
                return self._classify(request.spec, body)
            case "POST", "regress":
                return self._regress(request.spec, body)
            case "GET", _:
                if not request.model:
                    raise invalid("Missing model name in request.")
                return (
                    self._metadata(request.spec) if request.part == "metadata" else self._status(request.spec)
                )
            case _:
                raise invalid(f"Malformed request: {method} {path}")

    def _predict(self, spec: Any, body: bytes) -> bytes:
        document = json_text.parse(body)
        spec.signature_name = _signature_name(document)
        with lookup.hold(self._registry, spec) as held:
            name = spec.signature_name or prediction.DEFAULT_SIGNATURE
            signature = held.servable.signature_defs.get(name)
            if signature is None:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            if not signature.inputs:
                raise invalid(f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}")
            types = {alias: int(signature.inputs[alias].dtype) for alias in sorted(signature.inputs)}
            has_booleans = b"true" in body or b"false" in body
            as_rows, arrays = _arrays(document, types, has_booleans=has_booleans)
            call = prediction.whole_call(name, signature, arrays, self._inference.options)
            outputs = self._inference.run(held.servable, spec.name, call, self._options.timeout_ms)
        by_alias = dict(zip(call.aliases, outputs, strict=True))
        return json_replies.rows(by_alias) if as_rows else json_replies.columns(by_alias)

    def _classify(self, spec: Any, body: bytes) -> bytes:
        document = json_text.parse(body)
        spec.signature_name = _signature_name(document)
        request = classification_pb2.ClassificationRequest(
            model_spec=spec, input=json_examples.to_input(document)
        )
        with lookup.hold(self._registry, spec) as held:
            response = self._inference.classify(
                held.servable, held.version, request, self._options.timeout_ms
            )
        return json_replies.classification(response.result)

    def _regress(self, spec: Any, body: bytes) -> bytes:
        document = json_text.parse(body)
        spec.signature_name = _signature_name(document)
        request = regression_pb2.RegressionRequest(model_spec=spec, input=json_examples.to_input(document))
        with lookup.hold(self._registry, spec) as held:
            response = self._inference.regress(held.servable, held.version, request, self._options.timeout_ms)
        return json_replies.regression(response.result)

    def _status(self, spec: Any) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        response = metadata.get_model_status(request, self._registry)
        shown = MessageToDict(response, always_print_fields_with_no_presence=True)
        return orjson.dumps(shown, option=orjson.OPT_INDENT_2)

    def _metadata(self, spec: Any) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=["signature_def"]
        )
        response = metadata.get_model_metadata(request, self._registry)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        shown = {
            "model_spec": _shown(response.model_spec),
            "metadata": {"signature_def": _shown(signatures)},
        }
        return orjson.dumps(shown, option=orjson.OPT_INDENT_2)


def _shown(message: Any) -> Any:
    return MessageToDict(message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True)


def _route(method: str, path: str, request: _Request) -> bool:
    """Fill in what the path tells; False where it is none of the API's."""
    pattern = {"POST": _CALL, "GET": _STATUS}.get(method)
    match = pattern.fullmatch(path) if pattern is not None else None
    if match is None:
        return False
    found = match.groupdict(default="")
    request.model = request.spec.name = unquote(found["model"], errors="replace")
    request.api = found.get("method", "")
    request.part = found.get("part", "")
    if found["version"]:
        version = int(found["version"])
        if version > _INT64_MAX:
            raise invalid(f"Failed to convert version: {found['version']} to numeric.")
        request.spec.version.value = version
    if found["label"]:
        request.spec.version_label = unquote(found["label"], errors="replace")
    return True


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise json_text.wrong(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def _arrays(
    document: dict[str, Any], types: dict[str, int], *, has_booleans: bool
) -> tuple[bool, dict[str, Any]]:
    """Whether the request is in rows, and its arrays by alias."""
    has_rows, has_columns = "instances" in document, "inputs" in document
    if has_rows and has_columns:
        raise json_text.wrong(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if has_rows:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise json_text.wrong(document, "Expecting 'instances' to be an list/array")
        if not rows:
            raise json_text.wrong(document, "No values in 'instances' array")
        return True, json_tensors.from_rows(rows, types, has_booleans=has_booleans)
    if has_columns:
        return False, json_tensors.from_columns(document["inputs"], types, has_booleans=has_booleans)
    raise invalid("Missing 'inputs' or 'instances' key")
