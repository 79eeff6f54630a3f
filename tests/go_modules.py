"""Programs and schemas from Go modules, at fixed versions; `.ci/run` fetches them beforehand."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from riverlens.broker.jars import cache_root
from tests.debian_tools import run_tool, tool

COMPOSE_GO = "github.com/compose-spec/compose-go/v2@v2.9.1"
KEDA = "github.com/kedacore/keda/v2@v2.20.2"
KUBERNETES = "k8s.io/kubernetes@v1.34.2"
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
# The last one that Debian 12's Go can build.
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.0.3"


@cache
def module_folder(module: str) -> Path:
    """The files of a module, given as path@version, fetched once."""
    return Path(json.loads(run_tool("go", "mod", "download", "-json", module))["Dir"])


@cache
def kustomize() -> Path:
    """The program, built once; the first time takes a minute or two."""
    folder = cache_root() / "go" / KUSTOMIZE.rpartition("@")[2]
    program = folder / "kustomize"
    if not program.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOBIN": str(folder)}
        done = subprocess.run(
            [tool("go"), "install", KUSTOMIZE],
            capture_output=True,
            text=True,
            env=environment,
            timeout=540,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"go install {KUSTOMIZE} ended with {done.returncode}:\n{done.stderr}")
    return program
