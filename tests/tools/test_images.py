"""The images, assembled by their container files' own lines: contents, size, and that they run."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import resources
from importlib.metadata import distributions, version
from pathlib import Path

import aiohttp
import pytest
from packaging.utils import canonicalize_name

from riverlens.broker.ports import free_ports
from riverlens.kafka import KafkaSettings
from scripts.image_finish import folder_bytes
from scripts.image_packages import requirements
from tests import model_servers
from tests.conftest import MakeTopics
from tests.container_files import BASE_IMAGE_BYTES, ROOT, assemble, needed
from tests.harness.account import settled
from tests.harness.images import jpeg
from tests.harness.topics import Put, put
from tests.harness.waiting import wait_for
from tests.harness.worker import Worker, flags, running

# Packages are fetched and installed.
pytestmark = [pytest.mark.tools, pytest.mark.timeout(500)]

MAX_BYTES = {"worker": 250_000_000, "producer": 350_000_000}
EXTRAS = {"worker": (), "producer": ("tracing",)}
MODULES = {
    "worker": ("riverlens_worker", "riverlens_wall", "riverlens.scenes"),
    "producer": ("riverlens_producer", "riverlens.scenes"),
}
COMMANDS = {
    "worker": (
        *(("worker", command) for command in ("run", "check", "tune", "redrive")),
        ("topics",),
        ("wall",),
    ),
    "producer": (("producer", "run"), ("producer", "probe"), ("topics",)),
}


Image = Callable[[str], Path]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A role's image: the files that it adds to Python's, assembled when they are first asked for."""
    folder = tmp_path_factory.mktemp("images")

    @cache
    def assembled(role: str) -> Path:
        return assemble(ROOT / role / "Dockerfile", folder / role)

    return assembled


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def _program(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "bin" / "riverlens", *words],
        env={"PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("role", MAX_BYTES)
def test_images_are_small(image: Image, role: str) -> None:
    """With Python's image below, the worker has less than 250 MB, the producer, with FFmpeg, 350."""
    own = folder_bytes(image(role))
    total = own + BASE_IMAGE_BYTES
    print(f"{role}: {total / 1e6:.0f} MB, {own / 1e6:.0f} of them ours")  # noqa: T201  # what people want to know
    assert total < MAX_BYTES[role]


@pytest.mark.parametrize("role", MAX_BYTES)
def test_images_hold_the_packages_of_their_role(image: Image, role: str) -> None:
    """What is installed is what role and extras require, no more, in the versions of constraints.txt."""
    (site_packages,) = image(role).glob("lib/python3.*/site-packages")
    installed = {
        canonicalize_name(each.name): each.version for each in distributions(path=[str(site_packages)])
    }
    assert installed.pop(canonicalize_name("riverlens")) == version("riverlens")
    packages = needed(requirements(role, *EXTRAS[role]))
    wanted = {canonicalize_name(name): found.version for name, found in packages.items()}
    if role == "worker":
        api = "tensorflow-serving-api"
        wanted[canonicalize_name(api)] = version(api)
    assert installed == wanted


@pytest.mark.parametrize("role", MAX_BYTES)
def test_nothing_is_left_to_build_or_test_with(image: Image, role: str) -> None:
    """No installer, compiler, header, test or type stub is in an image, nor TensorFlow's libraries."""
    files = [Path(name) for name in _files(image(role))]
    packages = {name for path in files for name in path.parts if path.parts[0] == "lib"}
    assert not packages & {"pip", "setuptools", "wheel", "hatchling", "keras", "pytest", "f2py", "tests"}
    assert [str(path) for path in files if path.suffix in {".pyi", ".h", ".c", ".a", ".pyx", ".whl"}] == []
    programs = {path.name for path in files if path.parts[0] == "bin"}
    assert not [name for name in programs if name.startswith(("pip", "f2py", "numpy", "wheel"))]
    odd = [
        path
        for path in files
        if "tensorflow" in path.parts
        and not path.name.endswith("_pb2.py")
        and path.name != "__init__.py"
        and path.suffix != ".pyc"
    ]
    assert odd == []


@pytest.mark.parametrize("role", MAX_BYTES)
def test_every_command_starts_and_writes_nothing(image: Image, role: str) -> None:
    """Each command of an image prints its help from these files alone, and leaves them as they were."""
    before = _files(image(role))
    for words in COMMANDS[role]:
        done = _program(image(role), *words, "--help")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    assert _files(image(role)) == before


WALK = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, f"{name}."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
"""


@pytest.mark.parametrize("role", MAX_BYTES)
def test_every_module_of_a_role_can_be_imported(image: Image, role: str) -> None:
    """What was taken out of other people's code is what none of our modules asks for."""
    words: list[Path | str] = [image(role) / "bin" / "python", "-I", "-B", "-c", WALK, *MODULES[role]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("role", MAX_BYTES)
def test_a_start_compiles_nothing(image: Image, role: str) -> None:
    """Bytecode of all that a command imports is in its image: Python reads no source of ours at a start."""
    done = _program(image(role), role, "run", "--help", PYTHONVERBOSE="1")
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("# code object from '") and str(image(role)) in line]
    assert [line for line in lines if line.startswith(f"# code object from {image(role)}")] == []


@pytest.mark.parametrize("role", MAX_BYTES)
def test_tracing_is_there_or_the_image_says_how(image: Image, role: str) -> None:
    """The producer's image can trace; the worker's names the build argument that adds what it takes."""
    words = {"worker": (), "producer": ("--synthetic",)}[role]
    done = _program(
        image(role), role, "run", "--tracing=otlp", "--kafka.bootstrap-servers=127.0.0.1:9", *words
    )
    wanted, says = (3, "--build-arg EXTRAS=tracing") if role == "worker" else (4, "Kafka at 127.0.0.1:9")
    assert done.returncode == wanted, done.stderr
    assert says in done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A model server of the demo's model."""
    flags_ = ("--model_name=street", f"--model_base_path={ROOT / 'serving' / 'models' / 'street'}")
    with model_servers.model_server(tmp_path / "server.log", *flags_) as started:
        yield started.address


def _start(folder: Path, tmp_path: Path, arguments: list[str]) -> Worker:
    log = tmp_path / "worker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [folder / "bin" / "riverlens", "worker", "run", *arguments],
            stdout=output,
            stderr=output,
            env={"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent", "TMPDIR": os.fspath(tmp_path)},
        )
    return Worker(process, log)


async def test_the_worker_runs_from_its_image(
    image: Image, server: str, kafka: KafkaSettings, make_topics: MakeTopics, tmp_path: Path
) -> None:
    """From the image's files alone, started by its entry point, a worker makes 20 frames 20 events."""
    topics = await make_topics(partitions=2)
    settings = {
        "kafka.bootstrap_servers": kafka.bootstrap_servers,
        "frames_topic": topics.frames,
        "events_topic": topics.events,
        "dlq_topic": topics.dlq,
        "group_id": topics.group,
        "server": server,
        "admin_port": 0,
    }
    before = _files(image("worker"))
    async with running(_start(image("worker"), tmp_path, flags(settings))) as worker:
        await worker.ready()
        await put(kafka, topics.frames, [Put(jpeg(), f"camera-{n % 4}".encode()) for n in range(20)])
        (await settled(kafka, topics, 20)).check()
        assert "tensorflow" not in worker.maps()
        assert await worker.stop() == 0
    assert _files(image("worker")) == before


async def test_the_wall_serves_its_page_from_the_workers_image(image: Image, tmp_path: Path) -> None:
    """From the image's files alone the wall answers, Kafka or not, with the page and each of its files."""
    (port,) = free_ports(1)
    before = _files(image("worker"))
    words = ["wall", f"--port={port}", "--kafka.bootstrap-servers=127.0.0.1:9"]
    static = resources.files("riverlens_wall") / "static"
    wall = subprocess.Popen(  # noqa: ASYNC220  # returns at once
        [image("worker") / "bin" / "riverlens", *words],
        env={"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent", "TMPDIR": os.fspath(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:

            async def got(path: str) -> bytes | None:
                assert wall.poll() is None, "the wall ended"
                with suppress(aiohttp.ClientConnectionError):
                    async with session.get(f"http://127.0.0.1:{port}/{path}") as reply:
                        assert reply.status == 200, path
                        return await reply.read()
                return None

            await wait_for(lambda: got(""), what="the page", timeout_s=60)
            for file in static.iterdir():
                assert await got(f"static/{file.name}") == file.read_bytes()
    finally:
        wall.terminate()
        assert await asyncio.to_thread(wall.wait, 60) == 0
    assert _files(image("worker")) == before
