"""TensorFlow Serving's messages without TensorFlow.

Importing `tensorflow_serving.apis` plainly loads all of TensorFlow (seconds, half a gigabyte), although
its generated modules need only TensorFlow's other generated modules. So, where TensorFlow is not loaded,
a bare module named `tensorflow` whose path is the installed package stands in while they are imported,
and is taken out again: left in, a later real import would silently give an empty module.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from types import ModuleType

from riverlens.errors import SetupError


def _bare_tensorflow() -> ModuleType:
    spec = PathFinder.find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        raise SetupError("the worker needs TensorFlow Serving's messages; pip install 'riverlens[worker]'")
    module = ModuleType("tensorflow")
    module.__path__ = list(spec.submodule_search_locations)
    return module


_loaded = "tensorflow" in sys.modules
if not _loaded:
    sys.modules["tensorflow"] = _bare_tensorflow()
try:
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataRequest,
        GetModelMetadataResponse,
        SignatureDefMap,
    )
    from tensorflow_serving.apis.get_model_status_pb2 import (
        GetModelStatusRequest,
        GetModelStatusResponse,
        ModelVersionStatus,
    )
    from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
finally:
    if not _loaded:
        # Sub-modules of the stand-in go too, else a real import would find half a package.
        for name in [n for n in sys.modules if n == "tensorflow" or n.startswith("tensorflow.")]:
            del sys.modules[name]

__all__ = [
    "GetModelMetadataRequest",
    "GetModelMetadataResponse",
    "GetModelStatusRequest",
    "GetModelStatusResponse",
    "ModelVersionStatus",
    "PredictRequest",
    "PredictResponse",
    "SignatureDefMap",
    "TensorProto",
    "types_pb2",
]
