"""The container files: pinned, without root, with nothing in them that only a build needs."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from scripts.image_finish import IMPORTS
from scripts.image_packages import requirements
from tests.compose_file import load_compose
from tests.container_files import BASE_IMAGE, ROOT, Instruction, in_context, stages

ROLES = ("worker", "producer")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY", re.IGNORECASE)


def _last(role: str) -> list[Instruction]:
    return stages(ROOT / role / "Dockerfile")[-1]


def _texts(role: str, name: str) -> list[str]:
    return [each.text for each in _last(role) if each.name == name]


@pytest.mark.parametrize("role", ROLES)
def test_bases_are_pinned(role: str) -> None:
    """Both stages stand on one image, given as an argument whose default names a patch version."""
    path = ROOT / role / "Dockerfile"
    assert f"\nARG PYTHON_IMAGE={BASE_IMAGE}\n" in path.read_text(encoding="utf-8")
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", BASE_IMAGE)
    bases = [stage[0].words[0] for stage in stages(path)]
    assert bases == ["${PYTHON_IMAGE}"] * 2


@pytest.mark.parametrize("role", ROLES)
def test_programs_run_without_root(role: str) -> None:
    """The image's user is a number above the system's, so that Kubernetes can see that it is not root."""
    (user,) = _texts(role, "USER")
    assert re.fullmatch(r"\d{5}:\d{5}", user)
    names = [each.name for each in _last(role)]
    assert max(n for n, name in enumerate(names) if name == "RUN") < names.index("USER")
    services = load_compose()["services"]
    assert services[role]["read_only"] is True
    assert services[role]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_fetched_or_installed_into_the_image(role: str) -> None:
    """The last stage copies from the build alone; what it runs removes the installer; nothing is an ADD."""
    every = [each for stage in stages(ROOT / role / "Dockerfile") for each in stage]
    assert not [each for each in every if each.name == "ADD" or "://" in each.text]
    assert not [each for each in every if re.search(r"\b(apt|apt-get|curl|wget|sudo)\b", each.text)]
    assert _texts(role, "COPY") == ["--from=build /opt/riverlens /opt/riverlens"]
    (removal,) = _texts(role, "RUN")
    assert removal.startswith("rm -rf ")
    assert all(word in removal for word in ("/bin/pip*", "/ensurepip", "/site-packages/pip*"))


@pytest.mark.parametrize("role", ROLES)
def test_signals_reach_the_program(role: str) -> None:
    """The entry point is the program itself, no shell, and a stop is the SIGTERM that drains."""
    (entry,) = _texts(role, "ENTRYPOINT")
    assert json.loads(entry) == ["riverlens"]
    (command,) = _texts(role, "CMD")
    assert json.loads(command) == [role, "run"]
    assert _texts(role, "STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize("role", ROLES)
def test_no_secret_is_in_an_image(role: str) -> None:
    """No variable or build argument of a container file is named like a password, token or key."""
    text = (ROOT / role / "Dockerfile").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if SECRET.search(line)] == []


def test_the_build_sees_what_the_wheel_is_made_of() -> None:
    """What the wheel is made of passes .dockerignore; keys, tests and what git ignores do not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [
        *wheel["packages"],
        *wheel["force-include"],
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "scripts",
    ]
    assert [path for path in needed if not in_context(f"{path}/file" if "." not in path else path)] == []
    kept_out = (
        ".git/config",
        ".venv/bin/python",
        "tests/conftest.py",
        "certificates/ca.key",
        "deploy/x",
        ".env",
    )
    assert [path for path in kept_out if in_context(path)] == []
    assert not in_context("riverlens/__pycache__/x.pyc")


def test_the_worker_image_can_serve_the_wall() -> None:
    """What the wall requires is part of what the worker requires: one image serves both."""
    assert "riverlens_wall.run" in IMPORTS["worker"]
    names = {
        role: {re.split(r"[\[<>=]", line)[0] for line in requirements(role)} for role in ("wall", "worker")
    }
    assert names["wall"] <= names["worker"]
