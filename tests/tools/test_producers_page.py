"""docs/producers.md: its commands work as they stand there, and its tables name all there is."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from riverlens.broker import EmbeddedBroker
from riverlens.frame_producer import ProducerStats
from riverlens_producer.camera_metrics import CameraCollector
from riverlens_producer.cameras import Camera
from riverlens_producer.failures import Cause
from riverlens_producer.placement import hashed
from tests.debian_tools import tool
from tests.harness.mjpeg_camera import MjpegCamera, picture
from tests.tools.rtsp_camera import RtspCamera

pytestmark = [pytest.mark.tools, pytest.mark.timeout(500)]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "producers.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
_PARTITIONS = 12


class _Place:
    """A folder, a broker with topics and two cameras, in place of those that the page names."""

    def __init__(self, folder: Path, broker: EmbeddedBroker, rtsp: RtspCamera, mjpeg: MjpegCamera) -> None:
        self.folder = folder
        self._names = {
            "127.0.0.1:9092": broker.bootstrap_servers,
            "rtsp://viewer:secret@10.0.0.5/stream1": rtsp.url.replace("//", "//viewer:secret@") + "/h264",
            "rtsp://10.0.0.5/stream1": f"{rtsp.url}/h264",
            "http://10.0.0.6/video.mjpg": f"{mjpeg.url}/stream",
            "http://10.0.0.6/snapshot.jpg": f"{mjpeg.url}/snapshot",
            "--admin-port 9101": "--admin-port 0",
        }

    def here(self, text: str) -> str:
        """The text with this place's names."""
        for name, meant in self._names.items():
            text = text.replace(name, meant)
        return text

    async def run(self, command: str) -> str:
        """What a command of the page says; it must end well. Producers are stopped after 8 s."""
        script = re.sub(r"(producer run .*)$", r"\1 --duration 8", self.here(command), flags=re.MULTILINE)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RIVERLENS_")}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", script,
            cwd=self.folder, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await process.communicate())[0].decode()
        assert process.returncode == 0, f"{script}\n{said}"
        return said


@pytest.fixture
def fresh() -> Iterator[EmbeddedBroker]:
    """A broker without topics."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
async def place(tmp_path: Path, fresh: EmbeddedBroker) -> AsyncIterator[_Place]:
    """What the page takes for granted: photos, clips, cameras and their login, a broker."""
    for number in range(3):
        for folder in ("photos", "clips"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{number}.jpg").write_bytes(picture(number))
    async with RtspCamera("viewer", "secret") as rtsp, MjpegCamera() as mjpeg:
        there = _Place(tmp_path, fresh, rtsp, mjpeg)
        (tmp_path / "cameras.toml").write_text(there.here(FILES[0]))
        yield there


async def test_every_command_works_as_it_stands(place: _Place) -> None:
    """All of them, in the order of the page; what they send is on the topic, where the page says."""
    for name in ("kcat", "ffmpeg", "curl"):
        tool(name)
    said = [await place.run(command) for command in COMMANDS]
    (place.folder / "program.py").write_text(place.here(PROGRAMS[0]))
    assert "acknowledged=3" in await place.run("python program.py")
    assert "RTSP over TCP, h264" in said[1]
    assert all(f"{name}: " in said[2] for name in ("gate", "yard", "archive"))
    assert re.search(
        r"lobby \d+/\d+ \d+ \d+ bytes content-type=image/jpeg,frame-id=0.jpg,sequence=0", said[-1]
    )
    frames = _frames(said[-1])
    assert frames["gate"] == {0, hashed("gate", _PARTITIONS)}
    assert frames["lobby"] == {hashed("lobby", _PARTITIONS)}
    assert {"yard", "archive"} <= set(frames)


def _frames(listed: str) -> dict[str, set[int]]:
    """Partitions by camera, of what the last command listed."""
    found: dict[str, set[int]] = {}
    for line in listed.splitlines():
        camera, where, *_ = line.split()
        found.setdefault(camera, set()).add(int(where.partition("/")[0]))
    return found


def test_every_field_of_a_camera_is_explained() -> None:
    """The table of cameras.toml names what the file may hold, and nothing else."""
    table = PAGE.partition("| field | meaning | unset |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(Camera.model_fields)


def test_every_metric_is_explained() -> None:
    """The table names each metric that the producer shows, and each reason."""
    registry = CollectorRegistry()
    collector = CameraCollector({}, {}, ProducerStats)
    registry.register(collector)
    table = PAGE.partition("| metric | meaning |")[2].partition("\n\n")[0]
    named = {name.removesuffix("_total") for name in re.findall(r"`(riverlens_producer_\w+)", table)}
    assert named == {metric.name for metric in collector.collect()}
    assert all(f"`{cause.value}`" in table for cause in Cause)
