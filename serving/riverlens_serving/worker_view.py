"""How the worker will feed and read a model: its own rules, on the SavedModel's file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from riverlens.signature import INFO_SIGNATURE, LayoutError, ModelFacts, SignatureSpec, TensorSpec, choose
from riverlens.signature.facts import read_facts
from riverlens_serving.export.check import encoded_rows, load_for_check, run
from riverlens_serving.export.signatures import read_saved_model, serving_graph, tensors
from riverlens_serving.status import ServingError


def worker_view(folder: Path, wanted: str | None, *, run_model: bool) -> Iterator[str]:
    """The lines that tell the layout, or why the worker refuses the model.

    `wanted` is the worker's setting `signature`. Where the model may be run, its `riverlens_info` is asked,
    as the worker does; without it only the worker's defaults are known.

    Raises:
        RiverlensError: the SavedModel cannot be read or loaded.
    """
    definitions = serving_graph(read_saved_model(folder), folder).signature_def
    signatures = {
        name: SignatureSpec(_needed(definition), tensors(definition.outputs), definition.method_name)
        for name, definition in definitions.items()
    }
    facts = _facts(folder) if run_model and INFO_SIGNATURE in signatures else ModelFacts()
    try:
        layout = choose(signatures, wanted, facts)
    except LayoutError as error:
        yield f"refuses it: {error}"
        return
    yield f"{layout.signature} takes {layout.fed_text()}"
    yield f"{layout.signature} answers {layout.read_text()}"
    yield _labels(facts, INFO_SIGNATURE in signatures, asked=run_model)
    for thing in facts.unknown:
        yield f"does not understand what {INFO_SIGNATURE} says: {thing}"
    yield from layout.warnings


def _needed(definition: Any) -> dict[str, TensorSpec]:
    """Inputs that a request must hold: all but those that have a default value."""
    inputs = tensors(definition.inputs)
    return {alias: spec for alias, spec in inputs.items() if alias not in definition.defaults} or inputs


def _labels(facts: ModelFacts, has_info: bool, *, asked: bool) -> str:  # noqa: FBT001  # told apart by `asked`
    if facts.labels:
        first = min(facts.labels)
        return f"names {len(facts.labels)} classes, {first} is {facts.labels[first]!r}"
    if has_info and not asked:
        return f"names of classes: ask {INFO_SIGNATURE}, without --no-run"
    return "names classes class-<id>: the model tells no labels; see the worker's setting labels"


def _facts(folder: Path) -> ModelFacts:
    model = load_for_check(folder)
    try:
        answer: Any = run(model, model.signature_defs[INFO_SIGNATURE], {"key": encoded_rows([b""])})
        return read_facts(bytes(answer["json"].reshape(-1)[0]))
    except (ServingError, KeyError, IndexError, TypeError):
        return ModelFacts(unknown=("no answer of the form key -> json",))
    finally:
        model.session.close()
