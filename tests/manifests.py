"""deploy/ as the tests read it: files as they are, and what kustomize makes of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.go_modules import kustomize

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
Manifest = dict[str, Any]
WORKLOADS = ("Deployment", "Job")


def read(*path: str) -> list[Manifest]:
    """The documents of one file below deploy/, as they are written."""
    text = DEPLOY.joinpath(*path).read_text(encoding="utf-8")
    return [one for one in yaml.safe_load_all(text) if one]


def read_env(*path: str) -> dict[str, str]:
    """Names and values of an env file below deploy/."""
    lines = DEPLOY.joinpath(*path).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@cache
def _built(folder: Path) -> str:
    done = subprocess.run(
        [kustomize(), "build", folder], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode or done.stderr:
        pytest.fail(f"kustomize build {folder}: {done.stderr}")
    return done.stdout


def build(folder: Path) -> list[Manifest]:
    """What `kubectl apply -k FOLDER` would send; a warning of kustomize's is a failure too."""
    return list(yaml.safe_load_all(_built(folder)))


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of this kind and name."""
    (found,) = (each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Name and pod template of every workload."""
    for each in manifests:
        if each["kind"] in WORKLOADS:
            yield each["metadata"]["name"], each["spec"]["template"]
