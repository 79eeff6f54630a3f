"""The README's commands, typed in their order by somebody with a clip, photos, a model, two cameras."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from riverlens.kafka import KafkaSettings
from tests import export_sources
from tests.debian_tools import tool
from tests.documents import to_run
from tests.harness.mjpeg_camera import MjpegCamera, picture
from tests.harness.topics import read_all
from tests.integration.producer_help import write_video
from tests.terminals import BROKER, Terminals
from tests.tools.rtsp_camera import RtspCamera

pytestmark = [
    pytest.mark.tools,
    pytest.mark.timeout(1200),
    # Keras warns of its own use of NumPy when it saves a model.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:keras.*"),
]
_DEMO = {"DEMO_SECONDS": "4", "CAMERAS": "2"}


@pytest.fixture
async def terminals(tmp_path: Path) -> AsyncIterator[Terminals]:
    """A reader's folder; the page's cameras are two that run here."""
    async with RtspCamera("viewer", "secret") as rtsp, MjpegCamera() as mjpeg:
        gate = rtsp.url.replace("//", "//viewer:secret@") + "/h264"
        names = {
            "rtsp://viewer:secret@10.0.0.5/stream1": gate,
            "http://10.0.0.6/video.mjpg": f"{mjpeg.url}/stream",
            "path/to/saved_model": "serving/models/street/1",
            # make runs in the clone.
            "VIDEO=clip.mp4": f"VIDEO={tmp_path}/clip.mp4",
            "LABELS=labels.txt": f"LABELS={tmp_path}/labels.txt",
        }
        _belongings(tmp_path, gate)
        with Terminals(tmp_path, names, _DEMO) as running:
            yield running


def _belongings(folder: Path, camera: str) -> None:
    """The reader's own files."""
    (folder / "photos").mkdir()
    for number in range(3):
        (folder / "photos" / f"{number}.jpg").write_bytes(picture(number))
    (folder / "photo.jpg").write_bytes(picture(7))
    (folder / "cameras.toml").write_text(f'[[camera]]\nid = "hall"\nurl = "{camera}"\nfps = 5\n')
    write_video(folder / "clip.mp4", 25, size=(320, 240))
    for name in ("names.txt", "labels.txt"):
        (folder / name).write_text("cat\ndog\nhare\nbird\n")
    export_sources.keras_model().save(folder / "cats.keras")


async def _events() -> list[dict[str, Any]]:
    """All there are; none before there is a broker."""
    kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{BROKER}")
    return [json.loads(record.value) for record in await read_all(kafka, "detections")]


def _cameras(events: list[dict[str, Any]], since: str = "") -> set[str]:
    return {event["camera_id"] for event in events if event["captured_at"] > since}


async def _wait_for(what: str, seen: Callable[[list[dict[str, Any]]], bool]) -> None:
    async with asyncio.timeout(90):
        while not seen(await _events()):
            pass  # reading all of them takes its time
    print(what)  # noqa: T201  # how far it came, where it fails


async def _type(terminals: Terminals, command: str) -> str:
    """Type it, and wait for what it promises: a producer's cameras, a worker's model among the events."""
    print(command)  # noqa: T201  # how far it came, where it fails
    since = datetime.now(UTC).isoformat()
    said = await asyncio.to_thread(terminals.type, command)
    if command.startswith("riverlens producer run"):
        cameras = set(re.findall(r"--source (\w+)=", command))
        cameras = cameras or {"camera-4" if "--synthetic" in command else "hall"}
        await _wait_for(f"events of {cameras}", lambda events: cameras <= _cameras(events, since))
    if command == "riverlens worker run --model cats":
        await _wait_for("cats", lambda events: any(each["model"]["name"] == "cats" for each in events))
    return said


async def test_every_command_of_the_readme_works_in_its_order(terminals: Terminals) -> None:
    """None fails, and what they are for is there: the demos' numbers, events of each camera and model."""
    tool("kcat")
    said = {}
    for command in to_run("README.md"):
        said[command] = await _type(terminals, command)
    demos = [text for command, text in said.items() if command.startswith("make demo")]
    assert len(demos) == 2
    assert all(re.search(r"consumed \d+ = published \d+", text) and "wall: http" in text for text in demos)
    check = said["riverlens worker check"]
    assert "good" in check
    assert not re.search(r"^\s*bad", check, re.MULTILINE)
    assert {"gate", "yard", "lobby", "hall"} <= _cameras(await _events())
