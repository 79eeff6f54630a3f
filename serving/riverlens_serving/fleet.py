"""All models of the server: which are kept, and what happens when the configuration changes.

Owner of the keepers and of the labels. Changes come from the start, from the config file's watch and from
`HandleReloadConfigRequest`; they go one at a time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from riverlens_serving import labels
from riverlens_serving.config import Model, Patience
from riverlens_serving.keeper import Keeper, Load
from riverlens_serving.registry import Registry, VersionStatus
from riverlens_serving.status import Code, ServingError
from riverlens_serving.versions import State

_log = logging.getLogger(__name__)

_CHECK_S = 0.1
_UNLOAD_S = 2.0
"""Enough to free graphs; what takes longer is a call or a load that will not end."""


class Fleet:
    """`configure` as often as wanted, then `stop`."""

    def __init__(
        self, registry: Registry, load: Load, patience: Patience, *, labels_for_unavailable: bool
    ) -> None:
        self._registry = registry
        self._load = load
        self._patience = patience
        self._labels_for_unavailable = labels_for_unavailable
        self._changing = threading.Lock()
        self._keepers: dict[str, Keeper] = {}
        self._models: dict[str, Model] = {}
        self._leaving: dict[str, threading.Thread] = {}

    def configure(self, models: Sequence[Model], give_up: Callable[[], bool]) -> bool:
        """Serve exactly these models from now on, and wait until each new one has a version that answers.

        Models left out are unloaded meanwhile, a changed policy or base path is looked at at once. Returns
        False where `give_up()` became true first; what was begun goes on.

        Raises:
            ServingError: FAILED_PRECONDITION, a label may not point where it would: nothing is changed.
                UNKNOWN, none of a new model's versions loads.
        """
        with self._changing:
            wanted = {model.name: model for model in models}
            self._registry.labels = labels.assign(
                {name: model.labels for name, model in wanted.items()},
                self._registry.labels,
                self._registry.ready,
                allow_unavailable=self._labels_for_unavailable,
            )
            for name in self._keepers.keys() - wanted.keys():
                self._retire(name)
            new = [self._begin(model) for name, model in wanted.items() if name not in self._keepers]
            for name, model in wanted.items():
                if model != self._models.get(name, model):
                    self._keepers[name].change(model)
            self._models = wanted
            return all(self._wait_for(keeper, give_up) for keeper in new)

    def _begin(self, model: Model) -> Keeper:
        leaving = self._leaving.pop(model.name, None)
        keeper = Keeper(model, self._registry, self._load, self._patience, leaving)
        self._keepers[model.name] = keeper
        keeper.start()
        return keeper

    def _retire(self, name: str) -> None:
        _log.info("no longer serving %s", name)
        thread = threading.Thread(target=self._keepers.pop(name).stop, name=f"retire-{name}", daemon=True)
        self._leaving[name] = thread
        thread.start()

    def _wait_for(self, keeper: Keeper, give_up: Callable[[], bool]) -> bool:
        """Block until a version answers. Waits while there is none to load, as TensorFlow Serving does."""
        while not self._registry.wait_until(lambda: _is_decided(keeper.statuses()), _CHECK_S):
            if give_up():
                return False
        statuses = keeper.statuses()
        if any(status.state is State.AVAILABLE for status in statuses):
            return True
        reasons = "".join(f"{{{keeper.describe(status)}}}, " for status in statuses)
        raise ServingError(
            Code.UNKNOWN, f"{len(statuses)} servable(s) did not become available: {{{reasons}}}"
        )

    def stop(self) -> bool:
        """Unload everything once no call holds it. False where some version would not go."""
        with self._changing:
            for name in list(self._keepers):
                self._retire(name)
            for thread in self._leaving.values():
                thread.join(_UNLOAD_S)
            return not any(thread.is_alive() for thread in self._leaving.values())


def _is_decided(statuses: Sequence[VersionStatus]) -> bool:
    states = {status.state for status in statuses}
    return State.AVAILABLE in states or states == {State.END}
