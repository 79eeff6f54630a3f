"""From facts to findings. Pure: the whole of what the check says."""

from __future__ import annotations

from collections.abc import Iterator

from riverlens_worker.check.facts import Facts, Kafka
from riverlens_worker.check.finding import Finding, bad, good, warning
from riverlens_worker.check.group_findings import judge_group
from riverlens_worker.check.own_findings import judge_own
from riverlens_worker.check.server_findings import judge_servers
from riverlens_worker.check.topic_findings import judge_topics
from riverlens_worker.settings import WorkerSettings


def judge(facts: Facts, settings: WorkerSettings) -> list[Finding]:
    """All findings, in the order in which a person would mend them: Kafka, the model servers, our own."""
    return [
        *_reach(facts.kafka),
        *judge_topics(facts.kafka, settings),
        *(judge_group(facts.kafka, settings) if facts.kafka.brokers else ()),
        *judge_servers(facts.servers, settings),
        *judge_own(facts.own, facts.kafka, settings),
    ]


def _reach(kafka: Kafka) -> Iterator[Finding]:
    answering = [address for address, problem in kafka.addresses.items() if not problem]
    if answering:
        brokers = f"{kafka.brokers} broker{'' if kafka.brokers == 1 else 's'}"
        yield good("Kafka", f"{', '.join(answering)} let us in; {brokers}")
    for address, problem in kafka.addresses.items():
        if problem:
            found, _, remedy = problem.partition("; ")
            make = warning if answering else bad
            yield make(f"Kafka {address}", found, remedy or "see kafka.bootstrap_servers")
    for what, text in kafka.failures:
        yield bad(what, f"could not be looked at: {text}", "see kafka.bootstrap_servers, and run it again")
