"""What the tests share: one real Kafka for the whole run, fresh topics for each test, the real data."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from riverlens.broker import EmbeddedBroker
from riverlens.kafka import KafkaSettings
from riverlens.topics import TopicsSettings, ensure_topics, topic_specs

# The same examples in every run, however slow the machine is today; --hypothesis-profile=explore: other ones.
_STEADY = hypothesis.settings(
    deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("explore", _STEADY)
hypothesis.settings.register_profile("steady", _STEADY, derandomize=True)
hypothesis.settings.load_profile("steady")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background deaf to Ctrl-C, and its children are: our tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_RUN = uuid.uuid4().hex[:6]
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class TopicSet:
    """Three topics and a group that no other test uses. `settings` made them."""

    frames: str
    events: str
    dlq: str
    group: str
    settings: TopicsSettings


MakeTopics = Callable[..., Awaitable[TopicSet]]


def pytest_collection_finish() -> None:
    """What was imported stays: without it a collection, of which there are hundreds, takes no time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """One real Kafka broker for all tests; those that harm it start their own."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def kafka(broker: EmbeddedBroker) -> KafkaSettings:
    """Settings that reach the session's broker."""
    return KafkaSettings(bootstrap_servers=broker.bootstrap_servers)


@pytest.fixture
def make_topics(kafka: KafkaSettings) -> MakeTopics:
    """A function that makes fresh topics; its further arguments are fields of TopicsSettings."""

    async def make(*, partitions: int = 4, **fields: Any) -> TopicSet:
        stem = f"t{_RUN}-{next(_numbers)}"
        names = {
            "frames_topic": f"{stem}-frames",
            "events_topic": f"{stem}-events",
            "dlq_topic": f"{stem}-dlq",
        }
        settings = TopicsSettings(kafka=kafka, partitions=partitions, **{**names, **fields})
        await ensure_topics(kafka, topic_specs(settings))
        return TopicSet(
            settings.frames_topic, settings.events_topic, settings.dlq_topic, f"{stem}-group", settings
        )

    return make


@pytest.fixture
async def topic_set(make_topics: MakeTopics) -> TopicSet:
    """Fresh topics of four partitions each."""
    return await make_topics()


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of real images, videos and models; tests that use it carry the marker `realdata`."""
    folder = os.environ.get("RIVERLENS_TESTDATA")
    if not folder:
        pytest.skip("RIVERLENS_TESTDATA is not set: no real data here")
    path = Path(folder)
    assert path.is_dir(), f"RIVERLENS_TESTDATA={folder} is not a folder"
    return path


@pytest.fixture(autouse=True)
def _leaks_show_here(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect garbage after tests with real clients, so that what one leaves open is its own failure."""
    yield
    if "broker" in request.fixturenames:
        gc.collect()
