"""Image files as a camera's pictures: each as it is, unless a size or a quality is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from riverlens_producer.pictures import re_encode
from riverlens_producer.sources import Picture, Showing, SourceError, content_type

_log = logging.getLogger(__name__)

DEFAULT_FPS = 10.0


class ImageFiles:
    """Shows `files` in order, once or in a loop; a file that cannot be used is left out with a warning."""

    live = False

    def __init__(self, files: Sequence[Path], showing: Showing, pool: Executor) -> None:
        self.fps: float | None = DEFAULT_FPS if showing.fps is None else showing.fps
        self._files = files
        self._showing = showing
        self._pool = pool
        self._position = 0
        self._shown_in_round = 0

    async def open(self) -> None:
        """Nothing to open: each file is read when its turn comes."""

    async def picture(self, sequence: int) -> Picture | None:  # noqa: ARG002  # no picture is left out
        """The next file that can be used.

        Raises:
            SourceError: of a whole round, none could.
        """
        while True:
            if self._position == len(self._files):
                if not self._shown_in_round:
                    raise SourceError(f"source: {self._files[0].parent}: no file could be used; see --source")
                if not self._showing.loop:
                    return None
                self._position = self._shown_in_round = 0
            file = self._files[self._position]
            self._position += 1
            picture = await asyncio.get_running_loop().run_in_executor(self._pool, self._read, file)
            if picture is not None:
                self._shown_in_round += 1
                return picture

    async def close(self) -> None:
        """Nothing is held."""

    def _read(self, file: Path) -> Picture | None:
        try:
            image = file.read_bytes()
            if self._showing.look.as_is:
                return Picture(image, content_type(image[:16]), file.name)
            jpeg = re_encode(image, self._showing.look)
        # Pillow's readers let these through for files of the wrong shape, beside their own OSError.
        except (OSError, ValueError, SyntaxError, ArithmeticError, LookupError, TypeError) as error:
            _log.warning("%s is left out: %s", file, str(error) or type(error).__name__)
            return None
        return Picture(jpeg, "image/jpeg", file.name)
