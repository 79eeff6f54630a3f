"""A Keras model's file becomes a SavedModel by Keras' own `export`.

Never by `tf.saved_model.save`: of a Keras 3 model it writes a folder that TensorFlow 2 loads and a model
server does not (`Could not find variable ...`; keras#19274, keras#20096, serving#2250).
"""

from __future__ import annotations

import warnings
from pathlib import Path

from riverlens.errors import SettingsError, SetupError
from riverlens_serving.export.graphs import first_line


def save_keras(path: Path, folder: Path) -> None:
    """Write the model in `path` (.keras, .h5) as a SavedModel into `folder`.

    Raises:
        SettingsError: Keras cannot read the file or export the model.
        SetupError: there is no Keras beside TensorFlow.
    """
    try:
        import keras  # noqa: PLC0415  # takes seconds, and only this kind of source needs it
    except ModuleNotFoundError as error:
        raise SetupError(f"{path}: needs Keras; pip install keras") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of optimiser state, which nobody serves
        try:
            model = keras.saving.load_model(path, compile=False)
        except Exception as error:  # anything can be in the file; whatever Keras finds is the reason
            raise SettingsError(
                f"{path}: Keras {keras.__version__} cannot read it: {first_line(error)}; a file of weights"
                " alone is no model"
            ) from error
        try:
            model.export(str(folder), format="tf_saved_model", verbose=False)
        except Exception as error:  # see above
            raise SettingsError(f"{path}: Keras cannot export it: {first_line(error)}") from error
