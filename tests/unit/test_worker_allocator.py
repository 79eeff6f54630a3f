"""What is freed stays with the process, where the C library can be told so; on the real allocator."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from riverlens_worker.allocator import keep_freed_memory

_CALLS = """
import resource, sys
from riverlens_worker.allocator import keep_freed_memory

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


def _calls(which: str, **variables: str) -> tuple[str, int]:
    """Whether freed memory is kept, and the page faults of 20 requests of 10 MB and as many copies."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
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


def test_the_next_request_takes_the_pages_of_the_last() -> None:
    """Without it each request faults on every page of its own and of the copy that is sent."""
    kept, faults = _calls("kept")
    assert kept == "True"
    assert faults < 20 * _REQUEST_PAGES / 100
    assert _calls("given back")[1] > 20 * _REQUEST_PAGES / 2


def test_an_operators_own_thresholds_stay() -> None:
    """Who has set glibc's variables has a reason."""
    assert _calls("kept", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"


@pytest.mark.parametrize("library", [object(), None], ids=["no mallopt", "no library"])
def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch, library: object) -> None:
    """Where there are no such thresholds, as in musl, nothing fails."""

    def opened(_: None) -> object:
        if library is None:
            raise OSError("no such library")
        return library

    monkeypatch.setattr(ctypes, "CDLL", opened)
    assert not keep_freed_memory()
