"""`riverlens worker check` where Kafka has logins and ACLs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from riverlens.broker import BrokerSecurity, EmbeddedBroker
from riverlens.kafka import KafkaSettings
from riverlens.topics import TopicsSettings, ensure_topics, topic_specs
from riverlens_worker.check.finding import Level, to_lines
from riverlens_worker.check.run import check
from tests.conftest import TopicSet
from tests.harness.check_help import check_settings, not_good, only
from tests.harness.security import Acl, Operation, Resource, grant, revoke, worker_rights


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[EmbeddedBroker, str]]:
    """A Kafka with logins and ACLs that makes topics on request, and the password of `worker`."""
    password = secrets.token_hex(8)
    security = BrokerSecurity(users={"worker": password}, acls=True)
    with EmbeddedBroker(security=security, properties={"auto.create.topics.enable": "true"}) as broker:
        yield broker, password


async def test_missing_rights_are_told_each_with_its_command(
    guarded: tuple[EmbeddedBroker, str], server: str
) -> None:
    """Without rights each missing one is named; with exactly the worker's rights only configs stay unseen."""
    broker, password = guarded
    root = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    kafka = KafkaSettings(
        bootstrap_servers=broker.bootstrap_for("SASL_PLAINTEXT"), security_protocol="SASL_PLAINTEXT",
        sasl_username="worker", sasl_password=SecretStr(password),
    )  # fmt: skip
    names: dict[str, Any] = {"frames_topic": "g-frames", "events_topic": "g-events", "dlq_topic": "g-dlq"}
    made = TopicsSettings(kafka=root, partitions=2, **names)
    await ensure_topics(root, topic_specs(made))
    topics = TopicSet("g-frames", "g-events", "g-dlq", "g-group", made)
    settings = check_settings(kafka, topics, server, delivery="exactly-once")

    findings = await check(settings)
    wrong = {each.what: each.remedy for each in not_good(findings)}
    assert "--operation Read --topic g-frames" in wrong["topic g-frames"]
    assert "--operation Write --topic g-events" in wrong["topic g-events"]
    assert "--operation Read --group g-group" in wrong["group g-group"]
    assert "--transactional-id g-group-g-frames- --resource-pattern-type prefixed" in wrong["transactions"]

    describe = [Acl(Resource.TOPIC, topics.frames, Operation.DESCRIBE)]
    await grant(broker.bootstrap_servers, "worker", describe)
    found = only(await check(settings), "topic g-frames", Level.BAD)
    assert found.found == "we may not read it"

    await grant(broker.bootstrap_servers, "worker", worker_rights(topics))
    findings = await check(settings)
    assert {each.level for each in not_good(findings)} == {Level.WARNING}, "\n".join(to_lines(findings))
    assert all("DescribeConfigs" in each.remedy for each in not_good(findings))
    configs = [Acl(Resource.TOPIC, name, Operation.DESCRIBE_CONFIGS) for name in names.values()]
    await grant(broker.bootstrap_servers, "worker", configs)
    assert not_good(await check(settings)) == []
    await revoke(broker.bootstrap_servers, "worker")


async def test_a_kafka_that_makes_topics_is_not_made_to(
    guarded: tuple[EmbeddedBroker, str], server: str
) -> None:
    """Asking for topics that are missing creates none, even where brokers create them on request."""
    root = KafkaSettings(bootstrap_servers=guarded[0].bootstrap_servers)
    topics = TopicSet("none-f", "none-e", "none-d", "none-g", TopicsSettings(kafka=root))
    for _ in range(2):
        findings = await check(check_settings(root, topics, server))
        assert "does not exist" in only(findings, "topic none-f", Level.BAD).found
