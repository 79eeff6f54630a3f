"""What travels between the wall and a browser. Pure.

Text messages are JSON with a `type`. A picture is binary: the length of its head (4 bytes, big endian), the
head as JSON, then the image (none where the head has a `note`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from riverlens.event import Event
from riverlens_wall.cameras import Shown

_MOST_BOXES = 100
_MOST_WATCHED = 256
_MIN_WIDTH, _MAX_WIDTH = 80, 1920
WIDTHS = (240, 480, 960, 1920)
"""Pictures are scaled to one of these: browsers of like size share them."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A browser says which tiles it shows, by camera key, and how wide they are in device pixels."""

    keys: frozenset[int] = field(default_factory=frozenset)
    width: int = WIDTHS[1]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A browser has drawn all pictures up to this round."""

    number: int


def read_message(text: str) -> Watch | Drawn | None:
    """A browser's message; None for anything else."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    match body:
        case {"type": "watch", "cameras": list(keys), "width": int(width)}:
            wanted = frozenset(key for key in keys[:_MOST_WATCHED] if type(key) is int)
            return Watch(wanted, class_of(width))
        case {"type": "drawn", "round": int(number)}:
            return Drawn(number)
    return None


def class_of(width: int) -> int:
    """The smallest of WIDTHS that is enough."""
    return next((each for each in WIDTHS if each >= min(max(width, _MIN_WIDTH), _MAX_WIDTH)), WIDTHS[-1])


def head(key: int, shown: Shown, now_ms: int, note: str) -> dict[str, Any]:
    """What a tile shows beside the image. `now_ms`: this machine's clock, for the age."""
    frame, event = shown
    body: dict[str, Any] = {
        "camera": key,
        "partition": frame.place.partition,
        "offset": frame.place.offset,
        "age_ms": now_ms - frame.captured_at_ms,
        "mime": frame.look.mime,
        "note": note,
        "answered": event is not None,
    }
    if event is not None:
        body |= {"size": event.image_size, **_found(event)}
    elif frame.look.size is not None:
        body["size"] = frame.look.size
    return body


def _found(event: Event) -> dict[str, Any]:
    if event.detections is not None:
        boxes = [[each.label, each.score, *each.box] for each in event.detections[:_MOST_BOXES]]
        return {"boxes": boxes}
    if event.classes is not None:
        return {"classes": [[each.label, each.score] for each in event.classes[:3]]}
    return {"outputs": sorted(event.outputs or {})[:8]}


def picture(body: dict[str, Any], image: bytes) -> bytes:
    """The binary message."""
    encoded = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join((len(encoded).to_bytes(4), encoded, image))
