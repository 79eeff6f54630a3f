#!/usr/bin/env python3
"""Fill a container image's environment with what one role needs, without TensorFlow's libraries.

    python scripts/image_packages.py worker /opt/riverlens/bin/python

The worker speaks TensorFlow Serving's protocol through generated modules that live in TensorFlow's wheel:
1.5 GB installed, of which it needs some 40 small files. So tensorflow-serving-api is installed without
its dependencies, and those files alone are taken out of the wheel, which is fetched for them (600 MB), or,
where MESSAGES_FROM names a site-packages folder with TensorFlow in it, out of that. Only the standard library
is used.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUBS = ROOT / "worker" / "riverlens_worker" / "_stubs.py"
API = "tensorflow-serving-api"
PACKAGES = ("tensorflow", "tensorflow_serving")

Reader = Callable[[str], str | None]
"""Text of a file by its path below site-packages, or None where there is none."""


def requirements(*extras: str) -> list[str]:
    """What riverlens and its extras require, a role's and others, but for TensorFlow Serving's API."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for extra in extras for line in optional[extra])]
    slim = [line for line in wanted if not line.startswith(API)]
    # The API would bring protobuf along.
    return slim if len(slim) == len(wanted) else [*slim, "protobuf"]


def pin(package: str) -> str:
    """`package==version` as in constraints.txt.

    Raises:
        SystemExit: constraints.txt does not pin it.
    """
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    match = re.search(rf"^{re.escape(package)}==\S+$", pins, re.MULTILINE)
    if match is None:
        sys.exit(f"image_packages: constraints.txt has no pin of {package}; make setup explains the file")
    return match[0]


def message_modules(read: Reader) -> dict[str, str]:
    """The files of TensorFlow that the worker's message stubs import, directly or through others.

    Args:
        read: gives the files of a site-packages folder with tensorflow and tensorflow_serving in it.

    Returns:
        Text by path. TensorFlow's own `__init__.py` is not among them: it is what loads the libraries.
    """
    found: dict[str, str] = {}
    waiting = list(_imports(STUBS.read_text(encoding="utf-8")))
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name.split(".")[0] not in PACKAGES:
            continue
        seen.add(name)
        parents = name.split(".")[:-1]
        waiting.extend(".".join(parents[: n + 1]) for n in range(len(parents)))
        for path in _files_of(name):
            text = read(path)
            if text is not None:
                found[path] = text
                waiting.extend(_imports(text))
    return {path: text for path, text in found.items() if path.startswith("tensorflow/")}


def _files_of(name: str) -> tuple[str, ...]:
    path = name.replace(".", "/")
    return () if name in PACKAGES else (f"{path}.py", f"{path}/__init__.py")


def _imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            # A name may be a module of that package or something in it; a file that is not there is skipped.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def write_modules(files: dict[str, str], site_packages: Path) -> None:
    """Write files, given by path, below a site-packages folder."""
    for path, text in files.items():
        target = site_packages / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _install(python: str, *what: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), *what], check=True)  # noqa: S603  # ours


def _site_packages(python: str) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([python, "-c", code], text=True).strip())  # noqa: S603  # ours


def _install_messages(python: str) -> None:
    _install(python, "--no-deps", pin(API))
    site_packages = _site_packages(python)
    if installed := os.environ.get("MESSAGES_FROM"):
        write_modules(message_modules(lambda path: _text(Path(installed) / path)), site_packages)
        return
    with tempfile.TemporaryDirectory() as folder:
        fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--dest", folder]
        subprocess.run([*fetch, pin("tensorflow")], check=True)  # noqa: S603  # pip itself
        (wheel,) = Path(folder).glob("tensorflow-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            members = set(archive.namelist())

            def read(path: str) -> str | None:
                return archive.read(path).decode() if path in members else _text(site_packages / path)

            write_modules(message_modules(read), site_packages)


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None


def main() -> None:
    """Install a role's packages into an environment; riverlens itself comes after."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("role", choices=["worker", "producer"])
    parser.add_argument("python", help="the environment's interpreter")
    parser.add_argument("extras", nargs="*", help="what more it can do: tracing")
    given = parser.parse_args()
    if set(given.extras) - {"tracing"}:  # argparse's choices refuse that there are none
        parser.error(f"no such extra: {' '.join(given.extras)}")
    _install(given.python, *requirements(given.role, *given.extras))
    if given.role == "worker":
        _install_messages(given.python)


if __name__ == "__main__":
    main()
