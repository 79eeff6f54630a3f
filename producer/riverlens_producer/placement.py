"""Which partition a camera's frames go to, where a camera is to have one of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiokafka.partitioner import murmur2

from riverlens.errors import SettingsError


def hashed(camera_id: str, partitions: int) -> int:
    """Where Kafka's clients put this key: murmur2, as the Java client's default partitioner."""
    number: int = murmur2(camera_id.encode("utf-8", "replace"))
    return (number & 0x7FFFFFFF) % partitions


def place(camera_ids: Iterable[str], pins: Mapping[str, int], partitions: int) -> dict[str, int | None]:
    """A partition for each camera; None: the one of its key.

    A pinned partition is kept for the cameras that are pinned to it: others whose key falls there go to one
    of the rest, always the same one as long as the pins stay.

    Raises:
        SettingsError: a pin beyond the topic's partitions.
    """
    for camera_id, pin in pins.items():
        if not 0 <= pin < partitions:
            raise SettingsError(
                f"camera {camera_id!r}: partition {pin}: the topic has {partitions}, 0 to {partitions - 1}; "
                "see riverlens topics --partitions"
            )
    free = [number for number in range(partitions) if number not in set(pins.values())]
    places: dict[str, int | None] = {}
    for camera_id in camera_ids:
        taken = hashed(camera_id, partitions) not in free
        places[camera_id] = pins.get(
            camera_id, free[hashed(camera_id, len(free))] if taken and free else None
        )
    return places
