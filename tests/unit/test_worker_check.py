"""What the check makes of facts: good, warning or bad, and the remedy."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riverlens_worker.check.facts import Partition
from riverlens_worker.check.finding import Finding, Level, bad, exit_code, good, to_lines, warning
from riverlens_worker.check.findings import judge
from riverlens_worker.check.same_answers import difference
from riverlens_worker.check.settings import CheckSettings
from tests.harness.check_rows import FACTS, ROWS, changed_kafka


@pytest.mark.parametrize("name", ROWS)
def test_what_is_wrong_is_told_with_its_remedy(name: str) -> None:
    """Each fact that is wrong gives one finding of its level: what was found and what mends it."""
    facts, settings, level, what, found, remedy = ROWS[name]
    findings = judge(facts, CheckSettings(**settings))
    matching = [f for f in findings if f.level is level and f.what == what and found in f.found]
    assert len(matching) == 1, "\n".join(to_lines(findings))
    assert remedy in matching[0].remedy
    assert all(finding.remedy for finding in findings if finding.level is not Level.GOOD)


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_where_nothing_is_wrong_all_is_good(delivery: str) -> None:
    """Sound facts give good lines alone, none with a remedy, and the exit code 0."""
    facts = changed_kafka(transactions_refused="" if delivery == "exactly-once" else None)
    findings = judge(facts, CheckSettings(delivery=delivery))
    assert {finding.level for finding in findings} == {Level.GOOD}, "\n".join(to_lines(findings))
    assert not any(finding.remedy for finding in findings)
    assert exit_code(findings) == 0


def test_exactly_once_tells_readers_what_to_set() -> None:
    """With exactly-once the check says isolation_level=read_committed and that modes are not mixed."""
    findings = judge(FACTS, CheckSettings(delivery="exactly-once"))
    (told,) = [finding.found for finding in findings if finding.what == "delivery"]
    assert "isolation_level=read_committed" in told
    assert "all workers" in told


def test_lines_are_aligned_and_only_bad_fails() -> None:
    """Lines have the word, what and found in columns; a warning leaves the exit code 0, a bad one makes 1."""
    findings = [good("a", "fine"), warning("longer", "odd", "mend it"), bad("b", "wrong", "set x")]
    assert to_lines(findings) == [
        "good     a       fine",
        "warning  longer  odd",
        "                 -> mend it",
        "bad      b       wrong",
        "                 -> set x",
        "1 good, 1 warning, 1 bad",
    ]
    assert exit_code(findings) == 1
    assert exit_code(findings[:2]) == 0
    assert Finding(Level.BAD, "b", "wrong", "set x").as_dict()["level"] == "bad"


def test_lag_counts_from_what_is_still_there() -> None:
    """Lag is the end less the committed offset, or less the start where retention or nobody moved it."""
    assert Partition(0, 10, 4).lag == 6
    assert Partition(7, 10, 4).lag == 3
    assert Partition(7, 10, 4).lost == 3
    assert Partition(7, 10).lag == 3
    assert Partition(7, 10).lost == 0


Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.mark.parametrize(
    ("together", "first", "second", "expected"),
    [
        ([[1.0], [2.0]], [[1.0]], [[2.0]], 0.0),
        ([[1.0], [2.5]], [[1.0]], [[2.0]], 0.25),
        ([[100.0], [2.0]], [[101.0]], [[2.0]], 1 / 101),
        ([[b"a"], [b"b"]], [[b"a"]], [[b"c"]], 1.0),
        ([[1.0, 2.0], [2.0, 3.0]], [[1.0]], [[2.0]], None),
        ([[1.0]], [[1.0]], [[2.0]], None),
    ],
)
def test_rows_together_are_compared_with_rows_alone(
    together: Any, first: Any, second: Any, expected: float | None
) -> None:
    """The largest difference counts, relative above 1; unequal shapes cannot be compared."""
    found = difference(*({"y": np.array(each)} for each in (together, first, second)))
    assert found == (expected if expected is None else pytest.approx(expected))


def test_unsure_detections_do_not_count() -> None:
    """Boxes below the sure score may come in another order."""
    scores = np.array([[0.9, 0.1], [0.8, 0.1]])
    together: Arrays = {"detection_scores": scores, "detection_boxes": np.zeros((2, 2, 4))}
    moved = np.zeros((2, 2, 4))
    moved[:, 1] = 1
    alone: list[Arrays] = [
        {"detection_scores": scores[n : n + 1], "detection_boxes": moved[n : n + 1]} for n in (0, 1)
    ]
    assert difference(together, *alone) == 0


def test_what_decides_touches_no_world() -> None:
    """The judging modules import no client, no task, no clock."""
    folder = Path(__file__).resolve().parents[2] / "worker" / "riverlens_worker" / "check"
    pure = [*folder.glob("*finding*.py"), folder / "facts.py", folder / "same_answers.py"]
    assert len(pure) == 8
    world = {"aiokafka", "asyncio", "grpc", "socket", "time", "logging", "os", "sys"}
    for path in pure:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & world, path.name
