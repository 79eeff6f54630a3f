"""The keeper on real folders and a registry, with loads that the test decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from riverlens_serving.config import Model, Patience
from riverlens_serving.keeper import Keeper
from riverlens_serving.registry import Registry
from riverlens_serving.servable import Servable
from riverlens_serving.status import Code, ServingError
from riverlens_serving.versions import All, State
from tests.model_servers import wait_for

NAME = "m"
QUICK = Patience(poll_s=0.005, max_retries=0, retry_interval_s=0)


@dataclass
class Loads:
    """Loads any folder at once, unless its version is among `broken`, `odd` or `held`; counts."""

    broken: set[str] = field(default_factory=set)
    odd: set[str] = field(default_factory=set)
    held: dict[str, threading.Event] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def __call__(self, folder: Path) -> Servable:
        """The version's servable, or its failure."""
        version = folder.name
        self.tried.append(version)
        if version in self.held:
            assert self.held[version].wait(10)
        if version in self.odd:
            raise PermissionError(f"{version} is not ours")
        if version in self.broken:
            raise ServingError(Code.NOT_FOUND, f"{version} is broken")
        return Servable({}, _Closing(lambda: self.closed.append(version)))


@dataclass
class _Closing:
    """A session that only tells when it is closed."""

    on_close: Callable[[], None]

    def run(self, *_: Any) -> list[Any]:
        raise AssertionError("this session is only closed")

    def data_type(self, _tensor_name: str) -> int:
        raise AssertionError("this session is only closed")

    def close(self) -> None:
        self.on_close()


@pytest.fixture
def loads() -> Loads:
    """The loads of one test."""
    return Loads()


@pytest.fixture
def registry() -> Registry:
    """What the keeper publishes to."""
    return Registry()


@pytest.fixture
def keep(tmp_path: Path, registry: Registry, loads: Loads) -> Iterator[Callable[..., Keeper]]:
    """Starts a keeper of `tmp_path`; stopped at the end."""
    keepers = []

    def start(patience: Patience = QUICK, **fields: Any) -> Keeper:
        keeper = Keeper(Model(NAME, tmp_path, **fields), registry, loads, patience)
        keeper.start()
        keepers.append(keeper)
        return keeper

    yield start
    for keeper in keepers:
        keeper.stop()


def _states(registry: Registry) -> list[tuple[int, State]]:
    return [(status.version, status.state) for status in registry.statuses(NAME)]


def _available(registry: Registry, version: int) -> Callable[[], bool]:
    return lambda: (version, State.AVAILABLE) in _states(registry)


def _serving(registry: Registry) -> int:
    with registry.hold(NAME, None) as held:
        return held.version


def test_a_new_version_replaces_the_old(
    tmp_path: Path, registry: Registry, loads: Loads, keep: Callable[..., Keeper]
) -> None:
    """The highest version is loaded, then the one before is unloaded; both stay listed, highest first."""
    (tmp_path / "1").mkdir()
    keep()
    wait_for(_available(registry, 1))
    (tmp_path / "00002").mkdir()
    wait_for(lambda: _states(registry) == [(2, State.AVAILABLE), (1, State.END)])
    assert _serving(registry) == 2
    assert loads.closed == ["1"]


def test_a_call_in_flight_keeps_its_version_loaded(
    tmp_path: Path, registry: Registry, loads: Loads, keep: Callable[..., Keeper]
) -> None:
    """A version that a request holds is UNLOADING, takes no new one, and is closed when that one ends."""
    (tmp_path / "1").mkdir()
    keep()
    wait_for(_available(registry, 1))
    with registry.hold(NAME, 1) as held:
        (tmp_path / "2").mkdir()
        wait_for(lambda: _states(registry) == [(2, State.AVAILABLE), (1, State.UNLOADING)])
        assert held.version == 1
        assert _serving(registry) == 2
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"), registry.hold(NAME, 1):
            pass
        assert loads.closed == []
    wait_for(lambda: _states(registry) == [(2, State.AVAILABLE), (1, State.END)])
    assert loads.closed == ["1"]


def test_a_broken_version_leaves_the_old_one_serving(
    tmp_path: Path, registry: Registry, loads: Loads, keep: Callable[..., Keeper]
) -> None:
    """A version that does not load ends with its error, is not tried again, and the one before serves on."""
    loads.broken.add("2")
    (tmp_path / "1").mkdir()
    keep()
    wait_for(_available(registry, 1))
    (tmp_path / "2").mkdir()
    wait_for(lambda: _states(registry) == [(2, State.END), (1, State.AVAILABLE)])
    assert registry.statuses(NAME)[0].error is not None
    (tmp_path / "3").mkdir()
    wait_for(_available(registry, 3))
    assert loads.tried == ["1", "2", "3"]


def test_a_load_that_fails_in_any_other_way_ends_too(
    tmp_path: Path, registry: Registry, loads: Loads, keep: Callable[..., Keeper]
) -> None:
    """A version whose load raises what nobody thought of does not stay LOADING: it ends with that."""
    loads.odd.add("1")
    (tmp_path / "1").mkdir()
    keep()
    wait_for(lambda: _states(registry) == [(1, State.END)])
    error = registry.statuses(NAME)[0].error
    assert error is not None
    assert (error.code, error.message) == (Code.UNKNOWN, "PermissionError: 1 is not ours")


def test_a_load_is_tried_again(
    tmp_path: Path, registry: Registry, loads: Loads, keep: Callable[..., Keeper]
) -> None:
    """A failing load gets `max_retries` further tries before it counts as broken, LOADING meanwhile."""
    loads.broken.add("1")
    (tmp_path / "1").mkdir()
    keep(Patience(poll_s=0.005, max_retries=2, retry_interval_s=0.001))
    wait_for(lambda: _states(registry) == [(1, State.END)])
    assert loads.tried == ["1", "1", "1"]


def test_a_newer_version_ends_the_retries_of_an_older(
    tmp_path: Path, registry: Registry, loads: Loads, keep: Callable[..., Keeper]
) -> None:
    """A version that is overtaken while its load keeps failing is given up, not waited for."""
    loads.broken.add("1")
    (tmp_path / "1").mkdir()
    keep(Patience(poll_s=0.005, max_retries=5, retry_interval_s=60))
    wait_for(lambda: loads.tried == ["1"])
    (tmp_path / "2").mkdir()
    wait_for(lambda: _states(registry) == [(2, State.AVAILABLE), (1, State.END)])
    assert loads.tried == ["1", "2"]


def test_a_slow_load_does_not_hold_up_a_newer_version(
    tmp_path: Path, registry: Registry, loads: Loads, keep: Callable[..., Keeper]
) -> None:
    """A version that finishes loading after a newer one serves is unloaded at once."""
    loads.held["1"] = threading.Event()
    (tmp_path / "1").mkdir()
    keep()
    wait_for(lambda: _states(registry) == [(1, State.LOADING)])
    (tmp_path / "2").mkdir()
    wait_for(_available(registry, 2))
    loads.held["1"].set()
    wait_for(lambda: _states(registry) == [(2, State.AVAILABLE), (1, State.END)])
    assert loads.closed == ["1"]


def test_an_emptied_base_path_unloads_everything(
    tmp_path: Path, registry: Registry, keep: Callable[..., Keeper]
) -> None:
    """Where no version folder is left, none is served; a missing base path changes nothing."""
    base = tmp_path / "1"
    base.mkdir()
    keep()
    wait_for(_available(registry, 1))
    base.rmdir()
    wait_for(lambda: _states(registry) == [(1, State.END)])
    base.mkdir()
    wait_for(_available(registry, 1))


def test_a_missing_base_path_keeps_what_is_loaded(
    tmp_path: Path, registry: Registry, loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    """A base path that cannot be read is said once, and what is loaded serves on."""
    base = tmp_path / "base"
    (base / "1").mkdir(parents=True)
    keeper = Keeper(Model(NAME, base), registry, loads, QUICK)
    keeper.start()
    wait_for(_available(registry, 1))
    base.rename(tmp_path / "elsewhere")
    wait_for(lambda: f"Could not find base path {base} for servable m" in caplog.text)
    assert _serving(registry) == 1
    keeper.stop()
    assert loads.closed == ["1"]


def test_all_versions_serve_side_by_side(
    tmp_path: Path, registry: Registry, keep: Callable[..., Keeper]
) -> None:
    """Policy all loads every version; a request without one gets the highest."""
    for name in ("1", "2", "notes", "3.tmp"):
        (tmp_path / name).mkdir()
    keep(policy=All())
    wait_for(lambda: _states(registry) == [(2, State.AVAILABLE), (1, State.AVAILABLE)])
    assert _serving(registry) == 2
    with registry.hold(NAME, 1) as held:
        assert held.version == 1


def test_one_look_and_no_look(tmp_path: Path, registry: Registry, loads: Loads) -> None:
    """A poll time of 0 looks once at the start; a negative one never looks."""
    (tmp_path / "1").mkdir()
    never = Keeper(Model("never", tmp_path), registry, loads, Patience(poll_s=-1))
    once = Keeper(Model(NAME, tmp_path), registry, loads, Patience(poll_s=0))
    for keeper in (never, once):
        keeper.start()
    wait_for(_available(registry, 1))
    (tmp_path / "2").mkdir()
    for keeper in (never, once):
        keeper.stop()
    assert loads.tried == ["1"]
    assert registry.statuses("never") == []
