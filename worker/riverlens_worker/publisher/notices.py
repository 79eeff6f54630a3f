"""Says in the log which frames became dead letters: of each reason one line every ten seconds."""

from __future__ import annotations

import logging

from riverlens.cloud_event import id_of
from riverlens.dead_letter import DETAIL, Origin
from riverlens.trace_context import log_fields
from riverlens_worker.publisher.outbox import Outgoing

logger = logging.getLogger(__name__)

EVERY_S = 10.0


class LetterNotices:
    """Reasons are a closed list, so what this keeps is bounded."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int]] = {}

    def tell(self, outgoing: Outgoing, now_s: float) -> None:
        """Kafka holds this dead letter. `now_s`: monotonic."""
        reason, source = outgoing.settled.reason, outgoing.settled.source
        said_s, unsaid = self._said.get(reason, (float("-inf"), 0))
        if now_s - said_s < EVERY_S:
            self._said[reason] = said_s, unsaid + 1
            return
        self._said[reason] = now_s, 0
        lease, frame, traced = source.lease, source.frame, outgoing.traced
        detail = dict(outgoing.headers).get(DETAIL, b"").decode("utf-8", "replace")
        fields: dict[str, object] = {
            "camera": frame.camera_id,
            "topic": lease.topic,
            "partition": lease.partition,
            "offset": source.offset,
            "reason": reason,
            **log_fields(frame.traceparent if traced is None else traced.trace.process),
        }
        # Whoever writes frames chooses camera ids, whoever serves models the words: they stay on the line.
        logger.warning(
            "dead letter: frame %s of camera %r: %s: %s (%d more of this reason since the line before)",
            id_of(Origin(lease.topic, lease.partition, source.offset)),
            frame.camera_id,
            reason,
            " ".join(detail.split()),
            unsaid,
            extra=fields,
        )
