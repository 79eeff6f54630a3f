"""A plain Kafka tool is a whole producer and a whole consumer: no library of ours on either side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from riverlens import Event, read_event, schemas
from tests.debian_tools import run_tool
from tests.line import Line

pytestmark = [pytest.mark.tools, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line with a model server and a worker, and no producer."""
    with Line(tmp_path_factory.mktemp("line")) as running:
        running.start_server()
        running.start_worker("worker", admin_port=running.admin_port)
        running.wait_ready()
        yield running


def test_a_jpeg_put_by_kcat_with_a_key_gives_an_event(line: Line, tmp_path: Path) -> None:
    """`kcat -P -k lobby picture.jpg` and nothing else: one event of camera lobby, valid by the schema."""
    picture = tmp_path / "picture.jpg"
    Image.effect_noise((320, 240), 64).convert("RGB").save(picture)
    kafka = ["-b", line.broker.bootstrap_servers]
    run_tool("kcat", "-P", *kafka, "-t", "frames", "-k", "lobby", str(picture))
    output = run_tool(
        "kcat",
        "-C",
        *kafka,
        "-t",
        "detections",
        "-o",
        "beginning",
        "-c",
        "1",
        "-f",
        "%k\n%p\n%s",
        timeout_s=120,
    )
    key, partition, value = output.split("\n", 2)
    Draft202012Validator(schemas.load("event")).validate(json.loads(value))
    event = read_event(value.encode())
    assert isinstance(event, Event)
    assert key == event.camera_id == "lobby"
    assert event.image_size == (320, 240)
    assert event.origin.partition == int(partition)
    assert event.event_id == f"frames/{partition}/0"
