"""The servers under contract: the embedded one, or any that RIVERLENS_CONTRACT_TARGET names.

Another server must serve the models of `python -m tests.models FOLDER` (FOLDER/models.config; a container
mounts FOLDER at the same path). The batching tests take one started with tests/contract/batching.config too,
from RIVERLENS_CONTRACT_BATCHING_TARGET.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import model_servers
from tests.contract.client import Client
from tests.models import make_contract_models

BATCHING_CONFIG = Path(__file__).with_name("batching.config")


@pytest.fixture(scope="session")
def _embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Addresses of a plain and of a batching embedded server, started side by side."""
    folder = tmp_path_factory.mktemp("contract-models")
    config = f"--model_config_file={make_contract_models(folder)}"
    batching = ("--enable_batching", f"--batching_parameters_file={BATCHING_CONFIG}", "--grpc_max_threads=32")
    logs = folder / "plain.log", folder / "batching.log"
    processes = [model_servers.start(logs[0], config), model_servers.start(logs[1], config, *batching)]
    try:
        plain, batched = (
            model_servers.wait_ready(process, log) for process, log in zip(processes, logs, strict=True)
        )
        yield plain.address, batched.address
    finally:
        for process in processes:
            model_servers.stop(process)


@pytest.fixture(scope="session")
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the server under contract, without batching."""
    target = os.environ.get("RIVERLENS_CONTRACT_TARGET")
    with Client(target or request.getfixturevalue("_embedded")[0]) as connected:
        yield connected


@pytest.fixture(scope="session")
def batching_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the server under contract, with batching."""
    target = os.environ.get("RIVERLENS_CONTRACT_BATCHING_TARGET")
    if target is None and os.environ.get("RIVERLENS_CONTRACT_TARGET"):
        pytest.skip("RIVERLENS_CONTRACT_BATCHING_TARGET names no server with batching")
    with Client(target or request.getfixturevalue("_embedded")[1]) as connected:
        yield connected
