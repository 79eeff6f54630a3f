"""Writes the two files. Shell."""

from __future__ import annotations

import shlex
from pathlib import Path

from riverlens.errors import SettingsError
from riverlens_worker.tune.choice import Tuned
from riverlens_worker.tune.files import (
    BatchingAdvice,
    allowed_sizes,
    batching_text,
    secrets,
    settings_text,
    traps,
)
from riverlens_worker.tune.settings import TuneSettings
from riverlens_worker.tune.show import Show


def make_folder(out: str) -> Path:
    """Make the folder, before minutes are spent on what could then not be written.

    Raises:
        SettingsError: it cannot be made.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"out ({out}): {error.strerror or error}") from None
    return folder


def write(settings: TuneSettings, tuned: Tuned, folder: Path, show: Show) -> None:
    """Write worker.toml and batching.config, and say how to use them.

    Raises:
        SettingsError: the folder cannot be written to.
    """
    chosen, best = tuned.chosen, tuned.best
    allowed = allowed_sizes(chosen.rows, slow_first=tuned.slow_first, padded=tuned.padding)
    advice = BatchingAdvice(chosen.rows, tuned.server.devices, chosen.calls, settings.workers, allowed)
    heading = [
        f"Written by `riverlens worker tune` for {settings.model} on {settings.server}:",
        f"{best.per_s:.0f} frames/s, p99 {best.p99_ms:.0f} ms of {settings.latency_target_ms:g} ms allowed.",
    ]
    batching = batching_text(advice, heading)
    files = {
        folder / "worker.toml": settings_text(settings, chosen, heading),
        folder / "batching.config": batching,
    }
    _save(files)
    for trap in traps(batching, advice):
        show.line(f"batching.config: {trap}")
    show.line(
        f"most within {settings.latency_target_ms:g} ms: {best.per_s:.0f} frames/s, {chosen.text()}"
        f" ({tuned.tried} settings tried in {tuned.took_s:.0f} s)"
    )
    worker_file, batching_file = files
    for name in secrets(settings):
        show.line(f"{worker_file.name} holds no password: set {name} for the worker")
    show.line(f"wrote {worker_file}; start the worker with it:")
    show.line(f"  riverlens worker run --config {shlex.quote(str(worker_file))}")
    show.line(f"wrote {batching_file}; for the model server's next start:")
    show.line(f"  --enable_batching --batching_parameters_file={shlex.quote(str(batching_file))}")


def _save(files: dict[Path, str]) -> None:
    for path, text in files.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"out: {path} cannot be written: {error.strerror or error}") from None
