"""TensorFlow Serving's command line: the flags that are served, and one clear line for those that are not."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from riverlens.errors import SettingsError
from riverlens_serving.config import Listen, LoadOptions, Model, Patience, PredictOptions, ServerOptions

_log = logging.getLogger(__name__)

UNSERVED = {
    "rest_api_port": "REST",
    "grpc_socket_path": "Unix sockets",
    "model_config_file": "several models in one server",
    "model_config_file_poll_wait_seconds": "re-reading the model config",
    "allow_version_labels_for_unavailable_models": "version labels",
    "enable_batching": "batching",
    "batching_parameters_file": "batching",
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
    intra, inter = _threads(given)
    return ServerOptions(
        models=(Model(given.model_name, Path(given.model_base_path).absolute()),),
        listen=Listen(given.bind_address, given.port, _path(given.port_file), given.grpc_max_threads),
        patience=Patience(
            given.file_system_poll_wait_seconds,
            given.max_num_load_retries,
            given.load_retry_interval_micros / 1e6,
        ),
        load=LoadOptions(
            intra, inter, given.per_process_gpu_memory_fraction, tuple(given.saved_model_tags.split(","))
        ),
        predict=PredictOptions(
            given.enable_signature_method_name_check, given.enable_serialization_as_tensor_content
        ),
        drain_s=given.drain_seconds,
        die_with_parent=given.die_with_parent,
    )


class _Parser(argparse.ArgumentParser):
    """Argparse that raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; see {self.prog} --help")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=prog, add_help=False, allow_abbrev=False, argument_default=None)
    defaults = Listen()
    add = parser.add_argument
    add("--port", type=_port, default=8500, help="gRPC port; auto: a free one (default 8500)")
    add(
        "--bind_address",
        default=defaults.address,
        help="address to listen on (default 127.0.0.1; all: 0.0.0.0)",
    )
    add("--port_file", help="file that gets the port's number once calls are answered")
    add("--model_name", default="default", help="the name that requests use (default 'default')")
    add("--model_base_path", help="folder with one numbered folder per version")
    add(
        "--saved_model_tags",
        default="serve",
        help="tags of the graph to load, comma-separated (default serve)",
    )
    add(
        "--file_system_poll_wait_seconds",
        type=float,
        default=1.0,
        help="time between looks for new versions (1)",
    )
    add("--max_num_load_retries", type=_natural, default=5, help="further tries of a load that fails (5)")
    add("--load_retry_interval_micros", type=_natural, default=60_000_000, help="time between them (60 s)")
    add(
        "--grpc_max_threads",
        type=_natural,
        default=defaults.max_threads,
        help="calls answered at once (4 x CPUs)",
    )
    add(
        "--tensorflow_session_parallelism",
        type=_natural,
        default=0,
        help="threads in and between operations (auto)",
    )
    add(
        "--tensorflow_intra_op_parallelism",
        type=_natural,
        default=0,
        help="threads inside one operation (auto)",
    )
    add("--tensorflow_inter_op_parallelism", type=_natural, default=0, help="operations run at once (auto)")
    add(
        "--per_process_gpu_memory_fraction",
        type=float,
        default=0.0,
        help="GPU memory taken at once (0: as needed)",
    )
    _add_switch(parser, "enable_signature_method_name_check", "refuse signatures with other method names")
    _add_switch(
        parser, "enable_serialization_as_tensor_content", "reply with tensor_content, not typed values"
    )
    add("--drain_seconds", type=float, default=10.0, help="after SIGTERM, time for calls in flight (10)")
    _add_switch(parser, "die_with_parent", "stop when the process that started this one ends")
    for name in (*UNSERVED, *WITHOUT_EFFECT):
        add(f"--{name}", nargs="?", const="true", help=argparse.SUPPRESS)
    return parser


def _add_switch(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    parser.add_argument(
        f"--{name}", nargs="?", const=True, default=False, type=_boolean, metavar="true|false", help=text
    )


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
    if not given.model_base_path:
        problems.append("--model_base_path: missing; give the folder that holds the numbered version folders")
    if given.port == 0:
        problems.append(
            "--port: 0 switches gRPC off in TensorFlow Serving, which leaves nothing here; use --port=auto"
        )
    if given.grpc_max_threads < 1:
        problems.append("--grpc_max_threads: at least 1")
    if not 0 <= given.per_process_gpu_memory_fraction <= 1:
        problems.append("--per_process_gpu_memory_fraction: between 0 and 1")
    single = given.tensorflow_intra_op_parallelism or given.tensorflow_inter_op_parallelism
    if given.tensorflow_session_parallelism and single:
        problems.append("--tensorflow_session_parallelism: not together with the intra and inter op ones")
    return problems


def _threads(given: argparse.Namespace) -> tuple[int, int]:
    both = given.tensorflow_session_parallelism
    return both or given.tensorflow_intra_op_parallelism, both or given.tensorflow_inter_op_parallelism


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _typed(expected: str) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """Turn a parser's ValueError or KeyError into argparse's, naming what is expected."""

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


@_typed("true or false")
def _boolean(text: str) -> bool:
    return _TRUE[text.lower()]
