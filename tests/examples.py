"""The example systems as their READMEs run them: `make serve` in a child, scripts in this process."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "serving" / "examples"
_READY = "listening on "


def make(example: str, *words: object) -> str:
    """Run targets of an example's Makefile to their end; what they print."""
    command = ["make", "-s", "-C", str(EXAMPLES / example), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def served(log: Path, example: str, *words: object) -> Iterator[str]:
    """Serve by the example's Makefile on a free port; the address. Stopped at the end."""
    command = ["make", "-s", "-C", str(EXAMPLES / example), *map(str, words), "PORT=auto"]
    with log.open("w") as stderr:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert child.stdout is not None
    with child.stdout:
        try:
            lines = (line.strip() for line in child.stdout if _READY in line)
            address = next(lines, None)
            assert address is not None, f"ended with {child.wait()}:\n{log.read_text()}"
            yield address.partition(_READY)[2]
        finally:
            # make hands the signal on to what it runs and waits for it.
            child.terminate()
            child.wait()


def run_script(monkeypatch: pytest.MonkeyPatch, script: str, *argv: object) -> int:
    """Run a script of the examples as a program, here, where TensorFlow is loaded already; its exit code."""
    path = EXAMPLES / script
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, argv)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    return int(ended.value.code or 0)
