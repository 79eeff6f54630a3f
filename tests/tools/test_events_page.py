"""The commands and programs of docs/events.md, run as they stand there against a running line."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.dashboard_queries import ROOT
from tests.debian_tools import tool
from tests.harness.images import noise_jpeg
from tests.line import Line, Record
from tests.prometheus_server import wait_until

pytestmark = [pytest.mark.tools, pytest.mark.timeout(400)]

PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
FRAMES = 6
PICTURE = noise_jpeg(1)


def _block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


ALL, NEWEST, FOLLOW = _block("sh").splitlines()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A whole line whose worker has made six events: detections in a zone of the whole picture."""
    folder = tmp_path_factory.mktemp("line")
    zones = '[{"name": "all", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]}]'
    with Line(folder) as running:
        running.start_server()
        running.start_worker("worker", "--min-score=0", f"--zones={zones}", admin_port=running.admin_port)
        running.wait_ready()
        running.send_all([Record(PICTURE, b"gate-1")] * FRAMES)
        yield running


def _here(line: Line, text: str) -> str:
    """The text with this line's address."""
    return text.replace("127.0.0.1:9092", line.kafka.bootstrap_servers)


@asynccontextmanager
async def _running(line: Line, command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command of the page, its outputs to be read."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        "bash", "-o", "pipefail", "-c", _here(line, command), cwd=line.folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
        await process.communicate()


async def _said(line: Line, command: str) -> str:
    """All that a command says; it must end well."""
    async with _running(line, command) as process:
        said, errors = await process.communicate()
        assert process.returncode == 0, f"{command}\n{errors.decode()}"
    return said.decode()


async def _next_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode()


def _wait_for_events(line: Line) -> None:
    def there() -> bool:
        return asyncio.run(_said(line, ALL)).count('"event_id"') >= FRAMES

    wait_until(there, "the line's events", 60)


def test_what_kcat_and_other_languages_read(line: Line) -> None:
    """Key, headers and value of each; JSON that a program without riverlens understands, repeats left out."""
    for name in ("kcat", "node"):
        tool(name)
    _wait_for_events(line)
    said = asyncio.run(_said(line, ALL))
    assert re.search(
        r"^gate-1 \d+/0 ce_specversion=1\.0,ce_id=frames/\d+/0,ce_type=riverlens", said, re.MULTILINE
    )
    assert '"zones":["all"]' in said
    assert len(asyncio.run(_said(line, NEWEST)).splitlines()) == 3
    (line.folder / "count.js").write_text(_block("js"), encoding="utf-8")
    counted = asyncio.run(_said(line, f"({NEWEST}; {NEWEST}) | node count.js")).splitlines()
    assert [words.split()[1] for words in counted] == ["gate-1"] * 3, "each event once"


def test_a_camera_can_be_followed(line: Line) -> None:
    """From now on, nobody else's events."""
    tool("kcat")

    async def followed() -> str:
        async with _running(line, FOLLOW) as process:
            while True:
                # kcat takes a moment to stand at the end: frames come until it has shown one.
                await asyncio.to_thread(line.send_all, [Record(PICTURE, b"yard"), Record(PICTURE, b"gate-1")])
                try:
                    async with asyncio.timeout(2):
                        return await _next_line(process)
                except TimeoutError:
                    continue

    assert '"camera_id":"gate-1"' in asyncio.run(followed())


async def _first_line_and_errors(line: Line) -> tuple[str, str]:
    """Of the page's program, stopped by Ctrl-C once it has said something."""
    async with _running(line, "python program.py") as process, asyncio.timeout(60):
        first = await _next_line(process)
        if first:
            os.killpg(process.pid, signal.SIGINT)
        _, errors = await process.communicate()
    return first, errors.decode()


def test_the_python_program_reads_events(line: Line) -> None:
    """As it stands there; stopped by Ctrl-C, it closes its consumer."""
    _wait_for_events(line)
    (line.folder / "program.py").write_text(_here(line, _block("python")), encoding="utf-8")
    first, errors = asyncio.run(_first_line_and_errors(line))
    assert re.match(r"(gate-1|yard) .+ \d\.\d+ \(", first), errors
    assert "KeyboardInterrupt" in errors
    assert "Unclosed" not in errors


def test_the_python_program_leaves_nothing_open_where_kafka_is_away(line: Line) -> None:
    """It ends with aiokafka's own error, its consumer closed."""
    program = _block("python").replace("127.0.0.1:9092", "127.0.0.1:1")
    (line.folder / "program.py").write_text(program, encoding="utf-8")
    first, errors = asyncio.run(_first_line_and_errors(line))
    assert not first
    assert "KafkaConnectionError" in errors
    assert "Unclosed" not in errors
