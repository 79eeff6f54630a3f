"""Programs that `make test-tools` needs beside Python; a missing one fails the test that wants it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "ffmpeg": "ffmpeg",
    "go": "golang-go",
    "kcat": "kcat",
    "node": "nodejs",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
}


def tool(name: str) -> str:
    """Path of a program. A missing one is a failure, never a skip: `make test-tools` means all of it."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing: apt-get install -y {PACKAGES[name]}")
    return path


def run_tool(name: str, *arguments: str, timeout_s: float = 100) -> str:
    """Standard output of a program that must end well; else the test fails with all it said."""
    done = subprocess.run(
        [tool(name), *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        pytest.fail(f"{name} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
