"""riverlens: camera frames in on Kafka, detection events out.

Public names: `Frame`, `Event`, `Drop`, `read_event`, `FrameProducer`. They load on first use, so that a
role imports only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from riverlens._version import __version__

if TYPE_CHECKING:
    from riverlens.drop import Drop
    from riverlens.event import Event, read_event
    from riverlens.frame import Frame
    from riverlens.frame_producer import FrameProducer

__all__ = ["Drop", "Event", "Frame", "FrameProducer", "__version__", "read_event"]

_HOMES = {
    "Drop": "riverlens.drop",
    "Event": "riverlens.event",
    "Frame": "riverlens.frame",
    "FrameProducer": "riverlens.frame_producer",
    "read_event": "riverlens.event",
}


def __getattr__(name: str) -> object:
    """Import the module behind a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'riverlens' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
