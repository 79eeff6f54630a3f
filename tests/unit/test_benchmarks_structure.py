"""What the benchmarks decide and compute is apart from what touches the world."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
PURE = {
    "budget",
    "checks",
    "cost",
    "device.commands",
    "device.schedule",
    "device.wire",
    "figures",
    "latencies",
    "observed",
    "oracle",
    "page",
    "plots",
    "reasons",
    "scenario",
    "stacks.commands",
    "tables",
    "targets",
    "targets.cost",
    "targets.others",
    "targets.sharing",
    "targets.speed",
    "verdict",
    "versus",
}
WORLD = {
    "aiohttp",
    "aiokafka",
    "asyncio",
    "grpc",
    "http",
    "logging",
    "os",
    "selectors",
    "signal",
    "socket",
} | {
    "subprocess",
    "threading",
    "time",
    "urllib",
}


def _path(module: str) -> Path:
    path = FOLDER / f"{module.replace('.', '/')}.py"
    return path if path.exists() else FOLDER / module / "__init__.py"


def _imports(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(_path(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("module", sorted(PURE))
def test_what_the_benchmarks_compute_touches_no_world(module: str) -> None:
    """Schedule, oracle, scenarios, figures and page import no I/O, no clock and no shell."""
    found = _imports(module)
    assert not {name for name in found if name.partition(".")[0] in WORLD}
    ours = {name.removeprefix("benchmarks.") for name in found if name.startswith("benchmarks.")}
    shells = {
        path.relative_to(FOLDER).with_suffix("").as_posix().replace("/", ".") for path in FOLDER.rglob("*.py")
    } - PURE
    assert not ours & shells
