"""The demo's settings."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from riverlens.settings import Settings


class DemoSettings(Settings):
    """The whole line on this machine: Apache Kafka, a model server, a worker and cameras.

    Try:  riverlens demo --seconds 30
          riverlens demo --video clip.mp4 --model models/ssd --labels coco
    """

    table: ClassVar[str] = "demo"

    # The worker's RIVERLENS_MODEL is a name, ours a path.
    model_config = SettingsConfigDict(env_prefix="RIVERLENS_DEMO_")

    seconds: float = Field(default=60.0, ge=0)
    """Stop after so many seconds of frames; 0: when Ctrl-C is pressed."""
    video: Path | None = None
    """A video, an image or a folder of images to show instead of synthetic streets."""
    model: Path | None = None
    """A SavedModel folder, with or without numbered versions, instead of the demo's own detector."""
    labels: str | None = None
    """Class names of that model: a text file, the first line is class 0; or `coco`, `coco80`."""
    signature: str | None = None
    """Signature of that model to call; unset: found by itself."""
    cameras: int = Field(default=6, ge=1, le=64)
    """How many cameras."""
    fps: float = Field(default=10.0, ge=0)
    """Frames a second of each camera; 0: as fast as Kafka takes them."""
    wall: bool = True
    """Serve the wall too: a page that shows the cameras live."""
    output: Path = Path("demo-output")
    """Folder for the summary, sample pictures and logs."""
    events_within_s: float = Field(default=90.0, gt=0)
    """Give up when no event has come by then."""
