"""What becomes of an answer before it is an event: filtered, or dropped because nothing has changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Self

from riverlens.dead_letter import Reason
from riverlens.drop import DropReason
from riverlens_worker.changes import Changes, counts_of
from riverlens_worker.messages import Prediction, Rejected, Settled, dropped
from riverlens_worker.offsets import PartitionLease
from riverlens_worker.selection import Selection
from riverlens_worker.settings import WorkerSettings

_IN_PLACE_OF_EVENTS = (Reason.EVENT_TOO_LARGE.value, Reason.EVENT_REJECTED.value)


class Chooser:
    """Asked for each answer in its partition's order. Owns what each lease's cameras showed last."""

    def __init__(self, selection: Selection | None, hold_ms: int | None) -> None:
        self._selection = selection
        self._hold_ms = hold_ms
        self._changes: dict[PartitionLease, Changes] = {}

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self | None:
        """As the settings say; None where every frame is an event with all that was found."""
        selection = settings.selection
        hold_ms = settings.changes_hold_ms if settings.events == "changes" else None
        return None if selection is None and hold_ms is None else cls(selection, hold_ms)

    def choose(self, prediction: Prediction) -> Prediction | Rejected:
        """The answer as its event tells it, or the frame as dropped: `unchanged`."""
        source = prediction.source.source
        frame = source.frame
        if self._selection is not None:
            prediction = replace(prediction, answer=self._selection.of(frame.camera_id, prediction.answer))
        # A frame that was redriven is of another time: it tells nothing of what its camera shows now.
        if self._hold_ms is None or frame.redriven:
            return prediction
        counts = counts_of(prediction.answer)
        changes = self._changes.get(source.lease)
        if changes is None:
            changes = self._changes[source.lease] = Changes(self._hold_ms)
        if counts is None or changes.differs(frame.camera_id, counts, frame.captured_at_ms):
            return prediction
        return dropped(source, DropReason.UNCHANGED)

    def dead_lettered(self, settled: Settled) -> None:
        """A dead letter is on Kafka. Where it took an event's place, the camera's next frame is an event."""
        changes = self._changes.get(settled.source.lease)
        if changes is not None and settled.reason in _IN_PLACE_OF_EVENTS:
            changes.forget(settled.source.frame.camera_id)

    def forget(self, leases: Iterable[PartitionLease]) -> None:
        """These leases have ended."""
        for lease in leases:
            self._changes.pop(lease, None)
