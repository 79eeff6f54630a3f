"""Fixtures of the worker's tests; each folder that uses them imports them into its conftest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from riverlens.kafka import KafkaSettings
from tests import model_servers, models
from tests.conftest import TopicSet
from tests.harness.worker import Worker, running, start_worker


class StartWorker(Protocol):
    """What the fixture `workers` gives."""

    async def __call__(self, topics: TopicSet, *, ready: bool = True, **settings: Any) -> Worker:
        """Start one worker of these topics; `settings` by field name."""


@pytest.fixture(scope="session")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base path of a detector with `serving_default` (pixels) and `encoded_image_string`."""
    base = tmp_path_factory.mktemp("colour")
    models.mean_colour_detector(base / "1")
    return base


@pytest.fixture(scope="session")
def server(colour_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a model server of the model `colour` for all tests; those that harm one start their own."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    flags = ("--model_name=colour", f"--model_base_path={colour_model}")
    with model_servers.model_server(log, *flags) as running_server:
        yield running_server.address


@pytest.fixture
async def workers(tmp_path: Path, kafka: KafkaSettings, server: str) -> AsyncIterator[StartWorker]:
    """Start workers that end with the test; each is ready when it is given.

    `ready=False` returns at once; `server=` names another model server.
    """
    async with AsyncExitStack() as stack:
        count = 0

        async def start(topics: TopicSet, *, ready: bool = True, **settings: Any) -> Worker:
            nonlocal count
            count += 1
            address = settings.pop("server", server)
            log = tmp_path / f"worker-{count}.log"
            worker = await stack.enter_async_context(
                running(start_worker(log, kafka, topics, address, **settings))
            )
            if ready:
                await worker.ready()
            return worker

        yield start
