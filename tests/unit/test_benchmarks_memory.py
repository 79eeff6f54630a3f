"""Where Kafka's data lies while it is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import memory


def test_a_mount_with_room_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka's data goes to memory where both the mount and the machine have enough left."""
    monkeypatch.setattr(memory, "_ROOM_BYTES", 1)
    assert memory.data_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("taken", ["mount", "memory"])
def test_without_room_there_or_in_memory_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    """A small mount, or a machine whose memory is taken, keeps Kafka on its disk."""
    monkeypatch.setattr(memory, "_ROOM_BYTES", 1 if taken == "memory" else 2**80)
    monkeypatch.setattr(memory, "_available_bytes", lambda: 0 if taken == "memory" else 2**90)
    assert memory.data_folder(tmp_path) is None


def test_a_system_without_such_a_mount_has_none(tmp_path: Path) -> None:
    """Elsewhere than on Linux nothing breaks for want of it."""
    assert memory.data_folder(tmp_path / "away") is None
