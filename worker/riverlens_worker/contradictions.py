"""Rules over several of the worker's settings: a line for each that is broken. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the settings import this module
    from riverlens_worker.settings import WorkerSettings

_MARGIN_MS = 2_000


def contradictions(settings: WorkerSettings) -> Iterator[str]:
    """Lines that name the settings: half a certificate, times that lose work, topics that feed themselves."""
    yield from _wrong_tls(settings)
    if settings.drain_timeout_ms > settings.rebalance_timeout_ms - _MARGIN_MS:
        yield (
            f"drain_timeout_ms ({settings.drain_timeout_ms}) must be at most "
            f"rebalance_timeout_ms - {_MARGIN_MS} ({settings.rebalance_timeout_ms - _MARGIN_MS}), "
            "else a rebalance ends before the drain"
        )
    if settings.heartbeat_interval_ms * 3 > settings.session_timeout_ms:
        yield (
            f"heartbeat_interval_ms ({settings.heartbeat_interval_ms}) must be at most a third of "
            f"session_timeout_ms ({settings.session_timeout_ms})"
        )
    if len({settings.frames_topic, settings.events_topic, settings.dlq_topic}) < 3:  # noqa: PLR2004  # three topics
        yield "frames_topic, events_topic and dlq_topic must be three different topics"
    yield from _without_effect(settings)


def _wrong_tls(settings: WorkerSettings) -> Iterator[str]:
    names = ("server_ca_file", "server_cert_file", "server_key_file", "server_name")
    given = [name for name in names if getattr(settings, name) is not None]
    if given and not settings.server_tls:
        yield f"{given[0]} has no effect without server_tls; set server_tls=true"
    elif (settings.server_cert_file is None) != (settings.server_key_file is None):
        yield "server_cert_file and server_key_file belong together: set both or neither"


def _without_effect(settings: WorkerSettings) -> Iterator[str]:
    """Filters that would silently do nothing, or leave nothing."""
    low = min((score for _, score in settings.filters.min_scores), default=1.0)
    if low < settings.min_score:
        yield (
            f"min_scores asks for {low:g}, below min_score ({settings.min_score:g}), which comes first; "
            f"set min_score={low:g} and the other labels' scores in min_scores"
        )
    if settings.min_box_area > settings.max_box_area:
        yield (
            f"min_box_area ({settings.min_box_area:g}) must be at most max_box_area "
            f"({settings.max_box_area:g}), else no box is left"
        )
    if settings.only_zones and not settings.zones:
        yield "only_zones has no effect without zones; set zones, or only_zones=false"
    if settings.changes_hold_ms and settings.events != "changes":
        yield "changes_hold_ms has no effect without events=changes; set both, or neither"
