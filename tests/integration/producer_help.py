"""Reads topics back, and runs the producer as people do."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import av
import numpy as np
from aiokafka import AIOKafkaConsumer

from riverlens.frame import Frame, read_frame
from riverlens.kafka import KafkaSettings
from riverlens_producer.run import ProducerRun
from riverlens_producer.settings import ProducerSettings
from riverlens_producer.summary import CameraCounts


async def read_all(kafka: KafkaSettings, topic: str) -> dict[str, list[Frame]]:
    """Every frame on the topic now, by camera, each camera's in the topic's order.

    Fails where a camera's frames are spread over several partitions.
    """
    consumer = AIOKafkaConsumer(
        topic,
        **kafka.client_options(),
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=16 * 1024 * 1024,
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        frames: dict[str, list[Frame]] = defaultdict(list)
        homes: dict[str, set[int]] = defaultdict(set)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    frame = read_frame(record)
                    assert record.timestamp == frame.captured_at_ms
                    frames[frame.camera_id].append(frame)
                    homes[frame.camera_id].add(tp.partition)
    finally:
        await consumer.stop()
    assert all(len(home) == 1 for home in homes.values())
    return dict(frames)


async def produce(kafka: KafkaSettings, topic: str, **settings: Any) -> dict[str, CameraCounts]:
    """One run of the producer in this process, without progress; its counts."""
    fields = {"progress": "off", "fps": 0.0, **settings}
    run = ProducerRun(ProducerSettings(kafka=kafka, frames_topic=topic, **fields))
    assert await run.run() == 0
    return run.counts


async def start_command(*argv: str) -> asyncio.subprocess.Process:
    """`riverlens producer run ...` as a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RIVERLENS_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "riverlens", "producer", "run", *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )  # fmt: skip


def write_video(path: Path, frames: int, *, rate: int = 25, size: tuple[int, int] = (64, 48)) -> Path:
    """A clip whose n-th frame is a shade of grey, 8 n; MPEG-4 in whatever the path's ending says."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), 8 * number % 256, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
