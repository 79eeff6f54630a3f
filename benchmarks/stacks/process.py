"""What the comparison stacks have in common as processes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from benchmarks.stacks.commands import READY_LINE


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc]  # the library ships no types for it
    def __init__(self) -> None:
        self.event = asyncio.Event()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Nothing to do."""

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Ready."""
        if assigned:
            self.event.set()


async def say_ready(consumer: AIOKafkaConsumer, topic: str) -> None:
    """Subscribe, and print a line as soon as there are partitions."""
    listener = _Assigned()
    consumer.subscribe([topic], listener=listener)
    await listener.event.wait()
    sys.stdout.write(f"{READY_LINE}\n")
    sys.stdout.flush()


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine until SIGTERM."""

    async def main() -> None:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
