"""Where Kafka's data lies while it is measured: in memory, if there is room. Shell."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108  # a mount, below which a folder of our own is made
_ROOM_BYTES = 16 * 1024**3
"""The soak's topic takes 8 GB, those of the runs before it 2 GB each until Kafka has deleted them."""


def data_folder(mount: Path = _MEMORY) -> Path | None:
    """A folder in memory with room for what `make bench` writes; None: there is none.

    On a disk, writing back 80 MB a second and discarding deleted segments take cores and hold Kafka up at
    moments that have nothing to do with what is measured.
    """
    try:
        room_bytes = min(shutil.disk_usage(mount).free, _available_bytes())
    except OSError:
        return None
    return mount if room_bytes >= _ROOM_BYTES and os.access(mount, os.W_OK) else None


def _available_bytes() -> int:
    """Memory that programs can still get.

    Raises:
        OSError: this system does not tell.
    """
    told = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE)
    return int(told[1]) * 1024 if told else 0
