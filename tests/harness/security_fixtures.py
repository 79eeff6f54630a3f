"""Fixtures of the tests of security; each folder that uses them imports them into its conftest."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from riverlens.broker import BrokerSecurity, EmbeddedBroker
from riverlens.topics import TopicsSettings, ensure_topics, topic_specs
from tests.conftest import TopicSet
from tests.harness.security import Authority, SecuredKafka

_USERS = ("admin", "worker", "camera", "nobody")


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """One Kafka with everything switched on; `admin` is a super user."""
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    passwords = {user: f"{user}-{secrets.token_hex(8)}" for user in _USERS}
    security = BrokerSecurity(
        keystore=authority.issue("broker").keystore,
        client_ca=authority.file,
        users=passwords,
        acls=True,
        super_users=("admin",),
    )
    with EmbeddedBroker(security=security) as broker:
        yield SecuredKafka(broker, authority, passwords)


def names_for(secured: SecuredKafka) -> TopicSet:
    """Names of topics and a group that nobody has, and the settings that would make them."""
    stem = f"s{secrets.token_hex(4)}"
    frames, events, dlq = f"{stem}-frames", f"{stem}-events", f"{stem}-dlq"
    settings = TopicsSettings(
        kafka=secured.root, partitions=2, frames_topic=frames, events_topic=events, dlq_topic=dlq
    )
    return TopicSet(frames, events, dlq, f"{stem}-group", settings)


@pytest.fixture
async def secured_topics(secured: SecuredKafka) -> TopicSet:
    """Fresh topics on the secured Kafka."""
    topics = names_for(secured)
    await ensure_topics(secured.root, topic_specs(topics.settings))
    return topics
