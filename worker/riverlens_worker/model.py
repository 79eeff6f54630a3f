"""Finds out how the served model is fed and read, before the first frame. Shell.

Signatures come from the server, labels from the setting, else from the model's own `riverlens_info`.
A preflight call proves that the model takes what we will send, and whether encoded images of different
sizes may share a call (an export that stacks before it resizes cannot).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import simplejpeg

from riverlens import labels
from riverlens.signature import (
    INFO_SIGNATURE,
    InputKind,
    Layout,
    LayoutError,
    ModelInfo,
    OutputKind,
    SignatureSpec,
    choose,
)
from riverlens_worker.decoding import Target
from riverlens_worker.detections import MisshapenReplyError, Reading, read_answers
from riverlens_worker.endpoints import CallFailedError, Endpoint
from riverlens_worker.errors import Action, ModelError, decide
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.tensors import Rows, info_request, predict_request, read_info, read_reply

logger = logging.getLogger(__name__)

_TEST_SIZE = 64
_RETRY_S = 0.5


@dataclass(slots=True)
class ServedModel:
    """One model on one server, ready to be asked. Writer: Predictor (labels of a new version).

    Attributes:
        layout: how it is fed and read.
        target: what frames are decoded to.
        tells_info: whether it has the signature `riverlens_info`.
        readings: labels and limits by model version.
    """

    endpoint: Endpoint
    settings: WorkerSettings
    layout: Layout
    target: Target
    own_labels: Mapping[int, str] | None
    tells_info: bool
    readings: dict[int, Reading] = field(default_factory=dict)

    async def reading(self, version: int) -> Reading:
        """How answers of `version` are read; asks a new version for its labels once."""
        if version not in self.readings:
            name = self.settings.model
            info = await _ask_info(self.endpoint, name, version) if self.tells_info else ModelInfo()
            self.readings[version] = Reading(
                self.own_labels if self.own_labels is not None else info.labels,
                self.settings.min_score,
                self.settings.max_detections,
            )
        return self.readings[version]


async def discover(
    endpoint: Endpoint, settings: WorkerSettings, waiting: Callable[[str], None]
) -> ServedModel:
    """Wait for the model, choose its signature, learn its labels, prove it with a test image.

    Raises:
        ModelError: the server does not know the model, or refuses the test image.
        LayoutError: no signature fits; names the setting that helps.
        SettingsError: the labels cannot be read.
    """
    own_labels = labels.read(settings.labels) if settings.labels else None
    await endpoint.wait_available(waiting)
    signatures = await _signatures(endpoint, waiting)
    tells_info = INFO_SIGNATURE in signatures
    info = await _ask_info(endpoint, settings.model) if tells_info else ModelInfo()
    layout = choose(signatures, settings.signature, has_labels=own_labels is not None, info_kind=info.kind)
    target = Target.of(
        layout,
        input_size=settings.input_size,
        max_frame_bytes=settings.max_frame_bytes,
        max_pixels=settings.max_pixels,
    )
    model = ServedModel(endpoint, settings, layout, target, own_labels, tells_info)
    if (
        INFO_SIGNATURE not in signatures
        and own_labels is None
        and layout.output_kind is OutputKind.DETECTIONS
    ):
        logger.warning("the model names no labels: events say class-<id>; see the setting labels")
    if not tells_info and layout.dtype == "float32":
        logger.warning("float32 input is fed 0..1, as the model does not say otherwise")
    await _preflight(model, waiting)
    logger.info(
        "model %s: signature %s takes %s as %s, answers with %s",
        settings.model,
        layout.signature,
        layout.alias,
        "encoded images" if layout.kind is InputKind.ENCODED else f"{layout.dtype} pixels",
        layout.output_kind.name.lower(),
    )
    return model


async def _signatures(endpoint: Endpoint, waiting: Callable[[str], None]) -> dict[str, SignatureSpec]:
    while True:
        try:
            return await endpoint.signatures()
        except CallFailedError as error:
            waiting(str(error))
            await asyncio.sleep(_RETRY_S)


async def _ask_info(endpoint: Endpoint, name: str, version: int | None = None) -> ModelInfo:
    """A model without `riverlens_info`, or one that cannot answer now, tells nothing."""
    try:
        reply = await endpoint.predict(info_request(name, version), timeout_s=10)
    except CallFailedError as error:
        logger.info("the model tells no labels: %s", error)
        return ModelInfo()
    return read_info(read_reply(reply)[1])


async def _preflight(model: ServedModel, waiting: Callable[[str], None]) -> None:
    rows = _test_rows(model.layout)
    refused = await _try(model, rows[:1], waiting)
    if refused:
        raise ModelError(
            f"the model {model.settings.model!r} refuses a test image on signature "
            f"{model.layout.signature!r} ({refused}); see the settings signature and input_size"
        )
    if len(rows) > 1 and await _try(model, rows, waiting):
        model.target = replace(model.target, by_size=True)
        logger.info("images of different sizes cannot share a call of this model: batches go by size")


async def _try(model: ServedModel, rows: Rows, waiting: Callable[[str], None]) -> str:
    """Ask the model once; "" where it answered, else why it refused. Waits out a server's absence."""
    request = predict_request(model.settings.model, model.layout, rows)
    while True:
        try:
            reply = await model.endpoint.predict(request, model.settings.predict_timeout_ms / 1000)
            version, arrays = read_reply(reply)
            read_answers(model.layout, arrays, len(rows), await model.reading(version))
        except MisshapenReplyError as error:
            raise LayoutError(f"signature {model.layout.signature!r}: {error}") from None
        except CallFailedError as error:
            verdict = decide(error.code, error.details)
            if verdict.action is not Action.RETRY:
                return verdict.why
            waiting(verdict.why)
            await asyncio.sleep(_RETRY_S)
        else:
            return ""


def _test_rows(layout: Layout) -> Rows:
    """A gray image; for encoded input a second one of another size."""
    if layout.kind is InputKind.ENCODED:
        sizes = [(_TEST_SIZE, _TEST_SIZE), (_TEST_SIZE, _TEST_SIZE * 2)]
        if layout.single:
            sizes = sizes[:1]
        return [simplejpeg.encode_jpeg(np.full((*size, 3), 128, np.uint8), 90, "RGB") for size in sizes]
    shape = (layout.height or _TEST_SIZE, layout.width or _TEST_SIZE, 3)
    gray = np.full(shape, 128, np.uint8) if layout.dtype == "uint8" else np.full(shape, 0.5, np.float32)
    return [gray]
