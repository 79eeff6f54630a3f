"""What is freed stays with the process, where the C library can be told so; on the real allocator."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import subprocess
import sys

import pytest

from riverlens_worker import run
from riverlens_worker.allocator import keep_freed_memory
from riverlens_worker.settings import WorkerSettings

_CALLS = """
import ctypes, resource, sys
from riverlens_worker.allocator import keep_freed_memory

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a fault is a page of 4 KiB everywhere
kept = sys.argv[1] == "kept" and keep_freed_memory()
rows = [bytes(320 * 320 * 3)] * 32
for _ in range(5):
    request = b"".join(rows)
    copied = bytearray(request)
    del request, copied
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    request = b"".join(rows)
    copied = bytearray(request)
    del request, copied
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_REQUEST_PAGES = 32 * 320 * 320 * 3 // 4096

on_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library keeps its own ways"
)


def _calls(which: str, **variables: str) -> tuple[str, int]:
    """Whether freed memory is kept, and the page faults of 20 requests of 10 MB and as many copies."""
    plain = {name: said for name, said in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", _CALLS, which],
        env=plain | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@on_glibc
def test_the_next_request_takes_the_pages_of_the_last() -> None:
    """Without it each request faults on every page of its own and of the copy that is sent."""
    kept, faults = _calls("kept")
    assert kept == "True"
    assert faults < 20 * _REQUEST_PAGES / 100
    assert _calls("given back")[1] > 20 * _REQUEST_PAGES / 2


@on_glibc
@pytest.mark.parametrize(
    "variables",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}],
    ids=["variable", "tunable"],
)
def test_an_operators_own_thresholds_stay(variables: dict[str, str]) -> None:
    """Who has set glibc's variables has a reason."""
    assert _calls("kept", **variables)[0] == "False"


def test_a_worker_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it does anything else with memory."""
    asked: list[str] = []

    def kept() -> bool:
        asked.append("kept")
        return True

    async def ran(_: WorkerSettings) -> None:
        asked.append("ran")

    monkeypatch.setattr(run, "keep_freed_memory", kept)
    monkeypatch.setattr(run, "run_worker", ran)
    monkeypatch.setattr(run, "set_up_logs", lambda *_: None)
    monkeypatch.setattr(run, "load", lambda *_, **__: WorkerSettings())
    monkeypatch.setattr(gc, "freeze", lambda: None)
    assert run.main([], "riverlens worker run") == 0
    assert asked == ["kept", "ran"]


@pytest.mark.parametrize("library", [object(), None], ids=["no mallopt", "no library"])
def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch, library: object) -> None:
    """Where there are no such thresholds, as in musl, nothing fails."""

    def opened(_: None) -> object:
        if library is None:
            raise OSError("no such library")
        return library

    monkeypatch.setattr(ctypes, "CDLL", opened)
    assert not keep_freed_memory()
