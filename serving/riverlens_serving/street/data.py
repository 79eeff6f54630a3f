"""Scenes to learn from and to be judged by: moments of many different streets, as JPEGs of quality 80."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from riverlens.scenes import SceneObject, Street
from riverlens.scenes.dice import Dice

WIDTH, HEIGHT = 640, 480
QUALITY = 80
_LONGEST = 3_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: its JPEG and what is in it."""

    jpeg: bytes
    objects: tuple[SceneObject, ...]

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [480, 640, 3]."""
        decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(self.jpeg, "RGB")
        return decoded


def street_samples(name: str, moments: int) -> list[Sample]:
    """Moments of one street, at times of its own choosing."""
    street = Street(name, WIDTH, HEIGHT)
    dice = Dice(name, "moments")
    samples = []
    for _ in range(moments):
        scene = street.frame(dice.whole(0, _LONGEST))
        jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(scene.image), QUALITY, "RGB", "420")
        samples.append(Sample(jpeg, scene.objects))
    return samples


def held_out(count: int) -> list[Sample]:
    """`count` scenes of streets that training never sees, four of each street."""
    return draw([f"held-out-{number}" for number in range(-(-count // 4))], 4, processes=1)[:count]


def draw(names: Sequence[str], moments: int, *, processes: int) -> list[Sample]:
    """Moments of each street, in the order of the names; on several processes, the same."""
    jobs = [(name, moments) for name in names]
    if processes == 1:
        drawn = [street_samples(*job) for job in jobs]
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            drawn = pool.starmap(street_samples, jobs, chunksize=8)
    return [sample for samples in drawn for sample in samples]
