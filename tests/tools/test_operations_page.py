"""The commands of docs/operations.md, run against a running line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import documents
from tests.dashboard_queries import ROOT
from tests.line import Line
from tests.prometheus_server import wait_until

pytestmark = [pytest.mark.tools, pytest.mark.timeout(300)]

PAGE = ROOT / "docs" / "operations.md"
NOT_RUN = documents.NOT_RUN["docs/operations.md"]


def _commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return list(dict.fromkeys(line for block in blocks for line in block.splitlines() if line))


RUN = [command for command in _commands() if not command.startswith(tuple(NOT_RUN))]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A whole line with an event and a dead letter."""
    with Line(tmp_path_factory.mktemp("line")) as running:
        running.start_server()
        running.start_worker("worker", admin_port=running.admin_port)
        running.start_cameras("few", 2, "--fps=2")
        running.wait_ready()
        running.send(b"this is no image")
        (running.folder / "photo.jpg").write_bytes((running.folder / "picture.jpg").read_bytes())
        yield running


def _run(command: str, line: Line, folder: Path) -> subprocess.CompletedProcess[str]:
    """By a shell that fails where any part of a pipe does, with our addresses for the page's words."""
    for word, address in {
        "MODEL_SERVER:8501": line.targets["127.0.0.1:8501"],
        "WORKER": line.admin,
        "KAFKA": line.kafka.bootstrap_servers,
        "photo.jpg": str(line.folder / "photo.jpg"),
        "dashboards/": f"{ROOT}/dashboards/",
    }.items():
        command = command.replace(word, address)
    command = re.sub(r"^riverlens ", f"{sys.executable} -m riverlens ", command)
    settings = {
        "RIVERLENS_KAFKA__BOOTSTRAP_SERVERS": line.kafka.bootstrap_servers,
        "RIVERLENS_SERVER": f"127.0.0.1:{line.server_port}",
    }
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=os.environ | settings,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("command", RUN)
def test_a_command_of_the_page_does_what_it_says(command: str, line: Line, tmp_path: Path) -> None:
    """It ends well, and those that show something show it."""

    def told() -> bool:
        done = _run(command, line, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return bool(done.stdout or done.stderr) or " -P " in command

    # The first event and the first dead letter may be on their way yet.
    wait_until(told, f"something to be shown by {command}", 60)


def test_every_command_is_run_or_has_a_reason() -> None:
    """No reason is kept for a command that is gone."""
    print(f"{len(RUN)} commands run, {len(_commands()) - len(RUN)} not")  # noqa: T201  # the figure
    for start, reason in NOT_RUN.items():
        assert reason
        assert any(command.startswith(start) for command in _commands()), start
