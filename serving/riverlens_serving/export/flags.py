"""The flags of `riverlens serving export`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from riverlens import labels
from riverlens.errors import SettingsError
from riverlens.signature.facts import BOXES, COLOURS, KINDS, RESIZES, SCORES, parse_channels, parse_range
from riverlens_serving.batching_parameters import read as read_batching
from riverlens_serving.export.plan import PREFERRED_ROWS, ExportPlan, Front, Pixels, Tensors, Told, Warmup
from riverlens_serving.versions import parse_version

_MAY_BE_NEGATIVE = frozenset({"--range", "--mean", "--std"})
_EPILOG = """\
examples:
  riverlens serving export frozen_inference_graph.pb models/coco --labels coco
  riverlens serving export model.keras models/cats --input encoded --range -1..1 --labels names.txt
  riverlens serving export inference.meta models/net --checkpoint model.ckpt-1000 --outputs scores=Softmax:0
  riverlens serving export saved/ models/net --warmup street.jpg shop.jpg
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; see {self.prog} --help")


def parse(argv: Sequence[str], prog: str) -> ExportPlan:
    """What the command line asks for. Reads the label map and the batching parameters.

    Raises:
        SettingsError: a flag is wrong.
    """
    given = _parser(prog).parse_args(_joined(argv))
    if given.input and given.resize == "letterbox":
        raise SettingsError(
            "--resize: with --input the graph stretches pictures; for letterbox leave --input out, and"
            " callers do it as riverlens_info tells them"
        )
    return ExportPlan(
        source=given.source,
        model=given.model,
        version=given.version,
        checkpoint=given.checkpoint,
        tensors=Tensors(tuple(given.inputs), tuple(given.outputs)),
        signature=given.signature,
        front=Front(given.input) if given.input else None,
        pixels=Pixels(given.size, given.colour, given.range, given.mean, given.std),
        told=Told(
            labels.read(given.labels) if given.labels else {},
            given.kind,
            given.boxes,
            given.resize,
            given.scores,
        ),
        warmup=Warmup(tuple(given.warmup), _rows(given)),
    )


def _joined(argv: Sequence[str]) -> list[str]:
    """`--range -1..1` as one word: argparse takes a second one with a minus for a flag."""
    words: list[str] = []
    for word in argv:
        if words and words[-1] in _MAY_BE_NEGATIVE:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog,
        description="A trained model's files become MODEL/<version>, checked as a model server runs it.",
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", type=Path, help="frozen graph .pb, checkpoint or its .meta, SavedModel, .keras, .h5")
    add("model", type=Path, help="the folder of the model's numbered versions; its name is the model's")
    add("--version", type=_version, help="default: one above the highest there")
    add("--checkpoint", metavar="PREFIX", help="of a .meta file whose weights have another name")
    add("--inputs", type=_tensor, nargs="+", default=[], metavar="ALIAS=TENSOR", help="of a bare graph")
    add("--outputs", type=_tensor, nargs="+", default=[], metavar="ALIAS=TENSOR", help="of a bare graph")
    add("--signature", help="which one --input and --warmup are for; default: serving_default")
    add("--input", choices=[str(front) for front in Front], help="what the served model shall take")
    add("--size", type=_size, metavar="HxW", help="what the model takes; default: its input's shape")
    add("--range", type=_range, metavar="LOW..HIGH", help="of pixels as the model takes them: 0..1, -1..1")
    add("--mean", type=_channels, default=(), metavar="A,B,C", help="subtracted after --range, by channel")
    add("--std", type=_divisors, default=(), metavar="A,B,C", help="divided by after --mean, by channel")
    add("--colour", choices=COLOURS, help="as the model takes it; default: rgb")
    add("--labels", metavar="FILE", help="class names: text, JSON, pbtxt, or coco, coco80")
    add("--kind", choices=KINDS, help="what the outputs are; default: told by their names and shapes")
    add("--boxes", choices=BOXES, help="a detector's; default: normalised_yxyx")
    add("--scores", choices=SCORES, help="a classifier's; default: not told")
    add("--resize", choices=RESIZES, help="for clients of a model without --input")
    add("--warmup", type=Path, nargs="+", default=[], metavar="IMAGE", help="write warm-up requests")
    add("--batch-sizes", type=_sizes, metavar="N,N", help=f"of warm-up requests; default: {_default_rows()}")
    add("--batching-parameters-file", type=Path, metavar="FILE", help="take its allowed_batch_sizes")
    return parser


def _default_rows() -> str:
    return ",".join(str(rows) for rows in PREFERRED_ROWS)


def _rows(given: argparse.Namespace) -> tuple[int, ...]:
    if given.batch_sizes:
        return tuple(given.batch_sizes)
    if given.batching_parameters_file is None:
        return PREFERRED_ROWS
    parameters = read_batching(given.batching_parameters_file)
    fitting = tuple(rows for rows in PREFERRED_ROWS if rows <= parameters.max_batch_size)
    return parameters.allowed_batch_sizes or fitting


def _version(text: str) -> int:
    version = parse_version(text)
    if version is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version number")
    return version


def _tensor(text: str) -> tuple[str, str]:
    """`alias=name:0`, `name:0` or `name`, whose alias is the operation's name."""
    alias, equals, name = text.partition("=")
    tensor = name if equals else alias
    tensor = tensor if ":" in tensor else f"{tensor}:0"
    return (alias if equals else tensor.rpartition(":")[0].rpartition("/")[2]), tensor


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a height and width such as 300x400")
    return int(match[1]), int(match[2])


def _range(text: str) -> tuple[float, float]:
    try:
        return parse_range(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _channels(text: str) -> tuple[float, ...]:
    try:
        return parse_channels(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _divisors(text: str) -> tuple[float, ...]:
    try:
        return parse_channels(text, divisors=True)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = sorted({int(word) for word in text.split(",")})
    except ValueError:
        sizes = [0]
    if sizes[0] < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of batch sizes such as 1,4,16")
    return tuple(sizes)
