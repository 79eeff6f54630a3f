"""Fixtures that the chaos tests share beyond tests/conftest.py."""

from collections.abc import Iterator

import pytest

from riverlens.broker import EmbeddedBroker
from tests.harness.fixtures import colour_model, server, workers

__all__ = ["cluster", "colour_model", "server", "workers"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedBroker]:
    """Three brokers, replication 3, min.insync.replicas 2, also for Kafka's own topics.

    Shared by a module: a test that kills or pauses a node brings it back, and waits with
    `tests.harness.cluster.wait_in_sync` before it harms the next one. A module whose fixture `broker`
    returns this has `kafka`, `make_topics` and `workers` on it.
    """
    with EmbeddedBroker(brokers=3) as running:
        yield running
