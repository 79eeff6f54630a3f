"""The settings that choose what events hold: from TOML, variables and flags; what is wrong, in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from riverlens.errors import SettingsError
from riverlens.settings import load, to_toml
from riverlens_worker.settings import WorkerSettings
from riverlens_worker.zones import Zone

TOML = """
[worker]
only_labels = ["person", "car*"]
skip_labels = ["carrot"]
min_scores = ["person=0.5"]
min_box_area = 0.001
max_box_area = 0.5
only_zones = true
events = "changes"
changes_hold_ms = 500

[[worker.zones]]
name = "door"
cameras = "gate-*"
points = [[0, 0], [1, 0], [0.5, 1]]
"""
FLAGS = [
    "--only-labels=person,car*",
    "--skip-labels=carrot",
    "--min-scores=person=0.5",
    "--min-box-area=0.001",
    "--max-box-area=0.5",
    '--zones=[{"name": "door", "cameras": "gate-*", "points": [[0, 0], [1, 0], [0.5, 1]]}]',
    "--only-zones",
    "--events=changes",
    "--changes-hold-ms=500",
]
ZONES = '[{"name": "door", "cameras": "gate-*", "points": [[0, 0], [1, 0], [0.5, 1]]}]'


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("RIVERLENS_"):
            monkeypatch.delenv(name)


def _load(*argv: str) -> WorkerSettings:
    return load(WorkerSettings, argv, prog="riverlens worker run")


def test_file_variables_and_flags_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zones are tables in TOML and JSON elsewhere; what `--print-config` shows gives the same again."""
    file = tmp_path / "riverlens.toml"
    file.write_text(TOML, encoding="utf-8")
    found = _load("--config", str(file))
    assert found.zones == (Zone("door", "gate-*", ((0.0, 0.0), (1.0, 0.0), (0.5, 1.0))),)
    assert found.filters.min_scores == (("person", 0.5),)
    assert _load(*FLAGS) == found
    file.write_text(to_toml(found), encoding="utf-8")
    assert _load("--config", str(file)) == found
    for flag in FLAGS:
        name, _, value = flag.removeprefix("--").partition("=")
        monkeypatch.setenv(f"RIVERLENS_{name.replace('-', '_').upper()}", value or "true")
    assert _load() == found


def test_by_default_nothing_is_chosen() -> None:
    """Every frame an event, all of it in there; the model's best are taken as they are."""
    found = WorkerSettings()
    assert (found.selection, found.events, found.most_read) == (None, "every-frame", 100)
    assert WorkerSettings(only_labels="person").most_read == 1_000


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--min-scores=person"], "min_scores: 'person' is no label and score"),
        (["--min-scores=person=0.1"], "min_scores asks for 0.1, below min_score (0.3)"),
        (
            ["--min-box-area=0.5", "--max-box-area=0.1"],
            "min_box_area (0.5) must be at most max_box_area (0.1)",
        ),
        (["--max-box-area=2"], "max_box_area: "),
        (["--only-zones"], "only_zones has no effect without zones"),
        (["--changes-hold-ms=9"], "changes_hold_ms has no effect without events=changes"),
        (["--events=none"], "events: "),
        (["--zones=door"], "zones: not JSON"),
        (["--zones=" + ZONES.replace("0.5", "5")], "zones: zone 1 (door), point 3: [5, 1] lies outside"),
        (["--zones=" + ZONES.replace("cameras", "camera")], "no such field 'camera', perhaps cameras"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(argv: list[str], text: str) -> None:
    """The line names the setting; nothing is left out of events, or kept, by mistake."""
    with pytest.raises(SettingsError) as caught:
        _load(*argv)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
