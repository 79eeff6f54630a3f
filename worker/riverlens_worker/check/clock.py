"""The brokers' clock against ours. Shell.

Kafka's answers hold no time, but for one: the leader of the controllers' quorum says of itself that it has
caught up "now". It is read between two looks at our own clock, so it is known to half the way there and back.
"""

from __future__ import annotations

import time

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from riverlens_worker.check import requests
from riverlens_worker.check.facts import Clock

_TRIES = 3


async def ask_clock(client: AIOKafkaClient) -> Clock | None:
    """The quorum's leader's clock, the quickest of three answers; None where it is not told us.

    It takes the right Describe on the cluster, and Kafka 3.3.
    """
    best: Clock | None = None
    for _ in range(_TRIES):
        try:
            asked_ms = time.time() * 1000
            answer = await client.send(client.get_random_node(), requests.describe_quorum())
            answered_ms = time.time() * 1000
        except (KafkaError, OSError):
            # Not allowed, not known or not now: the newest frames' timestamps have to do.
            return best
        told = _leaders_clock(answer)
        if told is None:
            return best
        leader, now_ms = told
        half_ms = (answered_ms - asked_ms) / 2
        found = Clock(now_ms - asked_ms - half_ms, half_ms + 1, f"controller {leader}'s")
        if best is None or found.uncertainty_ms < best.uncertainty_ms:
            best = found
    return best


def _leaders_clock(answer: requests.DescribeQuorumAnswer) -> tuple[int, int] | None:
    for _, partitions, _ in answer.topics:
        for _, code, leader, _, _, voters, _, _ in partitions:
            times = {replica: caught_up_ms for replica, _, _, caught_up_ms, _ in voters}
            if code == 0 and times.get(leader, -1) > 0:
                return leader, times[leader]
    return None
