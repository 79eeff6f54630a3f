"""The servers under contract: embedded ones, or any that environment variables name.

`make contract` starts the embedded server, five times with other flags. `make contract TARGET=host:8500`
takes a server that runs, a container for instance, and as many of its siblings as are named; what needs
another one is skipped and not counted. All serve the models of `python -m tests.contract.models FOLDER`
(`--model_config_file=FOLDER/models.config`; a container mounts FOLDER at the same path), with

| variable (gRPC; `..._REST_TARGET` for HTTP) | further flags |
|---|---|
| RIVERLENS_CONTRACT_TARGET | PLAIN below; its HTTP port is 8501 unless named |
| RIVERLENS_CONTRACT_BATCHING_TARGET | BATCHING and batching.config |
| RIVERLENS_CONTRACT_STRICT_TARGET | STRICT |
| RIVERLENS_CONTRACT_PADDING_TARGET | padding.config |
| RIVERLENS_CONTRACT_SPLITTING_TARGET | splitting.config |
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grpc
import pytest

from riverlens_serving import flags
from riverlens_serving.server import Server
from tests import model_servers
from tests.contract import rows
from tests.contract.client import Client, refused, spec
from tests.contract.models import CONTRACT_MODELS, make_contract_models
from tests.contract.rest_client import RestClient

HERE = Path(__file__).parent
LABELS = "--allow_version_labels_for_unavailable_models"
PLAIN = (
    LABELS,
    "--rest_api_port=auto",
    "--enable_grpc_healthcheck_service",
    f"--monitoring_config_file={HERE.parents[1] / 'serving' / 'gpu' / 'monitoring.config'}",
)
BATCHING = (LABELS, "--rest_api_port=auto", "--rest_api_timeout_in_ms=100", "--grpc_max_threads=32")
STRICT = (LABELS, "--enable_signature_method_name_check", "--enable_serialization_as_tensor_content")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server answers; `rest` is empty where it has no HTTP port, or none that is known."""

    grpc: str
    rest: str = ""


def _batching(file: str) -> tuple[str, ...]:
    return "--enable_batching", f"--batching_parameters_file={HERE / file}"


def pytest_configure(config: pytest.Config) -> None:
    """Let tests name the rows that they cover, and count those."""
    config.addinivalue_line("markers", "row(name): the row of the contract that this test holds")
    config.pluginmanager.register(rows.Tally(), "contract-rows")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These run with nothing beside them: which calls share a batch is a matter of time."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.alone)


@pytest.fixture(scope="session")
def models_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config file of the contract's models, made once."""
    return make_contract_models(tmp_path_factory.mktemp("contract-models"))


@pytest.fixture(scope="session")
def _children(models_config: Path) -> Iterator[dict[str, Target]]:
    """A plain and a batching embedded server, as processes, started side by side."""
    folder, config = models_config.parent, f"--model_config_file={models_config}"
    starts = {"": PLAIN, "BATCHING_": (*BATCHING, *_batching("batching.config"))}
    logs = {kind: folder / f"{kind or 'PLAIN_'}server.log" for kind in starts}
    processes = {kind: model_servers.start(logs[kind], config, *extra) for kind, extra in starts.items()}
    try:
        running = {kind: model_servers.wait_ready(process, logs[kind]) for kind, process in processes.items()}
        yield {kind: Target(server.address, server.rest_address) for kind, server in running.items()}
    finally:
        for process in processes.values():
            model_servers.stop(process)


@pytest.fixture(scope="session")
def _inside(models_config: Path) -> Iterator[Callable[..., Target]]:
    """Starts further embedded servers inside this process, which has TensorFlow loaded already."""
    with ExitStack() as stack:

        def start(*extra: str) -> Target:
            options = flags.parse((f"--model_config_file={models_config}", "--port=auto", *extra), "contract")
            assert options is not None
            server = Server(options, threading.Event())
            stack.callback(server.stop)
            return Target(f"127.0.0.1:{server.start()}")

        yield start


def _named(kind: str) -> Target | None:
    """The server that the environment names; skips where it names others only."""
    target = os.environ.get(f"RIVERLENS_CONTRACT_{kind}TARGET")
    if target:
        _check_models(target)
        default_rest = f"{target.rpartition(':')[0]}:8501" if not kind else ""
        return Target(target, os.environ.get(f"RIVERLENS_CONTRACT_{kind}REST_TARGET", default_rest))
    if os.environ.get("RIVERLENS_CONTRACT_TARGET"):
        pytest.skip(f"RIVERLENS_CONTRACT_{kind}TARGET names no such server")
    return None


@cache
def _check_models(target: str) -> None:
    """End with one line, instead of a failure a row, where a named server lacks the models."""
    with Client(target) as asked:
        try:
            for name in CONTRACT_MODELS:
                asked.status(spec(name))
        except grpc.RpcError as error:
            got = refused(error)
            pytest.exit(
                f"{target} does not serve the contract's models ({got.code}: {got.message});"
                " `python -m tests.contract.models FOLDER` writes them and the config that it must be started"
                " with: see serving/README.md",
                returncode=2,
            )


@pytest.fixture(scope="session")
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the server under contract, without batching."""
    with Client((_named("") or request.getfixturevalue("_children")[""]).grpc) as connected:
        yield connected


@pytest.fixture(scope="session")
def rest(request: pytest.FixtureRequest) -> Iterator[RestClient]:
    """An HTTP client of that server."""
    with RestClient((_named("") or request.getfixturevalue("_children")[""]).rest) as connected:
        yield connected


@pytest.fixture(scope="session")
def batching_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the server with batching."""
    with Client((_named("BATCHING_") or request.getfixturevalue("_children")["BATCHING_"]).grpc) as connected:
        yield connected


@pytest.fixture(scope="session")
def batching_rest(request: pytest.FixtureRequest) -> Iterator[RestClient]:
    """An HTTP client of that server, whose runs time out before its batches do."""
    with RestClient(
        (_named("BATCHING_") or request.getfixturevalue("_children")["BATCHING_"]).rest
    ) as connected:
        yield connected


def _further(request: pytest.FixtureRequest, kind: str, *extra: str) -> Client:
    return Client((_named(kind) or request.getfixturevalue("_inside")(LABELS, *extra)).grpc)


@pytest.fixture(scope="session")
def strict_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a server that checks method names and replies in tensor_content."""
    with _further(request, "STRICT_", *STRICT) as connected:
        yield connected


@pytest.fixture(scope="session")
def padding_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a server that pads shapes, and whose queue holds one batch."""
    with _further(request, "PADDING_", *_batching("padding.config"), "--grpc_max_threads=16") as connected:
        yield connected


@pytest.fixture(scope="session")
def splitting_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a server that spreads large requests over batches."""
    with _further(
        request, "SPLITTING_", *_batching("splitting.config"), "--grpc_max_threads=16"
    ) as connected:
        yield connected
