"""Container files as the tests read them, and their build stage run here, line by line, without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
BASE_IMAGE = "python:3.13.15-slim-bookworm"
BASE_IMAGE_BYTES = 120_970_000
"""On disk, all layers, linux/amd64, on 2026-08-25; docker-library/repo-info tells it for each image:
repos/python/local/3.13-slim-bookworm.md."""
ENVIRONMENT = "/opt/riverlens"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a container file, its lines joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The text in words."""
        return self.text.split()


def stages(path: Path) -> list[list[Instruction]]:
    """The instructions of each stage, FROM first; what stands before the first FROM is left out."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            found.append([])
        if name and found:
            found[-1].append(Instruction(name, rest.strip()))
    return found


def _pattern(text: str) -> re.Pattern[str]:
    escaped = re.escape(text).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    return re.compile(escaped)


@cache
def _ignore_rules() -> tuple[tuple[bool, re.Pattern[str]], ...]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = (line.strip() for line in lines if line.strip() and not line.startswith("#"))
    return tuple((not rule.startswith("!"), _pattern(rule.removeprefix("!"))) for rule in rules)


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path, relative to the repository, into a build; the last rule wins."""
    parts = path.split("/")
    lineage = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    ignored = False
    for ignores, pattern in _ignore_rules():
        if any(pattern.fullmatch(each) for each in lineage):
            ignored = ignores
    return not ignored


def _context_files() -> Iterator[str]:
    """Every file of the repository that a build would be sent."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    return (path for path in listed.stdout.splitlines() if in_context(path) and (ROOT / path).is_file())


def _copy(instruction: Instruction, into: Path) -> None:
    *sources, target = instruction.words
    for source in sources:
        place = into / target
        wanted = [path for path in _context_files() if source in {".", path} or path.startswith(f"{source}/")]
        assert wanted, f"COPY {instruction.text}: {source} is not in the build's context"
        for path in wanted:
            single = path == source
            end = place / (Path(path).name if single else path)
            end.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, end)


def _run(instruction: Instruction, folder: Path, environment: dict[str, str]) -> None:
    command = instruction.text.replace(ENVIRONMENT, f"{folder}{ENVIRONMENT}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=folder / "src",
        env={**os.environ, **environment, "PATH": path, "PIP_NO_CACHE_DIR": "0"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"RUN {instruction.text} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def assemble(path: Path, folder: Path) -> Path:
    """Run a container file's build stage with this Python; the folder that its last stage copies out of it.

    TensorFlow's messages are taken from the installed package: its wheel alone has 600 MB.
    """
    build, last = stages(path)
    environment = {"MESSAGES_FROM": str(distribution("tensorflow").locate_file(""))}
    (folder / "src").mkdir(parents=True)
    for instruction in build[1:]:
        match instruction.name:
            case "COPY":
                _copy(instruction, folder / "src")
            case "RUN":
                _run(instruction, folder, environment)
            case "ARG":
                name, _, default = instruction.text.partition("=")
                environment[name] = default
            case "WORKDIR":
                assert instruction.text == "/src"
            case "ENV":
                assert all(word.startswith("PIP_") for word in instruction.words)
            case _:
                pytest.fail(f"{path}: {instruction.name} is unknown here")
    copies = [each.words for each in last if each.name in {"COPY", "ADD"}]
    assert copies == [["--from=build", ENVIRONMENT, ENVIRONMENT]]
    return folder / ENVIRONMENT.removeprefix("/")


def needed(lines: list[str]) -> dict[str, Distribution]:
    """Installed distributions that requirements bring along, by name as it was asked for."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(line) for line in lines]
    while waiting:
        wanted = waiting.pop()
        extras = wanted.extras or {""}
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": e}) for e in extras):
            continue
        known = wanted.name in found
        package = found.setdefault(wanted.name, distribution(wanted.name))
        if known and not wanted.extras:
            continue
        for line in package.requires or []:
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in extras):
                inner.marker = None
                waiting.append(inner)
    return found
