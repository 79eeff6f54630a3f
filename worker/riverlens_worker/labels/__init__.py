"""Class names by class id: from a text file, built in, or as the model tells them. `read` touches disk."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from riverlens.errors import SettingsError

UNNAMED = "???"


def read(setting: str) -> dict[int, str]:
    """Class names of the setting `labels`: `coco`, or a text file whose line k (from 0) names class k.

    Raises:
        SettingsError: the file cannot be read or names nothing.
    """
    if setting == "coco":
        return parse(files(__name__).joinpath("coco.txt").read_text(encoding="utf-8"))
    try:
        names = parse(Path(setting).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"labels: {setting} cannot be read ({error}); a text file or `coco`") from None
    if not names:
        raise SettingsError(f"labels: {setting} names no class; one name a line, the first is class 0")
    return names


def parse(text: str) -> dict[int, str]:
    """Names by line number, from 0; empty lines and `???` name nothing."""
    lines = enumerate(line.strip() for line in text.splitlines())
    return {number: name for number, name in lines if name and name != UNNAMED}


def name_of(names: Mapping[int, str], class_id: int) -> str:
    """The class's name, else `class-<id>`: never a guess."""
    return names.get(class_id) or f"class-{class_id}"
