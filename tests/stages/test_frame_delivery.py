"""The delivery of frames on a client made here: what a start that fails leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from riverlens import frame_delivery as module
from riverlens.errors import UnreachableError
from riverlens.frame_buffer import FrameBuffer
from riverlens.frame_delivery import Delivery
from riverlens.kafka import KafkaSettings


class _Client:
    """Its topic goes away between the client's start and the next question."""

    async def partitions_for(self, topic: str) -> set[int]:
        """None that anybody knows."""
        raise UnknownTopicOrPartitionError(topic)


async def test_a_start_that_fails_leaves_no_client_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """`async with FrameProducer(...)` has no body then, and nobody else who would close it."""
    opened, ended = [], []

    async def opens(*_: Any, **__: Any) -> _Client:
        opened.append(_Client())
        return opened[-1]

    async def end(client: _Client, *, grace_s: float) -> None:
        assert grace_s >= 0
        ended.append(client)

    monkeypatch.setattr(module, "open_client", opens)
    monkeypatch.setattr(module, "end_client", end)
    delivery = Delivery(
        KafkaSettings(), "frames", FrameBuffer(1_000), max_frame_bytes=1_000, on_settled=lambda *_: None
    )
    with pytest.raises(UnreachableError):
        await delivery.start()
    assert ended == opened
    assert len(ended) == 1
