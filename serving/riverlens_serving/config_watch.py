"""`--model_config_file_poll_wait_seconds`: the config file read again and again, and applied."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from riverlens.errors import SettingsError
from riverlens_serving import model_config
from riverlens_serving.config import Model
from riverlens_serving.status import ServingError

_log = logging.getLogger(__name__)


class ConfigWatch:
    """Applies the file every `poll_s` seconds. `start`, then `stop`.

    Applied even where it did not change, as TensorFlow Serving does: a label that was refused because its
    version was still loading is given the next time. What is wrong with the file changes nothing but the log.
    """

    def __init__(self, path: Path, poll_s: float, apply: Callable[[tuple[Model, ...]], None]) -> None:
        self._path = path
        self._poll_s = poll_s
        self._apply = apply
        self._stopping = threading.Event()
        self._complaint = ""
        self._thread = threading.Thread(target=self._run, name="config-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; waits for a change that is under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._poll_s):
            complaint = ""
            try:
                self._apply(model_config.read(self._path))
            except (SettingsError, ServingError) as error:
                complaint = str(error)
            if complaint and complaint != self._complaint:
                _log.error(
                    "%s: not applied: %s; looking again every %g s", self._path, complaint, self._poll_s
                )
            self._complaint = complaint
