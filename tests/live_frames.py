"""Frames by camera and time, for tests of what freshness policies do with them."""

from __future__ import annotations

from riverlens.frame import Frame
from riverlens_worker.messages import DecodedFrame, LeasedFrame
from riverlens_worker.offsets import PartitionLease


def live(
    camera: str,
    *,
    captured_s: float = 0.0,
    arrived_s: float = 0.0,
    ordinal: int = 0,
    lease: PartitionLease | None = None,
    redriven: int = 0,
    image: bytes = b"image",
) -> LeasedFrame:
    """A frame of a camera by its times, on one clock; its offset is its ordinal."""
    frame = Frame(camera, image, round(captured_s * 1000), redriven=redriven)
    broker_ms = max(0.0, arrived_s - captured_s) * 1000
    lease = lease or PartitionLease("frames", 0)
    return LeasedFrame(
        lease, ordinal, ordinal, frame, camera.encode(), (), False, len(image), arrived_s, broker_ms
    )


def row(
    source: LeasedFrame, *, shape: tuple[int, ...] = (), ready_s: float = 0.0, nbytes: int = 10
) -> DecodedFrame:
    """A row that waits for its batch."""
    return DecodedFrame(
        source, b"row", shape=shape, nbytes=nbytes, size=(4, 4), decode_ms=0.1, ready_s=ready_s
    )
