"""Settings: file < environment < flags, every wrong one named together, no secret ever shown."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from riverlens.errors import SettingsError
from riverlens.kafka import KafkaSettings
from riverlens.settings import load
from riverlens_worker.settings import WorkerSettings

SECRET = "hunter2-lobby"  # noqa: S105  # nobody's
Load = Callable[..., WorkerSettings]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("RIVERLENS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """Load the worker's settings from flags, `toml=` text and environment variables."""

    def _run(*argv: str, toml: str | None = None, **environment: str) -> WorkerSettings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        args = list(argv)
        if toml is not None:
            file = tmp_path / "riverlens.toml"
            file.write_text(toml, encoding="utf-8")
            args += ["--config", str(file)]
        return load(WorkerSettings, args, prog="riverlens worker run")

    return _run


def _error(run: Load, *argv: str, toml: str | None = None, **environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        run(*argv, toml=toml, **environment)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_flags_win_over_the_environment_and_that_over_the_file(run: Load) -> None:
    """Each source overrides what is below it, field by field, also within the table [kafka]."""
    toml = """
    [worker]
    model = "file"
    server = "file:1"
    group_id = "file"
    [kafka]
    bootstrap_servers = "file:1"
    sasl_username = "file"
    [producer]
    fps = 3
    """
    environment = {
        "RIVERLENS_MODEL": "environment",
        "RIVERLENS_SERVER": "environment:2",
        "RIVERLENS_KAFKA__BOOTSTRAP_SERVERS": "environment:2",
        "RIVERLENS_SYNTHETIC": "another role's",
    }
    found = run("--model", "flag", "--kafka.sasl-username=flag", toml=toml, **environment)
    assert (found.model, found.server, found.group_id) == ("flag", "environment:2", "file")
    assert (found.kafka.bootstrap_servers, found.kafka.sasl_username) == ("environment:2", "flag")
    assert found.max_batch_size == WorkerSettings().max_batch_size


def test_the_short_flag_names_the_brokers(run: Load) -> None:
    """`--bootstrap-servers` is what everybody types first."""
    assert run("--bootstrap-servers", "a:1,b:2").kafka.bootstrap_servers == "a:1,b:2"
    assert run("--bootstrap-servers=a:1").kafka.bootstrap_servers == "a:1"


def test_a_settings_object_made_in_a_program_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `load` looks around; tests and programs get what they say, and cannot change it later."""
    monkeypatch.setenv("RIVERLENS_MODEL", "environment")
    found = WorkerSettings()
    assert found == WorkerSettings.default()
    assert found.model == "street"
    with pytest.raises(ValidationError, match="frozen"):
        found.model = "other"  # type: ignore[misc]  # what is tested


def test_every_wrong_field_is_reported_together(run: Load) -> None:
    """One line for each, with what was given, and the flag and variable that set it."""
    error = _error(
        run,
        "--max-batch-size=0",
        "--log-level=loud",
        "--kafka.security-protocol=TLS",
        toml="[worker]\nmin_score = 2\n",
        RIVERLENS_SERVER="nowhere",
        RIVERLENS_ADMIN_PORT="x",
    )
    lines = error.splitlines()
    fields = ["max_batch_size", "log_level", "kafka.security_protocol", "min_score", "server", "admin_port"]
    assert sorted(line.partition(":")[0] for line in lines) == sorted(fields)
    line = next(line for line in lines if line.startswith("kafka."))
    assert "'TLS'" in line
    assert "--kafka.security-protocol" in line
    assert "RIVERLENS_KAFKA__SECURITY_PROTOCOL" in line
    assert "(given: '0'); set by --max-batch-size or RIVERLENS_MAX_BATCH_SIZE" in error


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--drain-timeout-ms=4001"], "drain_timeout_ms (4001) must be at most"),
        (["--heartbeat-interval-ms=2001"], "heartbeat_interval_ms (2001) must be at most a third"),
        (["--session-timeout-ms=2999"], "session_timeout_ms"),
        (["--events-topic=frames"], "must be three different topics"),
        (["--dlq-topic=detections"], "must be three different topics"),
        (["--server=http://127.0.0.1:8501"], "is a gRPC address"),
        (["--server=127.0.0.1"], "server"),
        (["--max-in-flight-calls=0"], "max_in_flight_calls"),
        (["--min-score=nan"], "min_score"),
        (["--frames-topic="], "frames_topic: no name of a topic"),
        (["--events-topic=a b"], "events_topic: no name of a topic"),
        (["--dlq-topic=größe"], "dlq_topic: no name of a topic"),
        (["--dlq-topic=.."], "dlq_topic: no name of a topic"),
        (["--dlq-topic", "a" * 250], "dlq_topic: no name of a topic"),
        (["--bootstrap-servers=localhost"], "kafka.bootstrap_servers"),
        (["--bootstrap-servers=a:1;b:2"], "kafka.bootstrap_servers"),
        (["--kafka.security-protocol=SASL_SSL"], "SASL_SSL needs sasl_username and sasl_password"),
    ],
)
def test_settings_that_cannot_work_are_refused(run: Load, argv: list[str], text: str) -> None:
    """Wrong values and pairs that contradict each other are named before anything starts."""
    assert text in _error(run, *argv)


def test_rules_and_files_are_told_beside_wrong_fields(run: Load) -> None:
    """Nothing waits for the next start: fields, rules over several, labels, certificates, variables."""
    error = _error(
        run,
        "--min-score=2",
        "--drain-timeout-ms=5000",
        "--labels=/no/such/labels.txt",
        "--kafka.security-protocol=SSL",
        "--kafka.ssl-cafile=/no/such/ca.pem",
        "--kafka.sasl-mechanism=NTLM",
        RIVERLENS_MDOEL="street",
    )
    heads = [
        "kafka.sasl_mechanism:",
        "min_score:",
        "drain_timeout_ms (5000)",
        "kafka: certificate",
        "labels:",
    ]
    heads.append("RIVERLENS_MDOEL: no such variable; RIVERLENS_MODEL is")
    lines = error.splitlines()
    assert len(lines) == len(heads)
    assert all(line.startswith(head) for line, head in zip(lines, heads, strict=True))


def test_a_rule_over_a_wrong_field_is_not_told(run: Load) -> None:
    """What a session timeout that is no number would do to the heartbeat nobody knows."""
    error = _error(run, "--session-timeout-ms=soon", "--heartbeat-interval-ms=2500")
    assert error.startswith("session_timeout_ms: Input should be a valid integer")
    assert "\n" not in error


def test_a_login_without_a_name_is_told_beside_a_wrong_field_of_its_table(run: Load) -> None:
    """The rules of [kafka] are asked again too."""
    error = _error(run, "--kafka.security-protocol=SASL_SSL", "--kafka.sasl-mechanism=NTLM")
    assert "kafka.sasl_mechanism: " in error
    assert "SASL_SSL needs sasl_username and sasl_password" in error


def test_pairs_are_reported_together() -> None:
    """Several contradictions give one error that names them all."""
    with pytest.raises(ValidationError) as caught:
        WorkerSettings(drain_timeout_ms=9_000, heartbeat_interval_ms=5_000, events_topic="frames")
    for part in ("drain_timeout_ms", "heartbeat_interval_ms", "three different topics"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--max-batch", "3"], "unrecognized arguments: --max-batch; perhaps --max-batch-size; see"),
        (["--frog=3"], "unrecognized arguments: --frog; see riverlens worker run --help"),
        (["--config"], "expected one argument"),
        (["--max-batch-size"], "expected one argument"),
        (["stray"], "stray"),
        (["--config", "/no/such/file.toml"], "/no/such/file.toml: cannot be read"),
    ],
)
def test_wrong_flags_are_one_line(run: Load, argv: list[str], text: str) -> None:
    """A flag that does not exist or lacks its value: one line that says where help is, no usage page."""
    error = _error(run, *argv)
    assert text in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ("[worker]\nmax_batchsize = 3\n", "max_batchsize: no such setting, perhaps max_batch_size;"),
        ("[kafka]\nbootstrap = 'a:1'\n", "kafka.bootstrap: no such setting, perhaps bootstrap_servers;"),
        ("max_batch_size = 3\n", "max_batch_size must stand in a table, such as [worker]"),
        ("worker = 3\n", "worker must stand in a table"),
        ("[wroker]\nmodel = 'x'\n", "no role reads [wroker]"),
        ("[kafak]\nbootstrap_servers = 'a:1'\n", "no role reads [kafak]"),
        ("[worker\n", "not TOML"),
        ("[worker]\nmax_batch_size = 'many'\n", "max_batch_size"),
    ],
)
def test_a_file_that_would_count_for_nothing_is_refused(run: Load, toml: str, text: str) -> None:
    """Typing errors in names and tables are found, not silently passed over."""
    assert text in _error(run, toml=toml)


@pytest.mark.parametrize(
    ("argv", "toml", "environment"),
    [
        ([f"--kafka.sasl-pasword={SECRET}"], None, {}),
        (["--kafka.sasl-pasword", SECRET], None, {}),
        ([], f"[kafka]\nsasl_pasword = '{SECRET}'\n", {}),
        ([], f"[kafka]\nsasl_password = ['{SECRET}']\n", {}),
        ([], f"[worker]\npasswort = '{SECRET}'\n", {}),
        ([], None, {"RIVERLENS_KAFKA__SASL_PASWORD": SECRET}),
        ([], None, {"RIVERLENS_KAFKA": SECRET}),
        (["--kafka", SECRET], None, {}),
        ([], None, {"RIVERLENS_KAFKA": f'{{"sasl_password": "{SECRET}", "security_protocol": "TLS"}}'}),
        ([f"--kafka.sasl-password={SECRET}", "--kafka.security-protocol=SASL_SSL"], None, {}),
    ],
)
def test_no_error_shows_a_password(
    run: Load, argv: list[str], toml: str | None, environment: dict[str, str]
) -> None:
    """Whatever else is wrong, and under whatever misspelt name it was given."""
    _error(run, *argv, toml=toml, **environment)


def test_no_text_of_the_settings_shows_a_password(
    run: Load, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the object, nor its log line, nor `--print-config`; the client alone gets it."""
    flags = ("--kafka.security-protocol=SASL_PLAINTEXT", "--kafka.sasl-username=eve")
    variables = {"RIVERLENS_KAFKA__SASL_PASSWORD": SECRET, "RIVERLENS_KAFKA__SSL_KEY_PASSWORD": SECRET}
    found = run(*flags, **variables)
    logging.getLogger("test").warning("%s %r", found, found.kafka)
    assert SECRET not in caplog.text + repr(found) + str(found) + found.model_dump_json()
    with pytest.raises(SystemExit) as left:
        run(*flags, "--print-config", **variables)
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert SECRET not in printed
    assert 'sasl_username = "eve"' in printed
    assert found.kafka.client_options()["sasl_plain_password"] == SECRET


def test_what_print_config_prints_gives_the_same_settings(
    run: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed TOML is a whole configuration file."""
    flags = ("--max-batch-size=7", "--labels=coco", "--min-score=0.55", "--bootstrap-servers=a:1")
    with pytest.raises(SystemExit):
        run(*flags, "--print-config")
    assert run(toml=capsys.readouterr().out) == run(*flags)


def test_help_tells_every_setting_its_default_and_meaning(
    run: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--help` leaves with 0 and holds a flag and a text for every field."""
    with pytest.raises(SystemExit) as left:
        run("--help")
    assert left.value.code == 0
    text = capsys.readouterr().out
    for name, field in WorkerSettings.model_fields.items():
        if name != "kafka":
            assert f"--{name.replace('_', '-')}" in text
            assert field.description
    for name in KafkaSettings.model_fields:
        assert f"--kafka.{name.replace('_', '-')}" in text
    assert not re.search(r"\b(str|int|float|tuple|SecretStr|None)\b", text.partition("options:")[2])


def test_certificates_that_cannot_be_used_name_the_settings(tmp_path: Path) -> None:
    """A missing or broken PEM file is one line with the settings that name it."""
    (tmp_path / "broken.pem").write_text("no certificate")
    for name in ("missing.pem", "broken.pem"):
        kafka = KafkaSettings(security_protocol="SSL", ssl_cafile=str(tmp_path / name))
        with pytest.raises(SettingsError, match=rf"kafka\.ssl_cafile.*{name}"):
            kafka.client_options()
