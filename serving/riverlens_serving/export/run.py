"""`riverlens serving export SOURCE MODEL`: a trained model becomes MODEL/<version>, whole or not at all."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from riverlens_serving.export.flags import parse
from riverlens_serving.export.folder import beside, free_version, publish, remove_own, size_bytes
from riverlens_serving.export.plan import ExportPlan
from riverlens_serving.export.sources import recognise
from riverlens_serving.inspect import describe
from riverlens_serving.run import import_tensorflow


class Exported(NamedTuple):
    """A finished version.

    Attributes:
        notes: a line each of what was checked and written.
    """

    folder: Path
    notes: tuple[str, ...]


def main(argv: list[str], prog: str) -> int:
    """Export; print the version's folder, its signatures and what was checked."""
    plan = parse(argv, prog)
    with _ended_cleanly(plan.model):
        exported = export(plan)
    for line in (str(exported.folder), *describe(exported.folder), *exported.notes):
        sys.stdout.write(f"{line}\n")
    return 0


@contextmanager
def _ended_cleanly(model: Path) -> Iterator[None]:
    """SIGTERM and SIGINT remove the scratch folder and end the process there and then, with 128 + the number.

    Nothing is raised: where TensorFlow calls back into Python it takes an exception for an error of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> NoReturn:
        remove_own(model)
        os._exit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def export(plan: ExportPlan) -> Exported:
    """Write the version beside the others, run each signature as a model server would, rename.

    Raises:
        RiverlensError: the source, a flag or the model is not right; no version appears.
    """
    source = recognise(plan.source, plan.checkpoint)
    version = free_version(plan.model, plan.version)
    import_tensorflow()
    from riverlens_serving.export.build import build  # noqa: PLC0415  # imports TensorFlow

    target = plan.model / str(version)
    with beside(plan.model) as scratch:
        written, notes = build(source, plan, scratch)
        size = size_bytes(written)
        publish(written, target)
    return Exported(target, (*notes, f"written: version {version}, {size / 1e6:.1f} MB"))
