"""The rules of the tree itself: who may import whom, how long things may be, what tests must say."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("riverlens_worker", "riverlens_producer", "riverlens_serving", "riverlens_wall")
PACKAGES = {
    "riverlens": ROOT / "riverlens",
    "riverlens_worker": ROOT / "worker" / "riverlens_worker",
    "riverlens_producer": ROOT / "producer" / "riverlens_producer",
    "riverlens_serving": ROOT / "serving" / "riverlens_serving",
    "riverlens_wall": ROOT / "dashboards" / "riverlens_wall",
}
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40

# The worker decides in pure modules. Settings are values.
PURE = frozenset(
    {
        "admission",
        "ahead",
        "backoff",
        "batching",
        "boxes",
        "changes",
        "contradictions",
        "decoding",
        "target",
        "detections",
        "device",
        "dispatch",
        "endpoint_load",
        "errors",
        "expectation",
        "fetch_pace",
        "freshness",
        "geometry",
        "grouping",
        "image_header",
        "lead",
        "leases",
        "limits",
        "message",
        "messages",
        "offsets",
        "ordering",
        "overlap",
        "pair",
        "pieces",
        "pixels",
        "reference_uri",
        "selection",
        "servers",
        "settings",
        "skew",
        "spans",
        "sparing",
        "watchdog",
        "window",
        "zones",
    }
)
# Shells by the one outside resource that they touch: modules of one group are one shell in several files.
SHELLS = {
    "none": frozenset({"camera_metrics", "channel", "histograms", "metrics", "tracing"}),
    "kafka in": frozenset({"source"}),
    "references": frozenset({"references"}),
    "threads": frozenset({"decode_pool"}),
    "clock": frozenset({"batcher", "sweeper"}),
    "allocator": frozenset({"allocator"}),
    "watch": frozenset({"loop_lag", "watching"}),
    "model server": frozenset(
        {"_stubs", "dtypes", "endpoints", "model", "predict_request", "predictor", "tensors"}
    ),
    "kafka out": frozenset({"publisher"}),
    "redrive": frozenset({"redrive"}),
}
# Alone may know all of them.
WIRING = frozenset({"check", "pipeline", "run", "tune", "__init__"})
# Within a folder of the wiring, what decides.
TUNE_PURE = ("choice", "cost", "files", "plan", "settings")
WORLD = frozenset({
    "aiohttp", "aiokafka", "asyncio", "concurrent", "grpc", "http", "logging", "multiprocessing", "os",
    "prometheus_client", "queue", "random", "selectors", "signal", "socket", "ssl", "subprocess",
    "tensorflow", "tensorflow_serving", "threading", "time", "urllib",
})  # fmt: skip  # a name a line says no more
CLOCKS = frozenset({"now", "utcnow", "today"})


def _python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


CODE = _python_files("riverlens", "worker", "producer", "serving", "benchmarks", "dashboards", "scripts")
TESTS = _python_files("tests")
WORKER_MODULES = sorted(
    path for path in PACKAGES["riverlens_worker"].rglob("*.py") if "__pycache__" not in path.parts
)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, anywhere in it; `from a import b` gives both `a` and `a.b`."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}:{node.lineno}: imports are absolute here"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _worker_imports(path: Path) -> set[str]:
    """Modules of the worker that one of its files imports, by their first name below the package."""
    names = (name.split(".") for name in _imports(path))
    known = PURE | WIRING | frozenset().union(*SHELLS.values())
    return {part[1] for part in names if part[0] == "riverlens_worker" and len(part) > 1 and part[1] in known}


def _module(path: Path) -> str:
    """The first name below the worker's package: `labels/__init__.py` is `labels`."""
    inner = path.relative_to(PACKAGES["riverlens_worker"])
    return inner.parts[0].removesuffix(".py")


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end; decorators and the docstring are not counted."""
    end = function.end_lineno or function.lineno
    first = function.body[0]
    docstring = 0
    if ast.get_docstring(function, clean=False) is not None:
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return end - function.lineno + 1 - docstring


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    with tokenize.open(path) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_roles_import_the_shared_package_and_themselves_only(package: str) -> None:
    """No role imports another role, and the shared package none at all, but for riverlens.demo."""
    demo = PACKAGES["riverlens"] / "demo"
    foreign = [
        f"{_name(path)} imports {name}"
        for path in PACKAGES[package].rglob("*.py")
        if demo not in path.parents
        for name in sorted(set(_imports(path)))
        if name.split(".")[0] in ROLES and name.split(".")[0] != package
    ]
    assert not foreign, "\n".join(foreign)


def test_code_imports_no_tests() -> None:
    """Nothing that ships imports the tests or their tools."""
    tools = {"tests", "pytest", "hypothesis", "_pytest"}
    wrong = [
        f"{_name(path)} imports {name}"
        for path in CODE
        for name in _imports(path)
        if name.split(".")[0] in tools
    ]
    assert not wrong, "\n".join(wrong)


def test_each_module_of_the_worker_is_pure_shell_or_wiring() -> None:
    """Every module of the worker stands in exactly one list above, so that its rule is known."""
    lists = [PURE, WIRING, *SHELLS.values()]
    wrong = [_name(path) for path in WORKER_MODULES if sum(_module(path) in names for names in lists) != 1]
    assert not wrong, f"put each into one list here: {wrong}"


@pytest.mark.parametrize("path", [p for p in WORKER_MODULES if _module(p) in PURE], ids=_name)
def test_pure_modules_touch_no_world(path: Path) -> None:
    """A pure module imports no shell, no I/O, no tasks, no clock, and asks no clock for the time."""
    shells = _worker_imports(path) - PURE
    world = {name for name in _imports(path) if name.split(".")[0] in WORLD}
    asked = [
        f"line {node.lineno}: .{node.func.attr}()"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS
    ]
    assert not shells, f"{_name(path)} imports the shells {sorted(shells)}"
    assert not world, f"{_name(path)} imports {sorted(world)}"
    assert not asked, f"{_name(path)} asks a clock: {asked}"


@pytest.mark.parametrize("module", TUNE_PURE)
def test_what_tuning_decides_touches_no_world(module: str) -> None:
    """Plan, costs, choice and files know pure modules of the worker and of their own, no clock and no I/O."""
    path = PACKAGES["riverlens_worker"] / "tune" / f"{module}.py"
    own = {f"riverlens_worker.tune.{name}" for name in TUNE_PURE}
    found = set(_imports(path))
    assert not {name for name in found if name.split(".")[0] in WORLD - {"random"}}
    assert not _worker_imports(path) - PURE - {"tune"}
    ours = {name for name in found if name.startswith("riverlens_worker.tune")}
    assert all(name in own or name.rpartition(".")[0] in own for name in ours)


@pytest.mark.parametrize("group", sorted(SHELLS))
def test_shells_know_no_other_shell(group: str) -> None:
    """A shell imports pure modules, `channel`, `metrics` and its own files; only the wiring knows several."""
    allowed = PURE | SHELLS["none"] | SHELLS[group]
    wrong = [
        f"{_name(path)} imports {sorted(_worker_imports(path) - allowed)}"
        for path in WORKER_MODULES
        if _module(path) in SHELLS[group] and _worker_imports(path) - allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_files_and_functions_are_short() -> None:
    """No file is over 300 lines; no function over 40 from `def` to its end, its docstring not counted."""
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in CODE + TESTS}
    long = [f"{_name(path)} has {count} lines" for path, count in counts.items() if count > MAX_FILE_LINES]
    long += [
        f"{_name(path)}:{f.lineno}: {f.name} has {_lines(f)} lines"
        for path in counts
        for f in _functions(path)
        if _lines(f) > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_every_ignore_says_why() -> None:
    """A `noqa` or `type: ignore` names its rule and is followed by a reason on its line."""
    silent = [
        f"{_name(path)}:{line}: {comment}"
        for path in CODE + TESTS
        for line, comment in _comments(path)
        if re.match(r"#\s*(noqa|type:\s*ignore)\b", comment)
        and not re.match(
            r"#\s*(noqa: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)*|type: ignore\[[a-z-, ]+\])\s+# .*\w", comment
        )
    ]
    assert not silent, "\n".join(silent)


def test_every_test_states_its_fact() -> None:
    """Every test function has a docstring: one sentence, the fact that must hold."""
    mute = [
        f"{_name(path)}: {f.name}"
        for path in TESTS
        for f in _functions(path)
        if f.name.startswith("test_") and not (ast.get_docstring(f) or "").strip()
    ]
    assert not mute, "no docstring:\n" + "\n".join(mute)


def test_no_test_sleeps_for_a_while() -> None:
    """Tests wait for a state, not for a time: no sleep with a number but `sleep(0)`, which yields."""
    naps = [
        f"{_name(path)}:{call.lineno}: {ast.unparse(call)}"
        for path in TESTS
        for call in ast.walk(_tree(path))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func).split(".")[-1] == "sleep"
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and call.args[0].value != 0
    ]
    assert not naps, "\n".join(naps)
