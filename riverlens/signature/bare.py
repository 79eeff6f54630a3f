"""Outputs without the dimension of rows, as exports of one image a call have them after a squeeze. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from riverlens.signature.specs import TensorSpec

DETECTOR_RANKS = {"detection_boxes": 3, "detection_scores": 2, "detection_classes": 2, "num_detections": 1}
"""Of the Object Detection API's outputs, rows included."""


def bare_outputs(outputs: Mapping[str, TensorSpec], rows: int | None) -> frozenset[str]:
    """Aliases of the outputs that hold one row's values and no dimension of rows.

    A detector tells by the ranks of its outputs; another model where it takes one image a call (`rows`) and
    answers scalars, or a known number of rows that is not 1.
    """
    if DETECTOR_RANKS.keys() - {"num_detections"} <= outputs.keys() and outputs["detection_boxes"].rank == 2:  # noqa: PLR2004  # [K, 4]
        return frozenset(alias for alias, rank in DETECTOR_RANKS.items() if _rank(outputs, alias) == rank - 1)
    if rows != 1:
        return frozenset()
    return frozenset(alias for alias, tensor in outputs.items() if _has_no_rows(tensor))


def with_rows(outputs: Mapping[str, TensorSpec], bare: frozenset[str]) -> dict[str, TensorSpec]:
    """The outputs as they are once each has its dimension of rows."""
    return {
        alias: replace(tensor, shape=(1, *(tensor.shape or ()))) if alias in bare else tensor
        for alias, tensor in outputs.items()
    }


def _rank(outputs: Mapping[str, TensorSpec], alias: str) -> int | None:
    return outputs[alias].rank if alias in outputs else None


def _has_no_rows(tensor: TensorSpec) -> bool:
    return tensor.shape is not None and (not tensor.shape or tensor.shape[0] not in {1, None})
