"""Version folders: the next number, and writing beside the versions so that a rename brings one in whole."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from riverlens.errors import SettingsError
from riverlens_serving.versions import parse_version


def free_version(model: Path, wanted: int | None) -> int:
    """`wanted`, which must not be there yet, or one above the highest version in the folder `model`.

    Raises:
        SettingsError: the version is there, or `model` is no folder.
    """
    if model.exists() and not model.is_dir():
        raise SettingsError(f"{model}: a file; the folder of the model's versions is needed")
    children = [child.name for child in model.iterdir()] if model.is_dir() else []
    taken = {number for name in children if (number := parse_version(name)) is not None}
    if wanted is None:
        return max(taken, default=0) + 1
    if wanted in taken:
        raise SettingsError(
            f"--version: {model / str(wanted)} is there already, and a server never loads a version again;"
            f" the next free one is {max(taken) + 1}"
        )
    return wanted


_SCRATCH = ".export-"
_OWN = f"{_SCRATCH}{secrets.token_hex(8)}-"
"""Process ids repeat: two containers may share the folder, and both are process 1 in their own."""
_LEFT_S = 24 * 3600.0
"""No export takes so long."""


@contextmanager
def beside(model: Path) -> Iterator[Path]:
    """A scratch folder in `model`, on the same file system, which model servers do not look at.

    Raises:
        SettingsError: the folder cannot be written.
    """
    try:
        model.mkdir(parents=True, exist_ok=True)
        _tidy(model)
        scratch = Path(tempfile.mkdtemp(prefix=_OWN, dir=model))
    except OSError as error:
        raise SettingsError(f"{model}: cannot be written: {error.strerror}") from None
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_own(model: Path) -> None:
    """Remove the scratch folders of this process: for one that is ended and unwinds no more."""
    for scratch in model.glob(f"{_OWN}*"):
        shutil.rmtree(scratch, ignore_errors=True)


def _tidy(model: Path) -> None:
    """Remove what exports that were killed have left behind; one that still runs is younger."""
    for left in model.glob(f"{_SCRATCH}*"):
        if time.time() - left.stat().st_mtime > _LEFT_S:
            shutil.rmtree(left, ignore_errors=True)


def publish(written: Path, target: Path) -> None:
    """Rename `written` to the version folder `target`.

    Raises:
        SettingsError: somebody else has made that version meanwhile.
    """
    for empty in (written / "assets", written / "variables"):
        # Constants need no files; an empty folder would be lost in git, so no version has one.
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
    written.chmod(0o755)
    try:
        written.rename(target)
    except OSError as error:
        raise SettingsError(f"{target}: cannot be put in place: {error.strerror}") from None


def size_bytes(folder: Path) -> int:
    """Of all files within."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
