"""The commands of docs/tuning.md and serving's READMEs, typed in their order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.cost import Cost
from tests.debian_tools import tool
from tests.documents import to_run
from tests.harness.tuning import MODEL, simulated
from tests.terminals import SERVER, Terminals

pytestmark = [pytest.mark.tools, pytest.mark.timeout(400)]


@pytest.fixture
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A simulated model server, in place of the page's GPU."""
    with simulated(tmp_path_factory.mktemp("device"), Cost(20.0, 3.0)) as address:
        yield address


@pytest.mark.parametrize("page", ["docs/tuning.md", "serving/README.md", "serving/gpu/README.md"])
def test_every_command_of_a_page_works_in_its_order(page: str, tmp_path: Path, device: str) -> None:
    """None fails, and those that show something show it."""
    tool("curl")
    tuning = page == "docs/tuning.md"
    names = {
        "/tmp/contract": f"{tmp_path}/contract",  # noqa: S108  # the page's word, not a place of ours
        # Less time than the reader has, and no limit that a busy machine may miss.
        "--server gpu1:8500 --model street --latency-target-ms 250": (
            f"--server {device} --model {MODEL} --latency-target-ms 1000 --seconds 30 --most-rows 16"
        ),
    }
    settings = {"RIVERLENS_SERVER": device if tuning else f"127.0.0.1:{SERVER}"}
    with Terminals(tmp_path, names, settings) as terminals:
        if tuning:
            terminals.type("riverlens broker")
            terminals.type("riverlens topics")
        said = {command: terminals.type(command) for command in to_run(page)}
    assert all(text or "tests.contract" in command for command, text in said.items())
