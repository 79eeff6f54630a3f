"""TensorFlow's element types in NumPy's words (tensorflow/core/framework/types.proto). Pure."""

from __future__ import annotations

from riverlens_worker._stubs import types_pb2

DTYPES = {
    types_pb2.DT_FLOAT: ("float32", "float_val"),
    types_pb2.DT_DOUBLE: ("float64", "double_val"),
    types_pb2.DT_INT32: ("int32", "int_val"),
    types_pb2.DT_UINT8: ("uint8", "int_val"),
    types_pb2.DT_INT16: ("int16", "int_val"),
    types_pb2.DT_INT8: ("int8", "int_val"),
    types_pb2.DT_UINT16: ("uint16", "int_val"),
    types_pb2.DT_INT64: ("int64", "int64_val"),
    types_pb2.DT_UINT32: ("uint32", "uint32_val"),
    types_pb2.DT_UINT64: ("uint64", "uint64_val"),
    types_pb2.DT_BOOL: ("bool", "bool_val"),
    types_pb2.DT_STRING: ("string", "string_val"),
    types_pb2.DT_HALF: ("float16", "half_val"),
    types_pb2.DT_BFLOAT16: ("bfloat16", "half_val"),
}
"""NumPy's name of a type, and the list of a TensorProto that holds its values, by TensorFlow's number."""
ENUMS = {name: number for number, (name, _) in DTYPES.items()}
"""TensorFlow's number of a type, by NumPy's name."""
