"""One model's versions: looks at its base path, loads what should be there, unloads what should not.

One thread per model owns all of the model's state; loads and unloads run on threads of their own and report
back to it. TensorFlow Serving loads inline in one manager thread, so that a version that fails slowly holds
up every other model; here it holds up nobody. Otherwise as TensorFlow Serving: load the new, then unload the
old.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from riverlens_serving.config import Model, Patience
from riverlens_serving.registry import Registry, VersionStatus
from riverlens_serving.servable import Servable
from riverlens_serving.status import Code, ServingError
from riverlens_serving.versions import Phase, State, aspired, parse_version, plan

_log = logging.getLogger(__name__)

Load = Callable[[Path], Servable]
"""Load one version's folder, or raise ServingError."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    version: int
    result: Servable | ServingError


@dataclass(frozen=True, slots=True)
class _Unloaded:
    version: int


_Report = _Loaded | _Unloaded | Model | None
"""A Model is what to keep from now on; None asks the thread to stop."""


class Keeper:
    """Keeps one model's versions as its policy and its base path say. `start`, then `stop`."""

    def __init__(
        self,
        model: Model,
        registry: Registry,
        load: Load,
        patience: Patience,
        predecessor: threading.Thread | None = None,
    ) -> None:
        """`predecessor` ends an earlier keeper of that name; nothing is looked at before it is done."""
        self._predecessor = predecessor
        self._model = model
        self._registry = registry
        self._load = load
        self._patience = patience
        self._phases: dict[int, Phase] = {}
        self._given_up: dict[int, threading.Event] = {}
        self._folders: dict[int, Path] = {}
        self._wanted: frozenset[int] = frozenset()
        self._reports: queue.SimpleQueue[_Report] = queue.SimpleQueue()
        self._complaint = ""
        self._begun: frozenset[int] = frozenset()
        self._thread = threading.Thread(target=self._run, name=f"keeper-{model.name}", daemon=True)

    def start(self) -> None:
        """Begin to look at the base path."""
        self._thread.start()

    def change(self, model: Model) -> None:
        """Keep another policy or base path from now on. Versions that are loaded stay as they are."""
        self._reports.put(model)

    def statuses(self) -> list[VersionStatus]:
        """The versions that this keeper has begun, highest first: not what an earlier one left listed."""
        begun = self._begun
        return [status for status in self._registry.statuses(self._model.name) if status.version in begun]

    def describe(self, status: VersionStatus) -> str:
        """A version and why it failed, as TensorFlow Serving's start tells it."""
        return f"{{name: {self._model.name} version: {status.version}}} due to error: {status.error}"

    def stop(self) -> None:
        """Stop looking; wait for calls in flight, then unload everything. No new version is loaded."""
        self._reports.put(None)
        self._thread.join()

    def _run(self) -> None:
        if self._predecessor is not None:
            # A keeper owns its model's names in the registry until it has left, calls in flight and all.
            self._predecessor.join()
        next_look = time.monotonic() if self._patience.poll_s >= 0 else None
        while True:
            if next_look is not None and time.monotonic() >= next_look:
                self._look()
                self._act()
                next_look = time.monotonic() + self._patience.poll_s if self._patience.poll_s > 0 else None
            wait_s = None if next_look is None else max(next_look - time.monotonic(), 0)
            try:
                report = self._reports.get(timeout=wait_s)
            except queue.Empty:
                continue
            if report is None:
                break
            if isinstance(report, Model):
                self._model = report
                self._look()
            else:
                self._take(report)
            self._act()
        self._empty()

    def _look(self) -> None:
        """Read the base path. One that is missing changes nothing: what is loaded stays."""
        model = self._model
        try:
            children = sorted(model.base_path.iterdir())
        except OSError as error:
            self._complain(
                f"Could not find base path {model.base_path} for servable {model.name} with error {error}"
            )
            return
        found = {version: child for child in children if (version := parse_version(child.name)) is not None}
        self._wanted = aspired(model.policy, found)
        self._folders |= found
        if self._wanted:
            self._complaint = ""
        else:
            self._complain(f"No versions of servable {model.name} found under base path {model.base_path}")

    def _complain(self, text: str) -> None:
        """Say why nothing is served, once for as long as the reason stays the same."""
        if text != self._complaint:
            self._complaint = text
            _log.warning("%s; looking again every %g s", text, self._patience.poll_s)

    def _act(self) -> None:
        steps = plan(self._wanted, self._phases)
        for version in steps.forget:
            del self._phases[version]
        for version in steps.give_up:
            self._given_up[version].set()
        for version in steps.load:
            self._start_load(version)
        for version in steps.unload:
            self._start_unload(version)

    def _start_load(self, version: int) -> None:
        self._phases[version] = Phase.LOADING
        self._given_up[version] = threading.Event()
        self._registry.publish(self._model.name, VersionStatus(version, State.START))
        self._begun |= {version}
        self._spawn(self._load_with_retries, version)

    def _start_unload(self, version: int) -> None:
        self._phases[version] = Phase.UNLOADING
        self._spawn(self._unload, version)

    def _spawn(self, work: Callable[[int], None], version: int) -> None:
        name = f"{self._model.name}-{version}"
        threading.Thread(target=work, args=(version,), name=name, daemon=True).start()

    def _load_with_retries(self, version: int) -> None:
        name, folder, given_up = self._model.name, self._folders[version], self._given_up[version]
        self._registry.publish(name, VersionStatus(version, State.LOADING))
        tries = self._patience.max_retries + 1
        started = time.monotonic()
        for attempt in range(1, tries + 1):
            try:
                servable = self._load_one(folder)
            except ServingError as error:
                failure = error
                _log.warning(
                    "loading %s version %d failed, try %d of %d: %s", name, version, attempt, tries, error
                )
            else:
                _log.info("loaded %s version %d in %.2f s", name, version, time.monotonic() - started)
                self._reports.put(_Loaded(version, servable))
                return
            if attempt == tries or given_up.wait(self._patience.retry_interval_s):
                break
        self._reports.put(_Loaded(version, failure))

    def _load_one(self, folder: Path) -> Servable:
        try:
            return self._load(folder)
        except ServingError:
            raise
        except Exception as error:
            # Whatever it is, the version must not stay LOADING for ever.
            raise ServingError(Code.UNKNOWN, f"{type(error).__name__}: {error}") from error

    def _unload(self, version: int) -> None:
        self._registry.remove(self._model.name, version).session.close()
        self._reports.put(_Unloaded(version))

    def _take(self, report: _Loaded | _Unloaded) -> None:
        """Bring phases and registry up to date with what a thread has finished."""
        name, version = self._model.name, report.version
        if isinstance(report, _Unloaded):
            del self._phases[version]
            self._registry.publish(name, VersionStatus(version, State.END))
            _log.info("unloaded %s version %d", name, version)
        elif isinstance(report.result, ServingError):
            self._phases[version] = Phase.FAILED
            self._registry.publish(name, VersionStatus(version, State.END, report.result))
        else:
            self._phases[version] = Phase.READY
            self._registry.add(name, version, report.result)

    def _empty(self) -> None:
        """The end: give up on loads, unload what is ready, and wait for both."""
        self._wanted = frozenset()
        self._act()
        while any(phase is not Phase.FAILED for phase in self._phases.values()):
            report = self._reports.get()
            if isinstance(report, _Loaded | _Unloaded):
                self._take(report)
                self._act()
