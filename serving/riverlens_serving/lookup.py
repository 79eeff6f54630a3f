"""From a request's ModelSpec to the version that answers it, with TensorFlow Serving's refusals."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from riverlens_serving.registry import Held, Registry
from riverlens_serving.status import invalid

MISSING_MODEL_SPEC = "Missing ModelSpec"


def hold(registry: Registry, model_spec: Any) -> AbstractContextManager[Held]:
    """Hold the servable that `model_spec` names: a given version, or the highest ready one.

    A label is looked up before the model, so an unknown label hides an unknown model.

    Raises:
        ServingError: no name, an unknown label; on entering, an unknown model or version.
    """
    if not model_spec.name:
        raise invalid("ModelSpec has no name specified.")
    choice = model_spec.WhichOneof("version_choice")
    if choice == "version_label":
        return registry.hold(model_spec.name, registry.labelled(model_spec.name, model_spec.version_label))
    return registry.hold(model_spec.name, model_spec.version.value if choice == "version" else None)
