"""What the codes of the recording rule `riverlens:bottleneck` mean, in words and colours."""

from __future__ import annotations

from typing import NamedTuple


class Verdict(NamedTuple):
    """What holds the frames up, what to do about it, and a colour of Grafana's."""

    text: str
    colour: str


VERDICTS: dict[int, Verdict] = {
    0: Verdict("Nothing: frames leave as they come", "green"),
    1: Verdict("Model server: away or failing", "red"),
    2: Verdict("No worker runs: start workers", "red"),
    3: Verdict("Kafka: slow or away", "red"),
    4: Verdict("Cameras: no frame arrives", "blue"),
    5: Verdict("One partition: a stuck frame or a hot camera", "orange"),
    6: Verdict("Batching: calls leave small", "orange"),
    7: Verdict("Model server busy: add model servers", "orange"),
    8: Verdict("Workers busy: add workers", "orange"),
    9: Verdict("References: their hosts are slow", "orange"),
}
"""By code. Which one is told where several hold, the rule decides."""
