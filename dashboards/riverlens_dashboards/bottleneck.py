"""What the codes of the recording rule `riverlens:bottleneck` mean, in words and colours."""

from __future__ import annotations

from typing import NamedTuple


class Verdict(NamedTuple):
    """What holds the frames up, what to do about it, and a colour of Grafana's; `because`: what shows it."""

    text: str
    colour: str
    because: str


VERDICTS: dict[int, Verdict] = {
    0: Verdict("Nothing: frames leave as they come", "green", "frames leave as they come"),
    1: Verdict(
        "Model server: away or failing", "red", "no model server is asked, or more calls fail than pass"
    ),
    2: Verdict("No worker runs: start workers", "red", "no worker answers, or none is running"),
    3: Verdict(
        "Kafka: slow or away",
        "red",
        "requests to Kafka fail; or events are acknowledged after a second; or frames wait on Kafka and workers are nearly empty",
    ),
    4: Verdict("Cameras: no frame arrives", "blue", "nothing is read and nothing waits"),
    5: Verdict(
        "One partition: a stuck frame or a hot camera",
        "orange",
        "a partition with frames has not moved for ten seconds while others go on; or four fifths of the backlog lie in one",
    ),
    6: Verdict(
        "Batching: calls leave small",
        "orange",
        "frames wait, model servers are busy, and calls are less than half full because of sizes or bytes, or may hold less than half of what they could",
    ),
    7: Verdict(
        "Model server busy: add model servers",
        "orange",
        "frames wait, a call is under way nearly always, and most batches are full",
    ),
    8: Verdict(
        "Workers busy: add workers",
        "orange",
        "frames wait, and nothing of the above: the workers do not get them ready fast enough",
    ),
    9: Verdict(
        "References: their hosts are slow",
        "orange",
        "frames wait, and more than four references a worker are being fetched on average",
    ),
}
"""By code. Which one is told where several hold, the rule decides."""
