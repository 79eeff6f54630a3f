"""From a model's metadata to how it is fed and read. Pure; shared by the worker and `serving inspect`.

The server tells each signature's tensors; from them follow the input layout (encoded bytes or pixels, of
which size and range) and what the outputs are (detections, classes, arrays). What metadata cannot say
stands in `ModelFacts`: from settings, else from the model's signature `riverlens_info`, else defaults with
a warning that names the setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from riverlens.signature.facts import ModelFacts
from riverlens.signature.inputs import InputKind, PixelRule, read_input
from riverlens.signature.outputs import DetectionRule, OutputKind, is_named_detector, read_outputs
from riverlens.signature.specs import (
    DEFAULT_SIGNATURE,
    INFO_SIGNATURE,
    LayoutError,
    SignatureSpec,
    TensorSpec,
    UnfitError,
)

__all__ = [
    "DEFAULT_SIGNATURE",
    "INFO_SIGNATURE",
    "DetectionRule",
    "InputKind",
    "Layout",
    "LayoutError",
    "ModelFacts",
    "OutputKind",
    "PixelRule",
    "SignatureSpec",
    "TensorSpec",
    "choose",
]

_REFUSED_METHODS = ("tensorflow/serving/classify", "tensorflow/serving/regress")


@dataclass(frozen=True, slots=True)
class Layout:
    """How one signature is fed and read.

    Attributes:
        alias: the input's alias.
        dtype: `string`, or the pixels' dtype in NumPy's words.
        height, width: fixed input size in pixels, or None where any size goes.
        rows: rows of every call, where the model fixes them (fewer are padded); None: any number.
        outputs: aliases to ask for; nothing else is fetched.
        rule: how pixels become the input's numbers.
        logits: scores are no probabilities yet; None: the first answer tells.
        detection: how detections are read; None for other kinds.
        warnings: what was taken for granted, each naming the setting that says otherwise.
        bare: outputs of one row a call that come without the dimension of rows.
        sure: the metadata shows that it takes images; else only the test image can tell.
    """

    signature: str
    alias: str
    kind: InputKind
    dtype: str
    height: int | None
    width: int | None
    rows: int | None
    output_kind: OutputKind
    outputs: tuple[str, ...]
    rule: PixelRule = field(default_factory=PixelRule)
    logits: bool | None = False
    detection: DetectionRule | None = None
    warnings: tuple[str, ...] = ()
    bare: frozenset[str] = frozenset()
    sure: bool = True

    def alike(self, other: Layout) -> bool:
        """Whether frames made ready for the one, and answers, mean the same under the other."""
        return _essence(self) == _essence(other)

    def fed_text(self) -> str:
        """For a person: how images go in."""
        rows = "" if self.rows is None else f", {self.rows} a call"
        if self.kind is InputKind.ENCODED:
            return f"{self.alias}: encoded images{rows}"
        size = f"{self.height or 'any'} x {self.width or 'any'}"
        return f"{self.alias}: {self.dtype} pixels, {size} (H x W), {self.rule.text()}{rows}"

    def read_text(self) -> str:
        """For a person: what the answer is taken for."""
        boxes = f" (boxes {self.detection.text()})" if self.detection else ""
        return f"{self.output_kind.name.lower()}{boxes} from {', '.join(self.outputs) or 'nothing'}"


def _essence(layout: Layout) -> Layout:
    """Without what has no influence on a call: warnings, and labels' count where it tells no columns."""
    rule = layout.detection
    if rule is not None and rule.scores is not None:
        rule = replace(rule, class_count=None)
    return replace(layout, warnings=(), sure=True, detection=rule)


def choose(
    signatures: Mapping[str, SignatureSpec],
    wanted: str | None,
    facts: ModelFacts,
) -> Layout:
    """The layout of the signature to call: `wanted`, else `serving_default`, else the only one that fits.

    Args:
        signatures: all there are, by name; names with `__` and `riverlens_info` are no candidates.
        wanted: the setting `signature`.
        facts: what settings and the model's own info say.

    Raises:
        LayoutError: the wanted one is absent or cannot be fed; or none or several can. Names the setting.
    """
    usable = {name: spec for name, spec in signatures.items() if not name.startswith("__")}
    usable.pop(INFO_SIGNATURE, None)
    if wanted is not None:
        if wanted not in usable:
            names = ", ".join(sorted(usable)) or "none"
            raise LayoutError(f"signature: the model has no signature {wanted!r}; it has {names}")
        try:
            return _layout(wanted, usable[wanted], facts)
        except UnfitError:
            raise
        except LayoutError as error:
            raise LayoutError(f"signature: {error}") from None
    layouts: dict[str, Layout] = {}
    refused: dict[str, LayoutError] = {}
    for name, spec in sorted(usable.items()):
        try:
            layouts[name] = _layout(name, spec, facts)
        except LayoutError as error:
            refused[name] = error
    if not layouts:
        raise _none_fits(refused)
    # A tensor without a shape is taken for images only where nothing else is.
    sure = {name: layout for name, layout in layouts.items() if layout.sure} or layouts
    if DEFAULT_SIGNATURE in sure:
        return sure[DEFAULT_SIGNATURE]
    if len(sure) == 1:
        return next(iter(sure.values()))
    raise LayoutError(f"signature: several take images ({', '.join(sure)}); name one with --signature")


def _none_fits(refused: Mapping[str, LayoutError]) -> LayoutError:
    unfit = {name: error for name, error in refused.items() if isinstance(error, UnfitError)}
    if unfit:
        # It takes images: what is said of them is what to mend, not the model.
        return unfit.get(DEFAULT_SIGNATURE) or next(iter(unfit.values()))
    why = "; ".join(str(error) for error in refused.values()) or "it has none to call"
    return LayoutError(
        f"model: no signature of this model takes images: {why}; export one that does, as"
        " riverlens serving export --help tells"
    )


def _layout(name: str, spec: SignatureSpec, facts: ModelFacts) -> Layout:
    if spec.method in _REFUSED_METHODS:
        raise LayoutError(f"{name} is a {spec.method.rsplit('/', 1)[1]} signature, which takes no images")
    if len(spec.inputs) != 1:
        raise LayoutError(
            f"{name} takes {len(spec.inputs)} inputs ({spec.inputs_text()}); one is needed, the image: make"
            " the others constants of the graph, or give them defaults"
        )
    alias, tensor = next(iter(spec.inputs.items()))
    fed = read_input(name, alias, tensor, facts, detector=is_named_detector(spec.outputs))
    told = read_outputs(name, spec.outputs, facts, fed.rows)
    return Layout(
        signature=name,
        alias=alias,
        kind=fed.kind,
        dtype=tensor.dtype,
        height=fed.height,
        width=fed.width,
        rows=1 if told.bare else fed.rows,
        output_kind=told.kind,
        outputs=told.aliases,
        rule=fed.rule,
        logits=told.logits,
        detection=told.detection,
        warnings=(*fed.warnings, *told.warnings),
        bare=told.bare,
        sure=fed.sure,
    )
