"""Finds out how the served model is fed and read, before the first frame. Shell.

Signatures come from the server, labels from the setting, else from the model's own `riverlens_info`.
A preflight call proves that the model takes what we will send, and whether encoded images of different
sizes may share a call (an export that stacks before it resizes cannot).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import orjson
import simplejpeg

from riverlens import labels
from riverlens.signature import (
    INFO_SIGNATURE,
    InputKind,
    Layout,
    LayoutError,
    ModelFacts,
    OutputKind,
    SignatureSpec,
    choose,
)
from riverlens_worker.decoding import to_row
from riverlens_worker.detections import (
    Arrays,
    MisshapenReplyError,
    Reading,
    needs_places,
    read_answers,
    settle,
)
from riverlens_worker.endpoints import CallFailedError, Endpoint, Endpoints
from riverlens_worker.errors import ModelError, decide
from riverlens_worker.geometry import Place
from riverlens_worker.messages import Answer, DecodedFrame
from riverlens_worker.predict_request import Rows, predict_request
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.target import Row, Target
from riverlens_worker.tensors import info_request, read_info, read_reply

logger = logging.getLogger(__name__)

ModelServer = Endpoint | Endpoints
"""One model server, or all that serve the same model."""
_TEST_SIZE = 64
_RETRY_S = 0.5


@dataclass(slots=True)
class ServedModel:
    """One model, ready to be asked. Writer: Predictor (labels of a new version).

    Attributes:
        layout: how it is fed and read.
        target: what frames are decoded to.
        tells_info: whether it has the signature `riverlens_info`.
        readings: labels and limits by model version.
        chosen: the layout as the metadata of `proved` told it, before an answer settled the rest.
        proved: the version that answered the test image; None: another one is not compared with it.
    """

    endpoint: ModelServer
    settings: WorkerSettings
    layout: Layout
    target: Target
    own_labels: Mapping[int, str] | None
    tells_info: bool
    readings: dict[int, Reading] = field(default_factory=dict)
    chosen: Layout | None = None
    proved: int | None = None

    async def reading(self, version: int, endpoint: ModelServer | None = None) -> Reading:
        """How answers of `version` are read; asks a new version, where it answered, for its labels once.

        Raises:
            CallFailedError: it cannot tell them now.
            ModelError: it is fed or read otherwise than the version that frames are made ready for.
        """
        if version not in self.readings:
            server = endpoint or self.endpoint
            signatures = await server.signatures() if self.proved not in {None, version} else None
            tells_info = self.tells_info if signatures is None else INFO_SIGNATURE in signatures
            info = await _ask_info(server, self.settings.model, version) if tells_info else ModelFacts()
            if signatures is not None:
                self._compare(version, signatures, info)
            self.readings[version] = Reading(
                self.own_labels if self.own_labels is not None else info.labels,
                self.settings.min_score,
                self.settings.most_read,
            )
        return self.readings[version]

    def _compare(self, version: int, signatures: Mapping[str, SignatureSpec], info: ModelFacts) -> None:
        """A new version that takes or answers other things would be misread without a word."""
        name, again = self.settings.model, "start the worker again, which finds out anew"
        facts = self.settings.facts(self.own_labels).over(info)
        try:
            layout = choose(signatures, self.settings.signature, facts)
        except LayoutError as error:
            raise ModelError(f"version {version} of the model {name!r} cannot be used: {error}") from None
        if self.chosen is not None and not layout.alike(self.chosen):
            raise ModelError(
                f"version {version} of the model {name!r} is fed and read otherwise than version"
                f" {self.proved}: {layout.fed_text()}; {layout.read_text()}; before:"
                f" {self.chosen.fed_text()}; {self.chosen.read_text()}; {again}"
            )

    def places(self, frames: Sequence[DecodedFrame | Row]) -> Sequence[Place]:
        """Where each frame's image lies in what the model was fed; none where its boxes do not need it."""
        if not needs_places(self.layout):
            return ()
        encoded = self.layout.kind is InputKind.ENCODED
        return [self.target.place(frame.size, as_it_is=encoded and not frame.reencoded) for frame in frames]

    def test_places(self, rows: int = 1) -> Sequence[Place]:
        """Where test images lie in what the model was fed; none where its boxes do not need it."""
        if not needs_places(self.layout):
            return ()
        return [self.target.place((_TEST_SIZE, _TEST_SIZE))] * rows


async def discover(
    endpoint: ModelServer, settings: WorkerSettings, waiting: Callable[[str], None]
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
    info = await _facts_told(endpoint, settings.model, waiting) if tells_info else ModelFacts()
    facts = settings.facts(own_labels).over(info)
    layout = choose(signatures, settings.signature, facts)
    target = Target.of(
        layout,
        input_size=settings.input_size,
        max_frame_bytes=settings.max_frame_bytes,
        max_pixels=settings.max_pixels,
    )
    model = ServedModel(endpoint, settings, layout, target, own_labels, tells_info, chosen=layout)
    for unknown in info.unknown:
        logger.warning("%s says what this version does not understand: %s", INFO_SIGNATURE, unknown)
    if not facts.labels and layout.output_kind is OutputKind.DETECTIONS:
        logger.warning("the model names no labels: events say class-<id>; see the setting labels")
    if own_labels and 0 in own_labels and layout.detection and layout.detection.boxes == "detection_boxes":
        logger.warning(
            "labels: %s names class 0, but detection_classes of the Object Detection API begin with 1: put a"
            " line ??? first, or give ids in JSON or pbtxt",
            settings.labels,
        )
    for warning in (*layout.warnings, *await _preflight(model, waiting)):
        logger.warning("%s", warning)
    logger.info(
        "model %s: signature %s takes %s, answers with %s",
        settings.model,
        layout.signature,
        model.layout.fed_text(),
        model.layout.read_text(),
    )
    return model


async def _signatures(endpoint: ModelServer, waiting: Callable[[str], None]) -> dict[str, SignatureSpec]:
    while True:
        try:
            return await endpoint.signatures()
        except CallFailedError as error:
            waiting(str(error))
            await asyncio.sleep(_RETRY_S)


async def _ask_info(endpoint: ModelServer, name: str, version: int | None = None) -> ModelFacts:
    """What the model tells of itself; a refusal tells nothing.

    Raises:
        CallFailedError: it cannot answer now. Its facts must not be guessed for good because of that.
    """
    try:
        reply = await endpoint.predict(info_request(name, version), timeout_s=10)
    except CallFailedError as error:
        if decide(error.code, error.details).passes:
            raise
        logger.info("the model tells no labels: %s", error)
        return ModelFacts()
    return read_info(read_reply(reply)[1])


async def _facts_told(endpoint: ModelServer, name: str, waiting: Callable[[str], None]) -> ModelFacts:
    """The same at the start, where a server that cannot answer now is waited for."""
    while True:
        try:
            return await _ask_info(endpoint, name)
        except CallFailedError as error:
            waiting(str(error))
            await asyncio.sleep(_RETRY_S)


async def _preflight(model: ServedModel, waiting: Callable[[str], None]) -> tuple[str, ...]:
    """Prove that the model takes test images; settle what only an answer tells. Warnings of that."""
    rows = test_rows(model.target)
    answer = await _ask(model, rows[:1], waiting)
    if isinstance(answer, str):
        raise ModelError(
            f"the model {model.settings.model!r} refuses a test image on signature "
            f"{model.layout.signature!r} ({answer}); see the settings signature and input_size"
        )
    try:
        model.layout, warnings = settle(model.layout, answer)
        _check_size(_check(model, answer, 1), model.settings.max_frame_bytes)
    except MisshapenReplyError as error:
        raise LayoutError(
            f"output_kind: signature {model.layout.signature!r} does not answer as its kind does: {error};"
            " set another kind or signature, or export it so that each image has its row"
        ) from None
    if model.layout.rows is not None:
        return warnings
    if model.layout.kind is InputKind.ENCODED:
        if await _takes(model, rows, waiting):
            return warnings
        model.target = replace(model.target, by_size=True)
        logger.info("images of different sizes cannot share a call of this model: batches go by size")
    if not await _takes(model, [rows[0], rows[0]], waiting):
        model.layout = replace(model.layout, rows=1)
        one = "the model does not answer two images in one call: each goes alone; export it with a free batch"
        return (*warnings, one)
    return warnings


def _check(model: ServedModel, answer: Arrays, rows: int) -> list[Answer]:
    return read_answers(model.layout, answer, rows, Reading(), model.test_places(rows))


def _check_size(answers: list[Answer], most_bytes: int) -> None:
    """No event of a model passes whose arrays alone are larger than a message may be."""
    size = len(orjson.dumps([answer.outputs for answer in answers]))
    if size > most_bytes:
        raise LayoutError(
            f"max_frame_bytes: the outputs of one image are {size} bytes as an event, above {most_bytes}:"
            " if they are boxes, set output_kind=detection; else export fewer or smaller ones, or raise it"
            " and the topics' max.message.bytes"
        )


async def _takes(model: ServedModel, rows: Rows, waiting: Callable[[str], None]) -> bool:
    """Whether the model answers these rows in one call, a row for each."""
    answer = await _ask(model, rows, waiting)
    if isinstance(answer, str):
        return False
    try:
        _check(model, answer, len(rows))
    except MisshapenReplyError:
        return False
    return True


async def _ask(model: ServedModel, rows: Rows, waiting: Callable[[str], None]) -> Arrays | str:
    """The model's answer, or why it refused. Waits out a server's absence."""
    request = predict_request(model.settings.model, model.layout, rows)
    while True:
        try:
            reply = await model.endpoint.predict(request, model.settings.predict_timeout_ms / 1000)
            version, arrays = read_reply(reply)
        except ValueError as error:
            raise LayoutError(f"signature {model.layout.signature!r}: {error}; name another one") from None
        except CallFailedError as error:
            verdict = decide(error.code, error.details)
            if not verdict.passes:
                return verdict.why
            waiting(verdict.why)
            await asyncio.sleep(_RETRY_S)
        else:
            model.proved = version if model.proved is None else model.proved
            return arrays


def test_rows(target: Target) -> Rows:
    """What the model is tried with: a picture of many colours, twice: for encoded input of two sizes."""
    sizes = [(_TEST_SIZE, _TEST_SIZE), (_TEST_SIZE * 2, _TEST_SIZE)]
    return [to_row(_picture(*size), None, target).row for size in sizes]


def _picture(width: int, height: int) -> bytes:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    pixels = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
    encoded: bytes = simplejpeg.encode_jpeg(pixels, 90, "RGB")
    return encoded
