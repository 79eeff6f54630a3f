"""Which model the demo serves, and from which folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from riverlens.errors import SettingsError

STREET = "street"
_SAVED = "saved_model.pb"


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model's name and its base folder, which holds numbered versions."""

    name: str
    base_path: Path
    is_street: bool = False
    """Whether it is the demo's own detector, which knows synthetic streets and nothing else."""


@contextmanager
def demo_model(given: Path | None) -> Iterator[DemoModel]:
    """The model in `given` (a SavedModel, or a folder of numbered ones), else the demo's own.

    Raises:
        SettingsError: no SavedModel there.
    """
    if given is None:
        yield DemoModel(STREET, _street(), is_street=True)
    elif (given / _SAVED).is_file():
        # A model server takes numbered versions only: this one becomes version 1 of a folder of its own.
        with tempfile.TemporaryDirectory(prefix="riverlens-model-") as base:
            (Path(base) / "1").symlink_to(given.resolve(), target_is_directory=True)
            yield DemoModel(given.resolve().name, Path(base))
    elif any(given.glob(f"[0-9]*/{_SAVED}")):
        yield DemoModel(given.resolve().name, given.resolve())
    else:
        raise SettingsError(f"model: {given} holds no {_SAVED}, neither itself nor in a numbered folder")


def _street() -> Path:
    """The committed model: beside the package in a checkout, inside it in an installed one."""
    installed = Path(str(files("riverlens_serving")))
    for place in (installed / "models" / STREET, installed.parent / "models" / STREET):
        if any(place.glob(f"[0-9]*/{_SAVED}")):
            return place
    raise SettingsError("the demo's own model is missing from this installation; name one with --model")
