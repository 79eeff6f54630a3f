"""Text protobufs of TensorFlow Serving whose schemas are in no Python package, read by schemas declared here.

The descriptors live in a pool of their own, so that a package which does carry them one day does not clash.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from riverlens.errors import SettingsError

_PACKAGE = "tensorflow.serving"
_Field = descriptor_pb2.FieldDescriptorProto

_SCALARS = {"int64": _Field.TYPE_INT64, "bool": _Field.TYPE_BOOL}
_BATCHING_FIELDS = (
    ("max_batch_size", "Int64Value", _Field.LABEL_OPTIONAL),
    ("batch_timeout_micros", "Int64Value", _Field.LABEL_OPTIONAL),
    ("max_enqueued_batches", "Int64Value", _Field.LABEL_OPTIONAL),
    ("num_batch_threads", "Int64Value", _Field.LABEL_OPTIONAL),
    ("thread_pool_name", "StringValue", _Field.LABEL_OPTIONAL),
    ("allowed_batch_sizes", "int64", _Field.LABEL_REPEATED),
    ("pad_variable_length_inputs", "bool", _Field.LABEL_OPTIONAL),
    ("enable_large_batch_splitting", "BoolValue", _Field.LABEL_OPTIONAL),
    ("max_execution_batch_size", "Int64Value", _Field.LABEL_OPTIONAL),
)
"""BatchingParameters of session_bundle_config.proto: nine fields, no more."""


def _batching_parameters_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="riverlens_serving/batching.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    message = file.message_type.add(name="BatchingParameters")
    for number, (name, kind, label) in enumerate(_BATCHING_FIELDS, start=1):
        if kind in _SCALARS:
            message.field.add(name=name, number=number, label=label, type=_SCALARS[kind])
        else:
            wrapper = f".google.protobuf.{kind}"
            message.field.add(
                name=name, number=number, label=label, type=_Field.TYPE_MESSAGE, type_name=wrapper
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.BatchingParameters"))


def read_batching_parameters(path: Path) -> Any:
    """The BatchingParameters message of a text file.

    Raises:
        SettingsError: the file cannot be read or is no such text; says where in it.
    """
    return _read(path, _batching_parameters_class()(), "--batching_parameters_file")


def read_model_server_config(path: Path) -> Any:
    """The ModelServerConfig message of a text file.

    Raises:
        SettingsError: the file cannot be read or is no such text; says where in it.
    """
    from tensorflow_serving.config import model_server_config_pb2  # noqa: PLC0415  # rarely needed

    return _read(path, model_server_config_pb2.ModelServerConfig(), "--model_config_file")


def _read(path: Path, message: Any, flag: str) -> Any:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{flag}: cannot read {path}: {error}") from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise SettingsError(f"{flag}: Invalid protobuf file: '{path}': {error}") from error
