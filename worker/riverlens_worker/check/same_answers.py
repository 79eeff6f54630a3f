"""Whether two images get in one call what each gets alone. Pure.

A model may take any number of rows and still mix them; a worker's events would then be wrong in silence.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]

TOLERANCE = 1e-3
"""Largest difference that is rounding: kernels sum in another order for other batch sizes."""
_SURE_SCORE = 0.3
"""Detections below it come in any order where scores nearly tie."""
_DETECTION_SCORES = "detection_scores"


def difference(together: Arrays, first: Arrays, second: Arrays) -> float | None:
    """The largest difference over all outputs, relative where values exceed 1; 1 for unequal strings.

    None where shapes differ, as with outputs as long as there are detections: nothing to compare by.
    """
    largest = 0.0
    sure = _sure(first, second)
    for alias, values in together.items():
        if alias not in first or alias not in second or first[alias].shape[1:] != second[alias].shape[1:]:
            return None
        alone = np.concatenate([first[alias], second[alias]])
        if values.shape != alone.shape:
            return None
        largest = max(largest, _apart(values, alone, sure))
    return largest


def _sure(first: Arrays, second: Arrays) -> NDArray[np.bool_] | None:
    if _DETECTION_SCORES not in first or _DETECTION_SCORES not in second:
        return None
    a, b = first[_DETECTION_SCORES], second[_DETECTION_SCORES]
    if a.shape[1:] != b.shape[1:]:
        return None
    return np.concatenate([a, b]).astype(np.float64) >= _SURE_SCORE


def _apart(values: NDArray[np.generic], alone: NDArray[np.generic], sure: NDArray[np.bool_] | None) -> float:
    if values.dtype.kind not in "fiub":
        return float(not np.array_equal(values, alone))
    counted = values.shape[:2] == sure.shape if sure is not None else False
    if counted:
        values, alone = values[sure], alone[sure]
    if not values.size:
        return 0.0
    difference = np.abs(values.astype(np.float64) - alone.astype(np.float64))
    scale = np.maximum(1.0, np.abs(alone.astype(np.float64)))
    return float(np.nanmax(difference / scale, initial=0.0))
