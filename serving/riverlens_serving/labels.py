"""Which version a label may stand for: decisions only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from riverlens_serving.status import Code, ServingError

Labels = Mapping[str, Mapping[str, int]]
"""Model name -> label -> version."""


def assign(
    wanted: Labels, known: Labels, available: Callable[[str], Collection[int]], *, allow_unavailable: bool
) -> dict[str, dict[str, int]]:
    """The labels after a change of the configuration: all of `wanted`, or none.

    A label may point at a version that answers. With `allow_unavailable` (TensorFlow Serving's
    `--allow_version_labels_for_unavailable_models`) a label that is new, or keeps its version, may point
    anywhere; one that would move still may not, so that a label in use never stops answering.

    Raises:
        ServingError: FAILED_PRECONDITION, a label would point at a version that does not answer.
    """
    for model, labels in wanted.items():
        ready = available(model)
        for label, version in labels.items():
            moves = known.get(model, {}).get(label, version) != version
            if version not in ready and (moves or not allow_unavailable):
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {model}, which is not currently"
                    " available for inference",
                )
    return {model: dict(labels) for model, labels in wanted.items() if labels}
