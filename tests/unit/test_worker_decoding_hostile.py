"""Hostile and unusual files: a row or a reason, in bounded memory, whatever the bytes."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from riverlens.dead_letter import Reason
from riverlens.signature import InputKind, PixelRule
from riverlens_worker.decoding import UndecodableError, to_row
from riverlens_worker.target import Row, Target
from tests import image_bombs
from tests.mutations import mutated, seeds
from tests.worker_parts import ENCODED, FREE, TARGETS, encode, examples, scene, target

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's remarks on odd files

ROOT = Path(__file__).resolve().parents[2]
UNREAD = {"ICO", "PSD", "JPEG2000", "AVIF", "EPS"}
"""Formats that Pillow reads and riverlens does not."""


def _try(image: bytes, wanted: Target, content_type: str | None = None) -> Row | Reason:
    """A row that keeps every promise of its target, or the reason; any other exception is a failure."""
    try:
        row = to_row(image, content_type, wanted)
    except UndecodableError as error:
        return error.reason
    assert min(row.size) > 0
    if isinstance(row.row, bytes):
        assert wanted.kind is InputKind.ENCODED
        assert (len(row.row), row.shape) == (row.nbytes, ())
    else:
        assert row.row.dtype == wanted.dtype
        pixels = row.row.transpose(1, 2, 0) if wanted.rule.planar else row.row
        assert pixels.shape == (*row.shape, 3) if isinstance(row.shape, tuple) else False
        assert row.row.nbytes == row.nbytes
        if wanted.height and wanted.width:
            assert row.shape == (wanted.height, wanted.width)
    return row


def _odd_images(testdata: Path) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = json.loads((testdata / "odd-images" / "expected.json").read_text())["files"]
    assert len(files) == 92
    return files


@pytest.mark.realdata
@pytest.mark.parametrize("name", TARGETS)
def test_every_odd_image_is_a_row_or_a_reason(testdata: Path, name: str) -> None:
    """Good where Pillow reads it within the limits and the format is ours, else a dead letter's reason."""
    wrong = {}
    for entry in _odd_images(testdata):
        found = _try((testdata / "odd-images" / entry["file"]).read_bytes(), TARGETS[name])
        kind, *rest = entry["pillow"].split()
        good = entry["result"] == "ok" and kind not in UNREAD and rest[0] != "LAB"
        if isinstance(found, Row) != good and not (
            name == "encoded" and isinstance(found, Row) and not found.reencoded
        ):
            # Encoded, a file that looks whole goes to the model server, which has the last word.
            wrong[entry["file"]] = found
    assert not wrong


@pytest.mark.realdata
def test_odd_images_look_as_pillow_shows_them(testdata: Path) -> None:
    """Upright, in RGB, of the size a person sees: the mean difference to Pillow is at most two steps."""
    for entry in _odd_images(testdata):
        image = (testdata / "odd-images" / entry["file"]).read_bytes()
        found = _try(image, FREE)
        if not isinstance(found, Row) or entry["pillow"].split()[1] in {"I;16", "I"}:
            continue
        with Image.open(BytesIO(image)) as opened:
            orientation = opened.getexif().get(0x0112, 1) if opened.format != "TIFF" else 1
            opened.load()
            expected = np.asarray(opened.convert("RGB"))
        turns = {3: 2, 6: 3, 8: 1}
        if orientation in turns:
            expected = np.rot90(expected, turns[orientation])
        elif orientation == 5:
            expected = expected.swapaxes(0, 1)
        assert found.size == (expected.shape[1], expected.shape[0]), entry["file"]
        assert isinstance(found.row, np.ndarray)
        assert np.abs(found.row.astype(int) - expected).mean() <= 2, entry["file"]


MEMORY = """
import resource, sys, time
from riverlens_worker.decoding import UndecodableError, to_row
from tests import image_bombs
from tests.mutations import mutated, seeds
from tests.worker_parts import TARGETS, encode, scene

def cpu_s():
    return time.process_time()

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

files = getattr(image_bombs, sys.argv[1])()
for image_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
    to_row(encode(scene(), image_format), None, TARGETS["free"])
before = peak_mb()
for name, image in files.items():
    for target in TARGETS.values():
        started_s = cpu_s()
        try:
            print(name, to_row(image, None, target).size)
        except UndecodableError as error:
            print(name, error.reason.value)
        assert cpu_s() - started_s < 5, f"{name} took {cpu_s() - started_s:.1f} s"
    assert peak_mb() - before < 40, f"{name} took {peak_mb() - before:.0f} MB"
"""


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("too_large", r".* too_large"),
        # The text of a PNG that goes to the model server as it is stays unread.
        ("undecodable", r".* undecodable|png (text|profile) \(8, 8\)"),
        ("small_after_all", r".* \(8, 8\)"),
    ],
)
def test_bombs_cost_neither_memory_nor_the_worker(kind: str, outcome: str) -> None:
    """Files that claim or unpack to gigabytes are refused in less than 40 MB, for every target."""
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, kind],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    lines = run.stdout.splitlines()
    assert len(lines) == len(TARGETS) * len(getattr(image_bombs, kind)())
    assert [line for line in lines if not re.fullmatch(outcome, line)] == []


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["sharp__65536-uint32-limit.png", "sharp__giant-image.jpg", "pillow__decompression_bomb.gif"]
)
def test_real_bombs_are_too_large(testdata: Path, name: str) -> None:
    """What others use to break decoders is one dead letter `too_large`."""
    image = (testdata / "odd-images" / name).read_bytes()
    assert {_try(image, wanted) for wanted in TARGETS.values()} == {Reason.TOO_LARGE}


FUZZED = [replace(wanted, max_pixels=1_000_000) for wanted in TARGETS.values()]
_LETTERBOX = PixelRule(letterbox=True, high=1.0, mean=(0.5, 0.4, 0.3), planar=True)
FUZZED += [target(dtype="float32", size=(32, 48), max_pixels=1_000_000, rule=_LETTERBOX)]
FUZZED += [target(size=(None, 32), max_pixels=1_000_000), target(input_size=16, max_pixels=1_000_000)]


@examples(100)
@given(st.randoms(use_true_random=False))
def test_mutated_images_are_rows_or_reasons(chance: random.Random) -> None:
    """Whatever is changed, cut or repeated in a real image: a whole row or a reason, no other exception."""
    own = random.Random(chance.getrandbits(64))  # noqa: S311  # a game with seeds; fifty times hypothesis' pace
    for _ in range(50):
        image, wanted = mutated(own.choice(seeds()), own), own.choice(FUZZED)
        try:
            _try(image, wanted)
        except Exception as error:
            error.add_note(f"{wanted} of bytes.fromhex({image.hex()!r})")
            raise


@examples(300)
@given(st.binary(max_size=200), st.text(max_size=60) | st.none())
def test_any_bytes_and_any_content_type_are_rows_or_reasons(image: bytes, content_type: str | None) -> None:
    """Arbitrary bytes under an arbitrary content type never raise anything else."""
    for wanted in TARGETS.values():
        _try(image, wanted, content_type)


def test_running_out_of_memory_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that the machine cannot hold is too large; the worker goes on."""

    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("riverlens_worker.decoding.read_header", no_memory)
    for wanted in (FREE, ENCODED):
        assert _try(encode(scene(), "JPEG"), wanted) is Reason.TOO_LARGE
