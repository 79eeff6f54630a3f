"""TensorFlow Serving's command line: the flags that are served, and one clear line for those that are not."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from riverlens.errors import SettingsError
from riverlens_serving import model_config
from riverlens_serving.batching_parameters import read as read_batching
from riverlens_serving.config import Listen, LoadOptions, Model, Patience, PredictOptions, ServerOptions

_log = logging.getLogger(__name__)

UNSERVED = {
    "rest_api_port": "REST",
    "grpc_socket_path": "Unix sockets",
    "model_config_file_poll_wait_seconds": "re-reading the model config",
    "allow_version_labels_for_unavailable_models": "version labels",
    "enable_per_model_batching_parameters": "batching parameters per model",
    "monitoring_config_file": "Prometheus metrics",
    "num_request_iterations_for_warmup": "warm-up replay",
    "ssl_config_file": "TLS",
    "use_alts_credentials": "ALTS",
    "enable_grpc_healthcheck_service": "the gRPC health service",
    "grpc_channel_arguments": "gRPC channel arguments",
    "tensorflow_session_config_file": "a session config file",
    "platform_config_file": "a platform config file",
    "prefer_tflite_model": "TensorFlow Lite models",
    "mixed_precision": "mixed precision",
    "thread_pool_factory_config_file": "thread pool factories",
}
"""TensorFlow Serving's flags that change what clients see and that this server does not have: refused."""

WITHOUT_EFFECT = frozenset(
    {
        "rest_api_num_threads",
        "rest_api_timeout_in_ms",
        "rest_api_enable_cors_support",
        "num_load_threads",
        "num_unload_threads",
        "enable_model_warmup",
        "enable_profiler",
        "flush_filesystem_caches",
        "remove_unused_fields_from_bundle_metagraph",
        "num_tflite_pools",
        "num_tflite_interpreters_per_pool",
        "xla_cpu_compilation_enabled",
        "xla_gpu_compilation_enabled",
        "skip_initialize_tpu",
    }
)
"""TensorFlow Serving's flags that only tune: accepted with a warning."""

_OFF_VALUES = frozenset({"", "0", "false"})
_TRUE = {"true": True, "1": True, "false": False, "0": False}


def _typed(expected: str) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """Turn a reader's ValueError or KeyError into argparse's, naming what is expected."""

    def wrap(read: Callable[[str], Any]) -> Callable[[str], Any]:
        def checked(text: str) -> Any:
            try:
                return read(text)
            except (ValueError, KeyError) as error:
                raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from error

        return checked

    return wrap


@_typed("a port number or auto")
def _port(text: str) -> int | None:
    if text == "auto":
        return None
    port = int(text)
    if not 0 <= port <= 65535:  # noqa: PLR2004  # ports have 16 bits
        raise ValueError(text)
    return port


@_typed("a whole number, 0 or more")
def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


@_typed("a number of seconds")
def _seconds(text: str) -> float:
    return float(text)


@_typed("a fraction between 0 and 1")
def _fraction(text: str) -> float:
    fraction = float(text)
    if not 0 <= fraction <= 1:
        raise ValueError(text)
    return fraction


@_typed("true or false")
def _switch(text: str) -> bool:
    return _TRUE[text.lower()]


class _Flag(NamedTuple):
    name: str
    read: Callable[[str], Any]
    default: Any
    text: str


_FLAGS = (
    _Flag("port", _port, 8500, "gRPC port; auto: a free one"),
    _Flag("bind_address", str, "127.0.0.1", "address to listen on; 0.0.0.0: all"),
    _Flag("port_file", Path, None, "file that gets the port's number once calls are answered"),
    _Flag("model_name", str, "default", "the name that requests use"),
    _Flag("model_base_path", Path, None, "folder with one numbered folder per version"),
    _Flag("model_config_file", Path, None, "ModelServerConfig text file: several models, which versions"),
    _Flag("enable_batching", _switch, False, "merge requests into batches"),
    _Flag("batching_parameters_file", Path, None, "BatchingParameters text file"),
    _Flag("saved_model_tags", str, "serve", "tags of the graph to load, comma-separated"),
    _Flag("file_system_poll_wait_seconds", _seconds, 1.0, "time between looks for new versions; 0: one look"),
    _Flag("max_num_load_retries", _natural, 5, "further tries of a load that fails"),
    _Flag("load_retry_interval_micros", _natural, 60_000_000, "time between them"),
    _Flag("grpc_max_threads", _natural, Listen().max_threads, "calls answered at once"),
    _Flag("tensorflow_session_parallelism", _natural, 0, "threads in and between operations; 0: auto"),
    _Flag("tensorflow_intra_op_parallelism", _natural, 0, "threads inside one operation; 0: auto"),
    _Flag("tensorflow_inter_op_parallelism", _natural, 0, "operations run at once; 0: auto"),
    _Flag("per_process_gpu_memory_fraction", _fraction, 0.0, "GPU memory taken at once; 0: as needed"),
    _Flag("enable_signature_method_name_check", _switch, False, "refuse signatures with other method names"),
    _Flag("enable_serialization_as_tensor_content", _switch, False, "reply with tensor_content"),
    _Flag("drain_seconds", _seconds, 10.0, "after SIGTERM, time for calls in flight"),
    _Flag("die_with_parent", _switch, False, "stop when the process that started this one ends"),
)


class _Parser(argparse.ArgumentParser):
    """Argparse that raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; see {self.prog} --help")


def _parser(prog: str) -> argparse.ArgumentParser:
    usage = f"{prog} --model_base_path=FOLDER [flags]"
    parser = _Parser(prog=prog, usage=usage, add_help=False, allow_abbrev=False)
    for name, read, default, text in _FLAGS:
        help_text = f"{text} (default {default})" if default not in {None, False} else text
        if read is _switch:
            kind = "true|false"
            parser.add_argument(
                f"--{name}", type=read, default=default, help=text, nargs="?", const=True, metavar=kind
            )
        else:
            parser.add_argument(f"--{name}", type=read, default=default, help=help_text, metavar="VALUE")
    for name in (*UNSERVED, *WITHOUT_EFFECT):
        parser.add_argument(f"--{name}", nargs="?", const="true", help=argparse.SUPPRESS)
    return parser


def parse(argv: Sequence[str], prog: str) -> ServerOptions | None:
    """The settings that a command line asks for; None where it asked for help, which has been printed.

    Raises:
        SettingsError: one line for each flag that is wrong, unknown or not served.
    """
    parser = _parser(prog)
    if any(word in {"-h", "--help"} for word in argv):
        parser.print_help()
        return None
    given = parser.parse_args(list(argv))
    problems = [*_unserved(given), *_wrong(given)]
    if problems:
        raise SettingsError("\n".join(problems))
    both = given.tensorflow_session_parallelism
    return ServerOptions(
        models=_models(given),
        listen=Listen(given.bind_address, given.port, given.port_file, given.grpc_max_threads),
        patience=Patience(
            poll_s=given.file_system_poll_wait_seconds,
            max_retries=given.max_num_load_retries,
            retry_interval_s=given.load_retry_interval_micros / 1e6,
        ),
        load=LoadOptions(
            intra_op_threads=both or given.tensorflow_intra_op_parallelism,
            inter_op_threads=both or given.tensorflow_inter_op_parallelism,
            gpu_memory_fraction=given.per_process_gpu_memory_fraction,
            tags=tuple(given.saved_model_tags.split(",")),
        ),
        batching=read_batching(given.batching_parameters_file) if given.enable_batching else None,
        predict=PredictOptions(
            check_method_name=given.enable_signature_method_name_check,
            reply_as_content=given.enable_serialization_as_tensor_content,
        ),
        drain_s=given.drain_seconds,
        die_with_parent=given.die_with_parent,
    )


def _models(given: argparse.Namespace) -> tuple[Model, ...]:
    """As in TensorFlow Serving, a model config file makes the flags for one model void."""
    if given.model_config_file:
        return model_config.read(given.model_config_file)
    return (Model(given.model_name, given.model_base_path.absolute()),)


def _unserved(given: argparse.Namespace) -> list[str]:
    for name in sorted(WITHOUT_EFFECT):
        if getattr(given, name) is not None:
            _log.warning("--%s has no effect in the embedded server", name)
    return [
        f"--{name}: TensorFlow Serving's, but the embedded server does not serve {what};"
        " leave it out, or run the tensorflow/serving container"
        for name, what in UNSERVED.items()
        if (value := getattr(given, name)) is not None and value.lower() not in _OFF_VALUES
    ]


def _wrong(given: argparse.Namespace) -> list[str]:
    problems = []
    if given.model_base_path is None and given.model_config_file is None:
        problems.append(
            "--model_base_path: missing; give the folder that holds the numbered version folders, or"
            " --model_config_file for several models"
        )
    if given.batching_parameters_file is not None and not given.enable_batching:
        problems.append(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to"
            " true."
        )
    if given.port == 0:
        problems.append(
            "--port: 0 switches gRPC off, which leaves nothing to serve; --port=auto takes a free one"
        )
    if given.grpc_max_threads < 1:
        problems.append("--grpc_max_threads: at least 1")
    single = given.tensorflow_intra_op_parallelism or given.tensorflow_inter_op_parallelism
    if given.tensorflow_session_parallelism and single:
        problems.append("--tensorflow_session_parallelism: not together with the intra and inter op ones")
    return problems
