"""The synthetic streets: the same everywhere, their truth is what is drawn, things move as in a street."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riverlens.scenes import LABELS, SceneObject, Street, truth_of

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 320, 240
EDGE = WIDTH // 20
CAMERAS = ("lobby", "yard", "camera-1", "camera-2", "Straße 7", "")
_PRINT_ONE = """
import hashlib
from riverlens.scenes import Street
scene = Street("lobby", 320, 240).frame(1234)
print(hashlib.sha256(scene.image.tobytes()).hexdigest())
print(scene.objects)
"""


@cache
def street(camera: str) -> Street:
    return Street(camera, WIDTH, HEIGHT)


def test_another_process_draws_the_same_scene() -> None:
    """A camera and a sequence fix every pixel and the truth, whatever seeds that process's hashes."""
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)}
    elsewhere = subprocess.run(
        [sys.executable, "-c", _PRINT_ONE], env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    scene = Street("lobby", WIDTH, HEIGHT).frame(1234)
    assert elsewhere == [hashlib.sha256(scene.image.tobytes()).hexdigest(), str(scene.objects)]


def test_a_frame_does_not_depend_on_the_frames_shown_before() -> None:
    """Frames asked for backwards, or twice, are the frames asked for forwards."""
    forwards = [Street("yard", WIDTH, HEIGHT).frame(0)]
    fresh = Street("yard", WIDTH, HEIGHT)
    backwards = [fresh.frame(number) for number in (7, 3, 0, 0)]
    for scene in backwards[2:]:
        assert np.array_equal(scene.image, forwards[0].image)
        assert scene.objects == forwards[0].objects


def test_other_cameras_and_other_moments_look_different() -> None:
    """No two cameras share a street, and no street stands still."""
    images = [street(camera).frame(number).image.tobytes() for camera in CAMERAS for number in (0, 5)]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (320, 240), (96, 54), (33, 47)])
def test_the_picture_has_the_size_that_was_asked_for(width: int, height: int) -> None:
    """Every size gives uint8 [height, width, 3], and the truth of that size without drawing."""
    scene = Street("lobby", width, height).frame(3)
    assert scene.image.shape == (height, width, 3)
    assert scene.image.dtype == np.uint8
    assert scene.objects == truth_of("lobby", 3, width, height)


@settings(deadline=None, max_examples=150)
@given(camera=st.sampled_from(CAMERAS), sequence=st.integers(0, 10**12))
def test_truth_lies_inside_the_picture(camera: str, sequence: int) -> None:
    """Boxes are within 0 and 1 and not empty, sizes fit their boxes, visible parts are fractions."""
    for thing in truth_of(camera, sequence, WIDTH, HEIGHT):
        assert thing.label in LABELS
        assert 0 <= thing.x1 < thing.x2 <= 1
        assert 0 <= thing.y1 < thing.y2 <= 1
        assert 0 <= thing.visible <= 1
        area_px = (thing.x2 - thing.x1) * WIDTH * (thing.y2 - thing.y1) * HEIGHT
        assert thing.size_px == pytest.approx(area_px**0.5)


def _painted(camera: str, sequence: int) -> list[SceneObject]:
    """The truth read off a picture in which every thing is one flat number, nearest painted last."""
    margin = 600
    shown = street(camera)
    paper = np.zeros((HEIGHT + 2 * margin, WIDTH + 2 * margin), np.int32)
    alone: dict[int, np.ndarray] = {}
    # The outlines are inside the street on purpose; painting them is the other way to know the truth.
    for number, actor in enumerate(shown._actors, 1):
        sprite, left, top = actor.at(sequence)
        rows, columns = np.nonzero(sprite.outline)
        rows, columns = rows + top + margin, columns + left + margin
        near = (rows >= 0) & (rows < paper.shape[0]) & (columns >= 0) & (columns < paper.shape[1])
        paper[rows[near], columns[near]] = number
        only = np.zeros(paper.shape, bool)
        only[rows[near], columns[near]] = True
        alone[number] = only[margin:-margin, margin:-margin]
    seen = paper[margin:-margin, margin:-margin]
    objects = []
    for number, actor in enumerate(shown._actors, 1):
        rows, columns = np.nonzero(alone[number])
        if actor.label is None or not len(rows):
            continue
        x1, x2, y1, y2 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
        visible = (seen == number).sum() / actor.at(sequence)[0].outline.sum()
        size_px = ((x2 - x1) * (y2 - y1)) ** 0.5
        objects.append(
            SceneObject(
                actor.label, x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT, float(visible), float(size_px)
            )
        )
    return objects


@pytest.mark.parametrize("camera", CAMERAS)
def test_truth_equals_the_outlines_painted_one_over_the_other(camera: str) -> None:
    """Boxes and visible parts are exactly those of the things painted from the farthest to the nearest."""
    for sequence in range(0, 400, 13):
        assert list(street(camera).truth(sequence)) == _painted(camera, sequence)


@pytest.mark.parametrize("camera", CAMERAS)
def test_what_changes_from_frame_to_frame_lies_in_the_boxes(camera: str) -> None:
    """Beyond grain and shadows, a picture changes only where its truth, then or now, has an object."""
    for sequence in range(0, 120, 12):
        # The grain repeats every four frames, so that what differs is what moved.
        before, after = street(camera).frame(sequence), street(camera).frame(sequence + 4)
        moved = np.abs(before.image.astype(int) - after.image).max(axis=2) > 40
        # A thing's shadow comes in at the edge before the thing, and under a hand that is all of its box.
        moved[:, :EDGE] = moved[:, -EDGE:] = False
        for thing in (*before.objects, *after.objects):
            # Room for a shadow under it, the shine of its lamps beside it and the lens's blur.
            aside, under = 0.2 * (thing.x2 - thing.x1) * WIDTH + 2, 0.15 * (thing.y2 - thing.y1) * HEIGHT + 2
            left, right = int(max(0, thing.x1 * WIDTH - aside)), int(thing.x2 * WIDTH + aside) + 1
            top, low = int(max(0, thing.y1 * HEIGHT - 3)), int(thing.y2 * HEIGHT + under) + 1
            moved[top:low, left:right] = False
        assert moved.sum() <= 2


def _inside(thing: SceneObject) -> bool:
    return thing.x1 > 0 and thing.x2 < 1 and thing.y1 > 0 and thing.y2 < 1


def _overlap(one: SceneObject, other: SceneObject) -> float:
    wide = min(one.x2, other.x2) - max(one.x1, other.x1)
    high = min(one.y2, other.y2) - max(one.y1, other.y1)
    both = max(0.0, wide) * max(0.0, high)
    areas = sum((box.x2 - box.x1) * (box.y2 - box.y1) for box in (one, other))
    return both / (areas - both)


@pytest.mark.parametrize("camera", CAMERAS)
def test_things_move_in_small_steps(camera: str) -> None:
    """What is wholly in a picture is in the next one too, not far away: nothing jumps or vanishes."""
    for sequence in range(300):
        now = [thing for thing in truth_of(camera, sequence, WIDTH, HEIGHT) if _inside(thing)]
        then = truth_of(camera, sequence + 1, WIDTH, HEIGHT)
        for thing in now:
            found = max(_overlap(thing, other) for other in then if other.label == thing.label)
            assert found > 0.3, (sequence, thing)


def test_traffic_never_ends() -> None:
    """After a day the street is as full as in its first minute, and things still come and go."""
    day = 24 * 3600 * 10
    early, late = (
        [
            len(truth_of(camera, start + step, WIDTH, HEIGHT))
            for camera in CAMERAS
            for step in range(0, 600, 20)
        ]
        for start in (0, day)
    )
    assert len(set(late)) > 1
    assert np.mean(late) == pytest.approx(np.mean(early), rel=0.2)


def test_the_streets_together_show_every_class() -> None:
    """Each class is there to be found, most of it well visible and of a size that can be asked for."""
    things = [
        thing
        for camera in CAMERAS
        for step in range(0, 300, 30)
        for thing in truth_of(camera, step, WIDTH * 2, HEIGHT * 2)
    ]
    assert {thing.label for thing in things} == set(LABELS)
    askable = [thing for thing in things if thing.visible >= 0.3 and thing.size_px >= 16]
    assert len(askable) > 0.75 * len(things)
