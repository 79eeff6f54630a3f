"""The rows of TensorFlow Serving's behaviour that the contract tests hold, and a tally of them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

_PARAMETER = re.compile(r"\brow-(\d+[bc]?)(?![\w])")

CHECKS = (
    *("1", "2", "3", "4", "5", "6", "7", "7b", "8", "8b", "9", "9b", "10", "11", "12", "12b", "12c"),
    *("13", "13b", "14", "15", "16", "17", "18", "19", "19b"),
)
"""Predict's, GetModelMetadata's and GetModelStatus's checks, in their order."""

BATCHING = (
    "unequal-rows",
    "scalar",
    "no-input",
    "too-many-rows",
    "too-many-rows-splitting",
    "queue-full",
    "queue-full-splitting",
    "other-shapes",
    "other-dtypes",
    "padding",
    "scalar-output",
    "output-length",
    "past-deadline",
)
"""What only a server with batching refuses."""

ELSEWHERE = {"check 15": "no model can provoke it; tests/unit/test_serving_prediction.py holds it"}


def expectations() -> dict[str, list[dict[str, Any]]]:
    """What TensorFlow Serving's own tests expect, by `grpc` and `rest`; empty lists without the real data."""
    folder = os.environ.get("RIVERLENS_TESTDATA")
    if not folder:
        return {"grpc": [], "rest": []}
    found = json.loads(Path(folder, "tfserving-testdata", "expected.json").read_text())
    return {kind: found[kind] for kind in ("grpc", "rest")}


def all_rows() -> dict[str, list[str]]:
    """Title -> names of rows."""
    expected = [f"{kind} {number}" for kind, cases in expectations().items() for number in range(len(cases))]
    return {
        "checks": [f"check {name}" for name in CHECKS],
        "batching refusals": [f"batching {name}" for name in BATCHING],
        "expectations of TensorFlow Serving's own tests": expected,
    }


def rows_of(item: pytest.Item) -> set[str]:
    """The rows that a test names by its marker, or by a parameter called `row-<number>`."""
    marked = {name for marker in item.iter_markers("row") for name in marker.args}
    return marked | {f"check {number}" for number in _PARAMETER.findall(item.name)}


class Tally:
    """Counts rows of which a test passed and none failed, and says so at the end."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Note what became of a test's rows."""
        report: pytest.TestReport = yield
        if report.failed:
            self._failed |= rows_of(item)
        elif call.when == "call" and report.passed:
            self._held |= rows_of(item)
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The count, and what is missing from it."""
        held = self._held - self._failed
        if not self._held:
            return
        terminalreporter.section("TensorFlow Serving's contract")
        for title, names in all_rows().items():
            missing = [name for name in names if name not in held]
            line = f"{title}: {len(names) - len(missing)} of {len(names)} rows held"
            notes = [f"{name} ({ELSEWHERE[name]})" if name in ELSEWHERE else name for name in missing]
            terminalreporter.line(f"{line}; not here: {', '.join(notes)}" if notes else line)
