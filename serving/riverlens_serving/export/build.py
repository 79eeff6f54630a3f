"""The steps of an export: a SavedModel, dressed for serving, checked, warmed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from riverlens.errors import SettingsError
from riverlens.signature.specs import DEFAULT_SIGNATURE, TensorSpec, tensors_text
from riverlens_serving.export import signatures
from riverlens_serving.export.check import run_signatures
from riverlens_serving.export.checkpoints import save_checkpoint
from riverlens_serving.export.facts import ImageInput, choose_signature, facts, image_input
from riverlens_serving.export.graphs import save_frozen
from riverlens_serving.export.keras_models import save_keras
from riverlens_serving.export.plan import ExportPlan, Front, Pixels
from riverlens_serving.export.preprocessing import Preprocessing, preprocessing
from riverlens_serving.export.rework import rework
from riverlens_serving.export.rewrap import rewrap
from riverlens_serving.export.sources import Kind, Source
from riverlens_serving.export.warmup import write_warmup


def build(source: Source, plan: ExportPlan, scratch: Path) -> tuple[Path, list[str]]:
    """The finished version's folder, inside `scratch`, and a line for each thing that was done.

    Raises:
        RiverlensError: the model cannot be read, dressed, or run by a model server.
    """
    saved = _as_saved_model(source, plan, scratch / "given")
    written = scratch / "written"
    name, said = _dress(saved, plan, written)
    encoded = frozenset({DEFAULT_SIGNATURE}) if plan.front is Front.ENCODED else frozenset()
    notes = list(_check(written, encoded))
    if plan.front is Front.ENCODED and "input_size" not in said:
        notes.append(
            "note: the model takes pictures of any size, so those of one call must have one size; with --size"
            " HxW the graph resizes them"
        )
    if plan.warmup.images:
        notes.append(_warm(written, name, plan))
    return written, notes


def _as_saved_model(source: Source, plan: ExportPlan, folder: Path) -> Path:
    """The source as a SavedModel; one that is a SavedModel stays where it is."""
    match source.kind:
        case Kind.SAVED_MODEL:
            return source.path
        case Kind.FROZEN_GRAPH:
            save_frozen(source.path, plan.tensors, folder)
        case Kind.META_GRAPH:
            save_checkpoint(source.path, source.checkpoint, plan.tensors, folder)
        case Kind.KERAS:
            save_keras(source.path, folder)
    return folder


def _dress(saved: Path, plan: ExportPlan, folder: Path) -> tuple[str, Mapping[str, object]]:
    """Write `saved` with preprocessing and `riverlens_info` into `folder`.

    Returns the signature that takes images, and what `riverlens_info` says.
    """
    meta_graph = signatures.serving_graph(signatures.read_saved_model(saved), saved)
    if not plan.tells and not plan.warmup.images:
        shutil.copytree(saved, folder)
        return DEFAULT_SIGNATURE, {}
    name = choose_signature(plan.signature, list(meta_graph.signature_def))
    if not plan.tells:
        shutil.copytree(saved, folder)
        return name, {}
    definition = meta_graph.signature_def[name]
    inputs = signatures.tensors(definition.inputs)
    image = _image(inputs)
    front = _front(plan, name, inputs, image)
    said = facts(plan, image, signatures.tensors(definition.outputs))
    if signatures.is_version_2(meta_graph):
        rewrap(saved, folder, name, front, said)
    else:
        shutil.copytree(saved, folder)
        rework(folder, name, front, said)
    return (DEFAULT_SIGNATURE if front is not None else name), said


def _image(inputs: Mapping[str, TensorSpec]) -> ImageInput | None:
    return image_input(next(iter(inputs.values()))) if len(inputs) == 1 else None


def _front(
    plan: ExportPlan, name: str, inputs: Mapping[str, TensorSpec], image: ImageInput | None
) -> Preprocessing | None:
    if plan.front is None:
        return None
    if image is None:
        raise SettingsError(
            f"--input: signature {name} takes {tensors_text(inputs)}; pixels [-1,H,W,3] or, gray, [-1,H,W,1]"
            " are needed, and nothing else: leave --input out, or name another one with --signature"
        )
    return preprocessing(plan.front, image, plan.pixels)


def _check(folder: Path, encoded: frozenset[str]) -> Iterator[str]:
    ran = list(run_signatures(folder, encoded))
    names = ", ".join(signature for signature, _ in ran)
    yield f"checked: {names}: run in TensorFlow 1's session, as model servers do it"
    for signature, refused in ran:
        if refused:
            yield f"checked: {signature} wants other values than made-up ones: {refused}"


def _warm(folder: Path, name: str, plan: ExportPlan) -> str:
    # Behind the preprocessing a caller sends what cameras give, whatever the model itself wants.
    served = {
        None: plan.pixels,
        Front.UINT8: Pixels(plan.pixels.size, value_range=(0.0, 255.0)),
        Front.FLOAT32: Pixels(plan.pixels.size, value_range=(0.0, 1.0)),
        Front.ENCODED: Pixels(),
    }[plan.front]
    model = plan.model.resolve().name
    requests, size = write_warmup(folder, model, name, plan.warmup, served)
    return f"warm-up: {requests} requests, {size / 1e6:.1f} MB, each of them run"
