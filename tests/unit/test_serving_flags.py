"""The command line and the text files that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens.errors import SettingsError
from riverlens_serving import flags
from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.config import Model, ServerOptions, Tls


def _parse(*argv: str) -> ServerOptions:
    options = flags.parse(argv, "serve")
    assert options is not None
    return options


def test_defaults_are_tensorflow_servings_but_for_the_address() -> None:
    """With only a base path: port 8500, model `default`, latest version, look each second, 127.0.0.1."""
    options = _parse("--model_base_path=/models/m")
    assert options.models == (Model("default", Path("/models/m")),)
    assert (options.listen.address, options.listen.port) == ("127.0.0.1", 8500)
    assert (options.patience.poll_s, options.patience.max_retries) == (1.0, 5)
    assert options.patience.retry_interval_s == 60
    assert options.batching is None


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--enable_batching"], True),
        (["--enable_batching=true"], True),
        (["--enable_batching=false"], False),
        (["--enable_batching=0"], False),
        ([], False),
    ],
)
def test_switches_are_written_as_tensorflow_serving_takes_them(argv: list[str], expected: bool) -> None:  # noqa: FBT001  # a column
    """`--flag`, `--flag=true` and `--flag=false` all work."""
    assert (_parse("--model_base_path=/m", *argv).batching is not None) == expected


def test_batching_without_a_file_has_tensorflow_servings_defaults() -> None:
    """Only the switch: 1000 rows, no timeout, 10 batches in the queue, its own pool name."""
    assert _parse("--model_base_path=/m", "--enable_batching").batching == BatchingParameters(
        thread_pool_name="model_server_batch_threads"
    )


def test_session_parallelism_sets_both_thread_counts() -> None:
    """`--tensorflow_session_parallelism` is both the intra and the inter operation count."""
    load = _parse("--model_base_path=/m", "--tensorflow_session_parallelism=3").load
    assert (load.intra_op_threads, load.inter_op_threads) == (3, 3)


def test_auto_asks_for_a_free_port(tmp_path: Path) -> None:
    """`--port=auto` leaves the port to the system."""
    options = _parse("--model_base_path=/m", "--port=auto", f"--port_file={tmp_path / 'port'}")
    assert options.listen.port is None
    assert options.listen.port_file == tmp_path / "port"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "--model_base_path: missing"),
        (["--model_base_path=/m", "--port=0"], "--port: 0 switches gRPC off"),
        (["--model_base_path=/m", "--port=x"], "'x' is not a port number or auto"),
        (["--model_base_path=/m", "--port=70000"], "'70000' is not a port number or auto"),
        (["--model_base_path=/m", "--no_such_flag"], "unrecognized arguments: --no_such_flag"),
        (
            ["--model_base_path=/m", "--use_alts_credentials"],
            "--use_alts_credentials: TensorFlow Serving's, but",
        ),
        (["--model_base_path=/m", "--prefer_tflite_model=true"], "does not serve TensorFlow Lite models"),
        (["--model_base_path=/m", "--rest_api_port=8500"], "--rest_api_port: must differ from --port"),
        (["--model_base_path=/m", "--grpc_channel_arguments=x"], "'x' is not a list of key=value"),
        (["--model_base_path=/m", "--ssl_config_file=/no/such"], "--ssl_config_file: cannot read /no/such"),
        (
            ["--model_base_path=/m", "--batching_parameters_file=x"],
            (
                "server_options.batching_parameters_file is set without setting"
                " server_options.enable_batching to true."
            ),
        ),
        (["--model_base_path=/m", "--grpc_max_threads=0"], "--grpc_max_threads: at least 1"),
        (["--model_base_path=/m", "--enable_batching=maybe"], "'maybe' is not true or false"),
        (
            [
                "--model_base_path=/m",
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
            ],
            "--tensorflow_session_parallelism: not together",
        ),
        (["--model_base_path=/m", "--per_process_gpu_memory_fraction=2"], "'2' is not a fraction"),
        (["--model_base_path=/m", "--drain_seconds=nan"], "'nan' is not a number of seconds"),
        (["--model_base_path=/m", "--model_name="], "--model_name: empty"),
        (["--model_base_path=/m", "--port_file=/no/such/port"], "--port_file: there is no folder /no/such"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(argv: list[str], text: str) -> None:
    """Each wrong, unknown or unserved flag is named, with what is wrong about it."""
    with pytest.raises(SettingsError) as caught:
        flags.parse(argv, "serve")
    assert text in str(caught.value)


def test_all_wrong_flags_are_told_together() -> None:
    """Two faults are two lines."""
    with pytest.raises(SettingsError) as caught:
        flags.parse(["--port=0", "--mixed_precision=bfloat16"], "serve")
    assert len(str(caught.value).splitlines()) == 3


def test_flags_without_effect_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """A tuning flag of TensorFlow Serving is taken with a warning; one that is off is taken silently."""
    _parse(
        "--model_base_path=/m", "--num_load_threads=4", "--rest_api_port=0", "--use_alts_credentials=false"
    )
    assert caplog.messages == ["--num_load_threads has no effect in the embedded server"]


def test_http_is_off_unless_a_port_is_given() -> None:
    """TensorFlow Serving's defaults: no HTTP port; with one, 30 s a run and no metrics."""
    assert _parse("--model_base_path=/m").rest is None
    rest = _parse("--model_base_path=/m", "--rest_api_port=8501").rest
    assert rest is not None
    assert (rest.port, rest.timeout_ms, rest.cors, rest.metrics_path) == (8501, 30_000, False, None)


def test_metrics_need_the_http_port(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A monitoring file without an HTTP port is warned about; with one it names the page."""
    flag = f"--monitoring_config_file={_written(tmp_path, 'prometheus_config { enable: true }')}"
    assert _parse("--model_base_path=/m", flag).rest is None
    assert caplog.messages == ["--monitoring_config_file has no effect without --rest_api_port"]
    rest = _parse("--model_base_path=/m", flag, "--rest_api_port=auto").rest
    assert rest is not None
    assert (rest.port, rest.metrics_path) == (None, "/monitoring/prometheus/metrics")


def test_warmup_is_on_and_runs_once() -> None:
    """A warm-up file is replayed once unless told otherwise; switched off, not at all."""
    assert _parse("--model_base_path=/m").load.warmup_iterations == 1
    assert _parse("--model_base_path=/m", "--num_request_iterations_for_warmup=3").load.warmup_iterations == 3
    assert _parse("--model_base_path=/m", "--enable_model_warmup=false").load.warmup_iterations == 0


def test_channel_arguments_are_numbers_where_they_can_be() -> None:
    """`k=1,k=text` gives gRPC an int and a text."""
    listen = _parse("--model_base_path=/m", "--grpc_channel_arguments=grpc.a=1000,grpc.b=x=y").listen
    assert listen.channel_options == (("grpc.a", 1000), ("grpc.b", "x=y"))


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.config"
    path.write_text(text)
    return path


PEM = "-----BEGIN X-----"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (f"server_key: '{PEM}' server_cert: '{PEM}'", 0),
        (f"server_key: 'key.pem' server_cert: '{PEM}'", 1),
        (f"server_key: '{PEM}' server_cert: '{PEM}' client_verify: true", 1),
    ],
)
def test_tls_takes_pem_texts(tmp_path: Path, text: str, problems: int) -> None:
    """Key and certificate are the PEM texts themselves, and verified clients need an authority."""
    flag = f"--ssl_config_file={_written(tmp_path, text)}"
    if not problems:
        assert _parse("--model_base_path=/m", flag).listen.tls == Tls(PEM.encode(), PEM.encode())
        return
    with pytest.raises(SettingsError, match="put the PEM text itself there") as caught:
        _parse("--model_base_path=/m", flag)
    assert len(str(caught.value).splitlines()) == problems


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` prints the served flags and gives no settings."""
    assert flags.parse(["--help"], "serve") is None
    assert "--batching_parameters_file" in capsys.readouterr().out
