#!/usr/bin/env python3
"""Take out of a container image's environment what its role never reads; compile what it does.

    python scripts/image_finish.py worker /opt/riverlens/bin/python

Run after riverlens itself is installed. Tests, C headers, stubs and generators of other people's code make up
a sixth of what is installed. Bytecode is kept for the modules that the role's commands import, so that a
read-only container starts as fast as any; it is never checked against the source, which cannot change there.
Only the standard library is used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

IMPORTS = {
    "worker": (
        "riverlens.cli",
        "riverlens.topics",
        "riverlens_worker.run",
        "riverlens_worker.check.run",
        "riverlens_worker.redrive.run",
        "riverlens_wall.run",
    ),
    "producer": ("riverlens.cli", "riverlens.topics", "riverlens_producer.run", "riverlens_producer.probe"),
}
"""What an image's commands import when they start."""
LATER = ("PIL.JpegImagePlugin", "PIL.PngImagePlugin")
"""What they import with the first frame."""

_FOLDERS = {"tests", "test", "__pycache__", "include"}
_SUFFIXES = {".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".hpp", ".cpp", ".a"}
_PATHS = (
    # Builds C extensions.
    "numpy/f2py",
    "numpy/_pyinstaller",
    "numpy/distutils",
    # Extensions of NumPy's own tests.
    "numpy/_core/*_tests.*",
    "numpy/_core/_simd.*",
    "numpy/testing",
    # Loaded by those who ask for it; nobody here does.
    "numpy/polynomial",
    "numpy/fft",
    "numpy/ma",
    "pydantic/v1",
    # Colour profiles, formulas over images, Tk windows.
    "PIL/_imagingcms.*",
    "PIL/_imagingmath.*",
    "PIL/_imagingmorph.*",
    "PIL/_imagingtk.*",
    "pillow.libs/liblcms2*",
    # aiohttp reads WebSockets in Python without it; a wall's browsers send next to nothing.
    "aiohttp/_websocket/reader_c.*",
    # Colours source code in every language; the mapping stays, which says what would do that.
    "pygments/lexers/[!_]*.py",
    # Draws text onto images.
    "PIL/_imagingft.*",
    "pillow.libs/libharfbuzz*",
    "pillow.libs/libfreetype*",
    "pillow.libs/libbrotli*",
)
_PATHS_OF = {
    "worker": (
        # A format that the worker refuses.
        "PIL/_avif.*",
        "pillow.libs/libavif*",
        "riverlens_producer",
        "riverlens_serving",
    ),
    "producer": ("riverlens_worker", "riverlens_serving", "riverlens_wall"),
}

_COMPILE = """
import importlib, pathlib, py_compile, sys, sysconfig
for name in sys.argv[1:]:
    importlib.import_module(name)
paths = {getattr(m, "__file__", None) or "" for m in list(sys.modules.values())}
# The worker takes these out of sys.modules again.
paths |= {str(p) for p in pathlib.Path(sysconfig.get_path("purelib"), "tensorflow").rglob("*.py")}
never = py_compile.PycInvalidationMode.UNCHECKED_HASH
for path in sorted(paths):
    if path.endswith(".py") and path.startswith(sys.prefix):
        py_compile.compile(path, doraise=True, invalidation_mode=never)
"""


def dispensable(site_packages: Path, role: str) -> Iterator[Path]:
    """Files and folders below a site-packages folder that a role never reads; none lies within another."""
    named = {found for pattern in (*_PATHS, *_PATHS_OF[role]) for found in site_packages.glob(pattern)}
    for root, folders, files in os.walk(site_packages):
        within = Path(root)
        for name in sorted(folders):
            if name in _FOLDERS or within / name in named:
                folders.remove(name)
                yield within / name
        for name in files:
            if Path(name).suffix in _SUFFIXES or within / name in named:
                yield within / name


def prune(site_packages: Path, role: str) -> None:
    """Remove what is dispensable."""
    # Listed first: a walk through folders that vanish would stumble.
    for path in list(dispensable(site_packages, role)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main() -> None:
    """Prune an environment and compile what its role imports."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("role", choices=sorted(IMPORTS))
    parser.add_argument("python", help="the environment's interpreter")
    given = parser.parse_args()
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = Path(subprocess.check_output([given.python, "-c", where], text=True).strip())  # noqa: S603  # ours
    before = folder_bytes(site_packages)
    prune(site_packages, given.role)
    # The console scripts of others; our own needs only the interpreter.
    for program in Path(given.python).parent.iterdir():
        if not program.name.startswith(("python", "riverlens")):
            program.unlink()
    # -B: only what is compiled here is kept. -I: what is installed, not what lies in this folder.
    subprocess.run([given.python, "-B", "-I", "-c", _COMPILE, *IMPORTS[given.role], *LATER], check=True)  # noqa: S603  # ours
    after = folder_bytes(site_packages)
    print(f"image_finish: {before / 1e6:.0f} MB of packages, {after / 1e6:.0f} MB kept")  # noqa: T201  # a program


if __name__ == "__main__":
    main()
