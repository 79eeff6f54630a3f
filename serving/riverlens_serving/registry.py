"""What is loaded and what has been: the one place that requests, status calls and keepers meet.

Writers: each model's keeper. Readers: request threads. A version leaves only when no request holds it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from riverlens_serving.labels import Labels
from riverlens_serving.servable import Servable
from riverlens_serving.status import Code, ServingError, invalid
from riverlens_serving.versions import State


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version as GetModelStatus tells it. `error` is None for OK."""

    version: int
    state: State
    error: ServingError | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A servable that stays loaded for as long as the caller is inside `Registry.hold`."""

    version: int
    servable: Servable


class Registry:
    """Thread-safe. Names are models' names, versions are positive numbers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ready: dict[str, dict[int, Servable]] = {}
        self._holders: dict[tuple[str, int], int] = {}
        self._statuses: dict[str, dict[int, VersionStatus]] = {}
        self._labels: Labels = {}

    @contextmanager
    def hold(self, name: str, version: int | None) -> Iterator[Held]:
        """The asked version, or the highest ready one for None, kept from unloading meanwhile.

        Raises:
            ServingError: NOT_FOUND, for an unknown model as for one whose versions are not ready.
        """
        with self._changed:
            held = self._find(name, version)
            key = (name, held.version)
            self._holders[key] = self._holders.get(key, 0) + 1
        try:
            yield held
        finally:
            with self._changed:
                self._holders[key] -= 1
                if not self._holders[key]:
                    del self._holders[key]
                    self._changed.notify_all()

    def _find(self, name: str, version: int | None) -> Held:
        ready = self._ready.get(name)
        if version is None:
            if ready:
                highest = max(ready)
                return Held(highest, ready[highest])
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({name})")
        if ready and version in ready:
            return Held(version, ready[version])
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")

    def labelled(self, name: str, label: str) -> int:
        """The version that a label stands for, whether or not it answers.

        Raises:
            ServingError: INVALID_ARGUMENT, no such label, or no such model.
        """
        version = self._labels.get(name, {}).get(label)
        if version is None:
            raise invalid(f"Unrecognized servable version label: {label}")
        return version

    @property
    def labels(self) -> Labels:
        """All labels. Replaced as a whole, never changed. Writer: the fleet."""
        return self._labels

    @labels.setter
    def labels(self, labels: Labels) -> None:
        self._labels = labels

    def ready(self, name: str) -> frozenset[int]:
        """The versions of a model that answer."""
        with self._changed:
            return frozenset(self._ready.get(name, {}))

    def statuses(self, name: str) -> list[VersionStatus]:
        """Every version ever seen of a model, highest first; none for an unknown model."""
        with self._changed:
            return sorted(self._statuses.get(name, {}).values(), key=lambda s: s.version, reverse=True)

    def publish(self, name: str, status: VersionStatus) -> None:
        """Record a version's state. Caller: the model's keeper."""
        with self._changed:
            self._statuses.setdefault(name, {})[status.version] = status
            self._changed.notify_all()

    def add(self, name: str, version: int, servable: Servable) -> None:
        """Let requests reach a loaded version, then say AVAILABLE. Caller: the model's keeper."""
        with self._changed:
            self._ready.setdefault(name, {})[version] = servable
            self.publish(name, VersionStatus(version, State.AVAILABLE))

    def remove(self, name: str, version: int) -> Servable:
        """Say UNLOADING, let no new request reach the version, and wait until no request holds it.

        Caller: the model's keeper, which then closes the servable.
        """
        with self._changed:
            self.publish(name, VersionStatus(version, State.UNLOADING))
            servable = self._ready[name].pop(version)
            self._changed.wait_for(lambda: (name, version) not in self._holders)
        return servable

    def wait_until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Block until `condition()` holds, looking after every change; False where time ran out first."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)
