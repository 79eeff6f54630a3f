"""Text protobufs of TensorFlow Serving whose schemas are in no Python package, read by schemas declared here.

The descriptors live in a pool of their own, so that a package which does carry them one day does not clash.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from riverlens.errors import SettingsError

_PACKAGE = "tensorflow.serving"
_Field = descriptor_pb2.FieldDescriptorProto

_SCALARS = {"int64": _Field.TYPE_INT64, "bool": _Field.TYPE_BOOL, "string": _Field.TYPE_STRING}
_ONE, _MANY = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED

_MESSAGES = {
    # session_bundle_config.proto: nine fields, no more.
    "BatchingParameters": (
        ("max_batch_size", ".google.protobuf.Int64Value", _ONE),
        ("batch_timeout_micros", ".google.protobuf.Int64Value", _ONE),
        ("max_enqueued_batches", ".google.protobuf.Int64Value", _ONE),
        ("num_batch_threads", ".google.protobuf.Int64Value", _ONE),
        ("thread_pool_name", ".google.protobuf.StringValue", _ONE),
        ("allowed_batch_sizes", "int64", _MANY),
        ("pad_variable_length_inputs", "bool", _ONE),
        ("enable_large_batch_splitting", ".google.protobuf.BoolValue", _ONE),
        ("max_execution_batch_size", ".google.protobuf.Int64Value", _ONE),
    ),
    # ssl_config.proto; the three texts are PEM contents, not paths.
    "SSLConfig": (
        ("server_key", "string", _ONE),
        ("server_cert", "string", _ONE),
        ("custom_ca", "string", _ONE),
        ("client_verify", "bool", _ONE),
    ),
    # monitoring_config.proto
    "PrometheusConfig": (("enable", "bool", _ONE), ("path", "string", _ONE)),
    "MonitoringConfig": (("prometheus_config", f".{_PACKAGE}.PrometheusConfig", _ONE),),
}
"""Message -> its fields in the order of their numbers, which start at 1: name, type, label."""


@cache
def _message_class(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="riverlens_serving/configs.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, (field_name, kind, label) in enumerate(fields, start=1):
            field = message.field.add(name=field_name, number=number, label=label)
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def read_batching_parameters(path: Path) -> Any:
    """The BatchingParameters message of a text file.

    Raises:
        SettingsError: the file cannot be read or is no such text; says where in it.
    """
    return _read(path, _message_class("BatchingParameters")(), "--batching_parameters_file")


def read_ssl_config(path: Path) -> Any:
    """The SSLConfig message of a text file.

    Raises:
        SettingsError: the file cannot be read or is no such text; says where in it.
    """
    return _read(path, _message_class("SSLConfig")(), "--ssl_config_file")


def read_monitoring_config(path: Path) -> Any:
    """The MonitoringConfig message of a text file.

    Raises:
        SettingsError: the file cannot be read or is no such text; says where in it.
    """
    return _read(path, _message_class("MonitoringConfig")(), "--monitoring_config_file")


def read_session_config(path: Path) -> Any:
    """The tensorflow.ConfigProto message of a text file. Imports TensorFlow.

    Raises:
        SettingsError: the file cannot be read or is no such text; says where in it.
    """
    from tensorflow.core.protobuf import config_pb2  # noqa: PLC0415  # imports TensorFlow

    return _read(path, config_pb2.ConfigProto(), "--tensorflow_session_config_file")


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
