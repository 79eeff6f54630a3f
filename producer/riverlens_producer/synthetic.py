"""Synthetic cameras: street scenes drawn once, encoded once, shown over and over.

Drawing a 640x480 scene takes 7 ms, more than ten times what sending one costs: a camera keeps a loop of
encoded scenes, some 43 kB each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from riverlens_producer.pictures import encode
from riverlens_producer.sources import Picture

DEFAULT_FPS = 10.0
DEFAULT_SCENES = 32
DEFAULT_SIZE = (640, 480)


def camera_ids(count: int) -> list[str]:
    """`camera-1`, `camera-2`, ..."""
    return [f"camera-{number}" for number in range(1, count + 1)]


def scene_number(sequence: int, scenes: int = DEFAULT_SCENES) -> int:
    """Which scene of its street a frame with this `sequence` shows: the truth of one is that of the other.

    `scenes` is the producer's setting of that name.
    """
    return sequence % scenes


def draw_scenes(
    camera_id: str, count: int, size: tuple[int, int], quality: int | None, drawn: Callable[[], None]
) -> list[bytes]:
    """The first `count` scenes of the street before this camera, as JPEG; blocks.

    `size` is width and height in pixels; `drawn` is called after each scene, from the calling thread.
    """
    # Other sources do not need what drawing loads.
    from riverlens.scenes import Street  # noqa: PLC0415  # see above

    street = Street(camera_id, *size)
    scenes = []
    for number in range(count):
        scenes.append(encode(street.frame(number).image, quality))
        drawn()
    return scenes


class SyntheticCamera:
    """Shows a loop of scenes.

    Args:
        scenes: encoded, in order; see `draw_scenes`.
        fps: frames a second; None: 10; 0: no limit.
    """

    live = True

    def __init__(self, scenes: Sequence[bytes], *, fps: float | None = None) -> None:
        self.fps: float | None = DEFAULT_FPS if fps is None else fps
        self._scenes = scenes

    async def open(self) -> None:
        """The scenes are there."""

    async def picture(self, sequence: int) -> Picture:
        """The scene that this sequence shows."""
        return Picture(self._scenes[scene_number(sequence, len(self._scenes))], "image/jpeg")

    async def close(self) -> None:
        """Nothing is held."""
