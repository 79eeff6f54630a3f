"""Preprocessing and `riverlens_info` around a TensorFlow 2 SavedModel: loaded, wrapped, saved again.

Its objects describe its functions a second time beside the graph, so changing the graph alone would leave
two models in one folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from riverlens.errors import SettingsError
from riverlens.signature.specs import DEFAULT_SIGNATURE, INFO_SIGNATURE
from riverlens_serving.export.graphs import first_line
from riverlens_serving.export.preprocessing import Preprocessing


class _Wrapped(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
    """Holds the model, so that saving finds its variables, tables and assets."""

    def __init__(self, model: Any) -> None:
        super().__init__(name="riverlens")
        self.model = model


def rewrap(
    source: Path,
    folder: Path,
    name: str,
    preprocessing: Preprocessing | None,
    said: Mapping[str, object] | None,
) -> None:
    """Write the SavedModel of `source` into `folder`: its signature `name` becomes `serving_default`.

    Raises:
        SettingsError: TensorFlow cannot load it or write it again.
    """
    try:
        model = tf.saved_model.load(str(source))
        signatures = dict(model.signatures)
        if preprocessing is not None:
            signatures[DEFAULT_SIGNATURE] = _behind(preprocessing, model.signatures[name])
        if said is not None:
            signatures[INFO_SIGNATURE] = _info(said)
        tf.saved_model.save(_Wrapped(model), str(folder), signatures=signatures)
    except (ValueError, KeyError, TypeError, AttributeError, tf.errors.OpError) as error:
        raise SettingsError(
            f"{source}: TensorFlow {tf.__version__} cannot load and save it: {first_line(error)}"
        ) from error


def _behind(preprocessing: Preprocessing, signature: Any) -> Any:
    (alias,) = signature.structured_input_signature[1]

    def serve(inputs: Any) -> Any:
        return signature(**{alias: preprocessing.apply(inputs)})

    return tf.function(serve).get_concrete_function(preprocessing.spec())


def _info(said: Mapping[str, object]) -> Any:
    text = json.dumps(said, sort_keys=True)

    def answer(key: Any) -> dict[str, Any]:
        return {"json": tf.fill(tf.shape(key), text)}

    return tf.function(answer).get_concrete_function(tf.TensorSpec([None], tf.string, "key"))
