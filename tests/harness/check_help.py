"""What the tests of `riverlens worker check` share."""

from __future__ import annotations

from typing import Any

from riverlens.kafka import KafkaSettings
from riverlens_worker.check.finding import Finding, Level, to_lines
from riverlens_worker.check.settings import CheckSettings
from tests.conftest import TopicSet


def check_settings(kafka: KafkaSettings, topics: TopicSet, server: str, **changed: Any) -> CheckSettings:
    """Settings of a sound worker, whose model is named `colour`; `changed` by field name."""
    fields = {
        "kafka": kafka,
        "frames_topic": topics.frames,
        "events_topic": topics.events,
        "dlq_topic": topics.dlq,
        "group_id": topics.group,
        "server": server,
        "model": "colour",
        "admin_port": 0,
        # Names of the model's classes: without, a warning says so.
        "labels": "coco",
    }
    return CheckSettings(**{**fields, **changed})


def only(findings: list[Finding], what: str, level: Level) -> Finding:
    """The only finding of this name and level."""
    found = [each for each in findings if each.what == what and each.level is level]
    assert len(found) == 1, "\n".join(to_lines(findings))
    return found[0]


def not_good(findings: list[Finding]) -> list[Finding]:
    """Those that are warnings or bad."""
    return [each for each in findings if each.level is not Level.GOOD]
