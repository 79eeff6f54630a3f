"""Variables of the environment: a mistyped one is refused, others' are let be, unknown ones warned of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from riverlens.errors import SettingsError
from riverlens.settings import Settings, load
from riverlens.variables import ROLES
from riverlens_worker.settings import WorkerSettings

Load = Callable[..., WorkerSettings]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load the worker's settings from these variables alone."""

    def _run(**environment: str) -> WorkerSettings:
        for name in os.environ:
            if name.startswith("RIVERLENS_"):
                monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return load(WorkerSettings, [], prog="riverlens worker run")

    return _run


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("RIVERLENS_MAX_BATCHSIZE", "RIVERLENS_MAX_BATCH_SIZE"),
        ("riverlens_lables", "RIVERLENS_LABELS"),
        ("RIVERLENS_WORKER_MODEL", "RIVERLENS_MODEL"),
        ("RIVERLENS_WORKER__MODEL", "RIVERLENS_MODEL"),
        ("RIVERLENS_BOOTSTRAP_SERVERS", "RIVERLENS_KAFKA__BOOTSTRAP_SERVERS"),
    ],
)
def test_a_mistyped_variable_is_refused_by_name(run: Load, variable: str, meant: str) -> None:
    """It would silently leave the setting at its default; what it holds is not shown."""
    with pytest.raises(SettingsError) as caught:
        run(**{variable: "hunter2"})
    assert str(caught.value) == f"{variable}: no such variable; {meant} is probably meant"


@pytest.mark.parametrize(
    "variable",
    [
        "RIVERLENS_DEMO_SECONDS",
        "RIVERLENS_SIZE",
        "RIVERLENS_RETENTION_MINUTES",
        "RIVERLENS_DATA_DIR",
        "RIVERLENS_TESTDATA",
        "RIVERLENS_CACHE",
        "RIVERLENS_CONTRACT_TARGET",
        "RIVERLENS_SERVER_SERVICE_HOST",
        "RIVERLENS_SERVICE_PORT_GRPC",
        "RIVERLENS_PORT_9100_TCP_ADDR",
    ],
)
def test_variables_for_others_are_let_be(run: Load, caplog: pytest.LogCaptureFixture, variable: str) -> None:
    """Those of other roles, of tests and scripts, and what Kubernetes adds for a Service: not a word."""
    assert run(**{variable: "1"}) == WorkerSettings()
    assert not caplog.records


def test_kubernetes_address_of_a_service_is_let_be(run: Load, caplog: pytest.LogCaptureFixture) -> None:
    """A Service called riverlens-server gives a variable near to one of ours, with an address in it."""
    assert run(RIVERLENS_SERVER_PORT="tcp://10.0.0.1:8500") == WorkerSettings()
    assert not caplog.records


def test_a_variable_that_nobody_reads_is_warned_of_in_the_logs_form(tmp_path: Path) -> None:
    """It may be somebody else's, so the role starts; the line names another role's setting near to it."""
    file = tmp_path / "riverlens.toml"
    file.write_text("[worker]\nlog_format = 'json'\n", encoding="utf-8")
    code = (
        "from riverlens.settings import load; from riverlens_worker.settings import WorkerSettings\n"
        f"load(WorkerSettings, ['--config', {str(file)!r}], prog='worker')"
    )
    variables = {"RIVERLENS_SYNTHETC": "1", "RIVERLENS_IMAGE_TAG": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={name: value for name, value in os.environ.items() if "RIVERLENS_" not in name} | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == [
        "RIVERLENS_SYNTHETC: no part of riverlens reads this variable; RIVERLENS_SYNTHETIC?",
        "RIVERLENS_IMAGE_TAG: no part of riverlens reads this variable",
    ]


def test_every_role_with_settings_is_known() -> None:
    """The list of those whose variables are told from mistyped ones names them all, and only them."""
    for module, name in ROLES:
        assert issubclass(getattr(import_module(module), name), Settings)
    assert {role for _, role in ROLES} == {role.__name__ for role in Settings.__subclasses__()}


def test_an_empty_variable_is_an_unset_one(run: Load) -> None:
    """Compose files pass `${LABELS:-}`: that means no labels, not labels named nothing."""
    found = run(RIVERLENS_LABELS="", RIVERLENS_INPUT_SIZE="", RIVERLENS_KAFKA__SASL_USERNAME="")
    assert (found.labels, found.input_size, found.kafka.sasl_username) == (None, None, None)
