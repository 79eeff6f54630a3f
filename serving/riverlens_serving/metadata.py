"""GetModelMetadata and GetModelStatus."""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from riverlens_serving import lookup
from riverlens_serving.registry import Registry, VersionStatus
from riverlens_serving.status import Code, ServingError, cut, invalid

_SIGNATURE_DEF = "signature_def"


def get_model_metadata(request: Any, registry: Registry) -> Any:
    """The GetModelMetadataResponse: every signature of the version, unfiltered.

    Raises:
        ServingError: no ModelSpec, no or an unknown field, or what `lookup.hold` raises, checked in this
        order.
    """
    if not request.HasField("model_spec"):
        raise invalid(lookup.MISSING_MODEL_SPEC)
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != _SIGNATURE_DEF:
            raise invalid(f"Metadata field {field} is not supported")
    with lookup.hold(registry, request.model_spec) as held:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for key, signature in held.servable.signature_defs.items():
            signatures.signature_def[key].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = held.version
        response.metadata[_SIGNATURE_DEF].Pack(signatures)
        return response


def get_model_status(request: Any, registry: Registry) -> Any:
    """The GetModelStatusResponse: each version ever seen, highest first, or the one asked for.

    A `version_label` is ignored, and an empty name is a model like any other, as in TensorFlow Serving.

    Raises:
        ServingError: no ModelSpec; a model or version that was never seen.
    """
    if not request.HasField("model_spec"):
        raise invalid(lookup.MISSING_MODEL_SPEC)
    spec = request.model_spec
    statuses = registry.statuses(spec.name)
    if spec.HasField("version"):
        version = spec.version.value
        statuses = [status for status in statuses if status.version == version]
        if not statuses:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {spec.name}")
    if not statuses:
        raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
    return get_model_status_pb2.GetModelStatusResponse(model_version_status=map(_version_status, statuses))


def _version_status(status: VersionStatus) -> Any:
    message = get_model_status_pb2.ModelVersionStatus(version=status.version, state=int(status.state))
    # Set even for OK: clients read it without asking whether it is there.
    message.status.SetInParent()
    if status.error is not None:
        message.status.error_code = int(status.error.code)
        message.status.error_message = cut(status.error.message)
    return message
