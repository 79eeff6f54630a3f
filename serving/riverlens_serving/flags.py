"""TensorFlow Serving's command line: the flags that are served, and one clear line for those that are not."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from riverlens import batching_lint
from riverlens.errors import SettingsError
from riverlens_serving import flag_types as types
from riverlens_serving import model_config
from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.batching_parameters import read as read_batching
from riverlens_serving.config import (
    Listen,
    LoadOptions,
    Model,
    Patience,
    PredictOptions,
    Rest,
    ServerOptions,
    default_threads,
)
from riverlens_serving.side_configs import read_metrics_path, read_tls

_log = logging.getLogger(__name__)

UNSERVED = {
    "enable_per_model_batching_parameters": "batching parameters per model",
    "use_alts_credentials": "ALTS",
    "platform_config_file": "a platform config file",
    "prefer_tflite_model": "TensorFlow Lite models",
    "mixed_precision": "mixed precision",
    "thread_pool_factory_config_file": "thread pool factories",
}
"""TensorFlow Serving's flags that change what clients see and that this server does not have: refused."""

WITHOUT_EFFECT = frozenset(
    {
        "num_load_threads",
        "num_unload_threads",
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


class _Flag(NamedTuple):
    name: str
    read: Callable[[str], Any]
    default: Any
    text: str


_FLAGS = (
    _Flag("port", types.port, 8500, "gRPC port; auto: a free one"),
    _Flag("rest_api_port", types.port, 0, "HTTP port; 0: none; auto: a free one"),
    _Flag("bind_address", str, "127.0.0.1", "address to listen on; 0.0.0.0: all"),
    _Flag("grpc_socket_path", Path, None, "Unix socket that answers as the gRPC port does"),
    _Flag("port_file", Path, None, "file that gets the port's number once calls are answered"),
    _Flag("model_name", str, "default", "the name that requests use"),
    _Flag("model_base_path", Path, None, "folder with one numbered folder per version"),
    _Flag("model_config_file", Path, None, "ModelServerConfig text file: several models, versions, labels"),
    _Flag("model_config_file_poll_wait_seconds", types.seconds, 0.0, "time between looks at it; 0: one look"),
    _Flag(
        "allow_version_labels_for_unavailable_models", types.switch, False, "new labels may point anywhere"
    ),
    _Flag("enable_batching", types.switch, False, "merge requests into batches"),
    _Flag("batching_parameters_file", Path, None, "BatchingParameters text file"),
    _Flag("saved_model_tags", str, "serve", "tags of the graph to load, comma-separated"),
    _Flag(
        "file_system_poll_wait_seconds", types.seconds, 1.0, "time between looks for versions; 0: one look"
    ),
    _Flag("max_num_load_retries", types.natural, 5, "further tries of a load that fails"),
    _Flag("load_retry_interval_micros", types.natural, 60_000_000, "time between them"),
    _Flag("enable_model_warmup", types.switch, True, "replay assets.extra/tf_serving_warmup_requests"),
    _Flag("num_request_iterations_for_warmup", types.natural, 0, "how often each of them; 0: once"),
    _Flag("grpc_max_threads", types.natural, default_threads(), "calls answered at once"),
    _Flag("grpc_channel_arguments", types.channel_options, (), "gRPC's own, as key=value,key=value"),
    _Flag("enable_grpc_healthcheck_service", types.switch, False, "serve grpc.health.v1.Health"),
    _Flag("ssl_config_file", Path, None, "SSLConfig text file: TLS on the gRPC port"),
    _Flag("rest_api_num_threads", types.natural, default_threads(), "HTTP requests answered at once"),
    _Flag("rest_api_timeout_in_ms", types.natural, 30_000, "time for an HTTP request's run; 0: any"),
    _Flag("rest_api_enable_cors_support", types.switch, False, "send CORS headers"),
    _Flag("monitoring_config_file", Path, None, "MonitoringConfig text file: Prometheus on the HTTP port"),
    _Flag("tensorflow_session_parallelism", types.natural, 0, "threads in and between operations; 0: auto"),
    _Flag("tensorflow_intra_op_parallelism", types.natural, 0, "threads inside one operation; 0: auto"),
    _Flag("tensorflow_inter_op_parallelism", types.natural, 0, "operations run at once; 0: auto"),
    _Flag("tensorflow_session_config_file", Path, None, "ConfigProto text file"),
    _Flag("per_process_gpu_memory_fraction", types.fraction, 0.0, "GPU memory taken at once; 0: as needed"),
    _Flag("enable_signature_method_name_check", types.switch, False, "refuse other method names"),
    _Flag("enable_serialization_as_tensor_content", types.switch, False, "reply with tensor_content"),
    _Flag("drain_seconds", types.seconds, 10.0, "after SIGTERM, time for calls in flight"),
    _Flag("die_with_parent", types.switch, False, "stop when the process that started this one ends"),
)


class _Parser(argparse.ArgumentParser):
    """Argparse that raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; see {self.prog} --help")


def _parser(prog: str) -> argparse.ArgumentParser:
    usage = f"{prog} --model_base_path=FOLDER [flags]"
    parser = _Parser(
        prog=prog,
        usage=usage,
        epilog=f"Try: {prog} --model_name=street --model_base_path=serving/models/street --enable_batching",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    for name, read, default, text in _FLAGS:
        help_text = f"{text} (default {default})" if default not in {None, False, ()} else text
        if read is types.switch:
            kind = "true|false"
            parser.add_argument(
                f"--{name}", type=read, default=default, help=help_text, nargs="?", const=True, metavar=kind
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
    return ServerOptions(
        models=_models(given),
        listen=_listen(given),
        rest=_rest(given),
        patience=Patience(
            poll_s=given.file_system_poll_wait_seconds,
            max_retries=given.max_num_load_retries,
            retry_interval_s=given.load_retry_interval_micros / 1e6,
        ),
        load=_load(given),
        batching=_batching(given) if given.enable_batching else None,
        predict=PredictOptions(
            check_method_name=given.enable_signature_method_name_check,
            reply_as_content=given.enable_serialization_as_tensor_content,
        ),
        drain_s=given.drain_seconds,
        die_with_parent=given.die_with_parent,
        config_file=given.model_config_file,
        config_poll_s=given.model_config_file_poll_wait_seconds,
        labels_for_unavailable=given.allow_version_labels_for_unavailable_models,
    )


def _models(given: argparse.Namespace) -> tuple[Model, ...]:
    """As in TensorFlow Serving, a model config file makes the flags for one model void."""
    if given.model_config_file:
        return model_config.read(given.model_config_file)
    return (Model(given.model_name, given.model_base_path.absolute()),)


def _batching(given: argparse.Namespace) -> BatchingParameters:
    path: Path | None = given.batching_parameters_file
    parameters = read_batching(path)
    if path is not None:
        traps = batching_lint.lint(
            batching_lint.read(path.read_text()),
            cpus=os.cpu_count(),
            grpc_max_threads=given.grpc_max_threads,
        )
        for trap in traps:
            _log.warning("--batching_parameters_file: %s: %s", path, trap)
    return parameters


def _listen(given: argparse.Namespace) -> Listen:
    return Listen(
        address=given.bind_address,
        port=given.port,
        port_file=given.port_file,
        max_threads=given.grpc_max_threads,
        socket_path=given.grpc_socket_path,
        channel_options=given.grpc_channel_arguments,
        tls=read_tls(given.ssl_config_file) if given.ssl_config_file else None,
        health=given.enable_grpc_healthcheck_service,
    )


def _rest(given: argparse.Namespace) -> Rest | None:
    metrics_path = read_metrics_path(given.monitoring_config_file) if given.monitoring_config_file else None
    if given.rest_api_port == 0:
        if metrics_path is not None:
            _log.warning("--monitoring_config_file has no effect without --rest_api_port")
        return None
    return Rest(
        port=given.rest_api_port,
        max_threads=max(given.rest_api_num_threads, 1),
        timeout_ms=given.rest_api_timeout_in_ms,
        cors=given.rest_api_enable_cors_support,
        metrics_path=metrics_path,
    )


def _load(given: argparse.Namespace) -> LoadOptions:
    both = given.tensorflow_session_parallelism
    iterations = given.num_request_iterations_for_warmup or 1
    return LoadOptions(
        intra_op_threads=both or given.tensorflow_intra_op_parallelism,
        inter_op_threads=both or given.tensorflow_inter_op_parallelism,
        gpu_memory_fraction=given.per_process_gpu_memory_fraction,
        tags=tuple(given.saved_model_tags.split(",")),
        session_config=given.tensorflow_session_config_file,
        warmup_iterations=iterations if given.enable_model_warmup else 0,
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
    if given.model_base_path is None and given.model_config_file is None:
        problems.append(
            "--model_base_path: missing; give the folder that holds the numbered version folders, or"
            " --model_config_file for several models"
        )
    if not given.model_name and given.model_config_file is None:
        problems.append("--model_name: empty; requests must have a name to ask for")
    if given.port_file is not None and not given.port_file.absolute().parent.is_dir():
        problems.append(f"--port_file: there is no folder {given.port_file.parent} to write it into")
    if given.batching_parameters_file is not None and not given.enable_batching:
        problems.append(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to"
            " true."
        )
    if given.port == 0:
        problems.append(
            "--port: 0 switches gRPC off, which leaves nothing to serve; --port=auto takes a free one"
        )
    if given.rest_api_port and given.rest_api_port == given.port:
        problems.append("--rest_api_port: must differ from --port")
    if given.grpc_max_threads < 1:
        problems.append("--grpc_max_threads: at least 1")
    single = given.tensorflow_intra_op_parallelism or given.tensorflow_inter_op_parallelism
    if given.tensorflow_session_parallelism and single:
        problems.append("--tensorflow_session_parallelism: not together with the intra and inter op ones")
    return problems
