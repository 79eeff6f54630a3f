"""The commands of a page as its reader types them: those that keep running each in a terminal of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from riverlens.broker.ports import free_ports
from tests.documents import ROOT
from tests.prometheus_server import wait_until

BROKER, SERVER, ADMIN, REST = free_ports(4)
_KEEPS_RUNNING = {
    "riverlens broker": r"is ready, data in",
    "riverlens serving run": r"^listening on ",
    "riverlens worker run": r"partitions assigned: \[",
    "riverlens wall": r"the wall is at http",
    "riverlens producer run": r"",
    "kcat": r"\S",
}
"""What shows that it works, by how the command starts; kcat where it would read for ever."""
_FLAGS = {
    "riverlens broker": f" --port {BROKER}",
    "riverlens serving run": f" --port={SERVER}",
    "riverlens worker run": f" --admin-port {ADMIN}",
    "riverlens producer run": " --admin-port 0 --progress off",
    "riverlens wall": " --wall-port 0",
}
_ADDRESSES = {
    "http://127.0.0.1:9100": f"http://127.0.0.1:{ADMIN}",
    "localhost:9092": f"127.0.0.1:{BROKER}",
    "127.0.0.1:9092": f"127.0.0.1:{BROKER}",
    "localhost:8501": f"127.0.0.1:{REST}",
    "--rest_api_port=8501": f"--rest_api_port={REST}",
}
_WITHIN_S = 90


class Terminals:
    """A folder that looks like a clone's root, and what runs in it; make runs in the clone itself.

    Args:
        folder: an empty one; the logs `<number>.log` go there.
        names: what stands for the page's names here, beside Kafka and the ports.
        settings: further variables of the commands' environment.
    """

    def __init__(
        self, folder: Path, names: Mapping[str, str], settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._names = _ADDRESSES | dict(names)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name == "RIVERLENS_CACHE" or not name.startswith("RIVERLENS_")
        }
        self._environment = kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "RIVERLENS_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{BROKER}",
            "RIVERLENS_SERVER": f"127.0.0.1:{SERVER}",
        }
        self._environment |= dict(settings or {})
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._count = 0
        for entry in ROOT.iterdir():
            # Not what sets up: it would install the folder of links in place of the clone.
            if entry.name not in {".git", "Makefile", "scripts", "demo-output", "models"}:
                (folder / entry.name).symlink_to(entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(list(self._running)):
            self._end(name, must=kind is None)

    def type(self, command: str) -> str:
        """Run a command to its end, or until it does what it goes on with; what it has said by then.

        Where one of its kind runs already, that is stopped first, as pages ask their readers to.
        """
        for name, meant in self._names.items():
            command = command.replace(name, meant)
        kind = self._kind(command)
        if kind is None:
            return self._run(command)
        if kind in self._running:
            self._end(kind, must=True)
        return self._start(kind, command + _FLAGS.get(kind, ""))

    @staticmethod
    def _kind(command: str) -> str | None:
        start = next((start for start in _KEEPS_RUNNING if command.startswith(start)), None)
        return None if start == "kcat" and re.search(r" -(e|P|c)\b", command) else start

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=ROOT if command.startswith("make") else self.folder,
            env=self._environment, text=True, check=False, timeout=300,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def _start(self, kind: str, command: str) -> str:
        self._count += 1
        log = self.folder / f"{self._count}.log"
        with log.open("wb") as output:
            self._running[kind] = process = subprocess.Popen(
                ["bash", "-c", command], cwd=self.folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

        def works() -> bool:
            said = log.read_text(errors="replace")
            assert process.poll() is None, f"{command}\n{said}"
            return re.search(_KEEPS_RUNNING[kind], said, re.MULTILINE) is not None

        wait_until(works, command, _WITHIN_S)
        return log.read_text(errors="replace")

    def _end(self, kind: str, *, must: bool) -> None:
        """As Ctrl-C does it, to all of a pipe; ours must end well."""
        process = self._running.pop(kind)
        os.killpg(process.pid, signal.SIGINT)
        try:
            code = process.wait(_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        assert not must or code == 0 or not kind.startswith("riverlens"), f"{kind} ended with {code}"
