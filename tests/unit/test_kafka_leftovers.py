"""What a given-up Kafka client leaves behind is logged; everything else keeps asyncio's own loud way."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from aiokafka.errors import ProducerFenced

from riverlens.kafka_producer import log_leftovers


@pytest.mark.parametrize(
    ("error", "level"), [(ProducerFenced(), logging.DEBUG), (ValueError("ours"), logging.ERROR)]
)
async def test_only_errors_of_the_kafka_client_are_quiet(
    error: Exception, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A future's unread Kafka error becomes one debug line; any other is an error with its traceback."""
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    log_leftovers(loop)
    try:
        loop.create_future().set_exception(error)
        gc.collect()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    assert [(record.levelno, record.exc_info is None) for record in caplog.records] == [
        (level, level == logging.DEBUG)
    ]
