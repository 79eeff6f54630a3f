"""Frames, rows and answers as the worker's stages pass them on, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from PIL import Image

from riverlens.frame import Frame
from riverlens.signature import InputKind, PixelRule
from riverlens_worker.messages import DecodedFrame, LeasedFrame
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.target import Target


def examples(count: int = 100) -> settings:
    """Settings of a property test: the same examples in every run, however slow the machine is today."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


@dataclass(frozen=True)
class FakeRecord:
    """A Kafka record as aiokafka hands it out, as far as frames are read from it."""

    value: bytes | None = b"image"
    key: bytes | None = b"lobby"
    partition: int = 0
    timestamp: int = 1_790_000_000_000
    headers: tuple[tuple[str, bytes], ...] = field(default=())


def leased(
    lease: PartitionLease,
    offset: int,
    image: bytes = b"image",
    content_type: str | None = None,
) -> LeasedFrame:
    """A frame under a lease, entered in its ledger."""
    lease.ledger.open(offset)
    ordinal = lease.next_ordinal
    lease.next_ordinal += 1
    frame = Frame("lobby", image, 1_790_000_000_000, content_type=content_type)
    return LeasedFrame(lease, offset, ordinal, frame, b"lobby", (), False, len(image), 0.0, 1.0)


def decoded(
    offset: int, *, shape: Any = (), nbytes: int = 10, ready_s: float = 0.0, row: bytes = b"row"
) -> DecodedFrame:
    """A row that waits for its batch, of a lease of its own."""
    source = leased(PartitionLease("frames", 0), offset)
    return DecodedFrame(source, row, shape=shape, nbytes=nbytes, size=(4, 4), decode_ms=0.1, ready_s=ready_s)


def target(
    kind: InputKind = InputKind.PIXELS,
    dtype: str = "uint8",
    size: tuple[int | None, int | None] = (None, None),
    **fields: Any,
) -> Target:
    """A target of the default limits; `size` is (height, width)."""
    limits = {"input_size": None, "max_frame_bytes": 8 << 20, "max_pixels": 64_000_000}
    return Target(kind, dtype, *size, **(limits | fields))


FREE = target()
ENCODED = target(InputKind.ENCODED, "string")
FIXED = target(size=(320, 320))
FIXED_FLOAT = target(dtype="float32", size=(320, 320), rule=PixelRule(high=1.0))
TARGETS = {"free": FREE, "encoded": ENCODED, "fixed": FIXED, "fixed float": FIXED_FLOAT}


def scene(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """A smooth picture [H, W, 3] without any symmetry: JPEG keeps it nearly as it is."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    planes = (x * 250, y * 220 + 10, (1 - x) * y * 200 + 30)
    return np.stack(planes, axis=2).astype(np.uint8)


def encode(pixels: NDArray[Any], image_format: str, **options: Any) -> bytes:
    """Pixels as an image file, by Pillow."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, image_format, **options)
    return file.getvalue()
