"""Label maps in the forms that models come with."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens import labels
from riverlens.errors import SettingsError


@pytest.mark.parametrize(
    "text",
    [
        "???\nperson\n\nbicycle\n",
        "\ufeff???\r\nperson\r\n\r\nbicycle\r\n",
        '["???", "person", "", "bicycle"]',
        '{"1": "person", "3": "bicycle"}',
        '{"person": 1, "bicycle": 3}',
        '[{"id": 1, "name": "person"}, {"id": 3, "name": "bicycle", "supercategory": "vehicle"}]',
        'item {\n  id: 1\n  name: "person"\n}\nitem {\n  name: "bicycle"\n  id: 3\n}\n',
        """# COCO
        item { id: 1 name: '/m/01g317' display_name: 'person' }
        item { id: 3 name: "/m/0199g" display_name: "bicycle" }""",
        """item {
          id: 1
          name: "person"
          keypoints { id: 0 label: "nose {left}" }
          keypoints {
            id: 7
            label: "eye"
          }
        }
        item { id: 3 name: 'bicycle' }""",
    ],
)
def test_every_form_gives_names_by_id(text: str) -> None:
    """Text, JSON in four shapes and the Object Detection API's pbtxt name the same classes."""
    assert labels.parse(text) == {1: "person", 3: "bicycle"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"1": ', "not JSON"),
        ('{"1": ["person"]}', "ids to names"),
        ('{"person": "one"}', "not a label map"),
        ("[1, 2]", "a list holds names"),
        ('[{"id": 1}]', "not a label map"),
        ('[{"id": 1}]', "lacks its 'name'"),
        ('{"0": {"name": "person"}}', "ids to names"),
        ('item { name: "person" }', "lacks its id"),
    ],
)
def test_a_malformed_map_says_what_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    """A file that is no label map is refused in one line that names it."""
    path = tmp_path / "labels"
    path.write_text(text)
    with pytest.raises(SettingsError, match=why) as refusal:
        labels.read(str(path))
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_coco_is_built_in_with_and_without_gaps() -> None:
    """`coco` counts 1 to 90 with ten gaps, `coco80` counts the same names from 0 to 79."""
    coco, coco80 = labels.read("coco"), labels.read("coco80")
    assert (coco[1], coco[90], len(coco)) == ("person", "toothbrush", 80)
    assert 12 not in coco
    assert list(coco80) == list(range(80))
    assert list(coco80.values()) == list(coco.values())


def test_a_missing_file_names_what_is_built_in() -> None:
    """An unreadable file's message lists the built-in maps."""
    with pytest.raises(SettingsError, match="one of coco, coco80"):
        labels.read("no-such-file.txt")


def test_labels_that_cannot_be_read_name_the_setting(tmp_path: Path) -> None:
    """A file that is missing, no text or empty is an error of the setting `labels`; a good one is read."""
    good, empty, binary = (tmp_path / name for name in ("good.txt", "empty.txt", "binary.txt"))
    good.write_text("car\n\nbicycle\n", encoding="utf-8")
    empty.write_text("\n???\n", encoding="utf-8")
    binary.write_bytes(b"\xff\xfe\x00")
    assert labels.read(str(good)) == {0: "car", 2: "bicycle"}
    for path in (tmp_path / "none.txt", empty, binary, tmp_path):
        with pytest.raises(SettingsError, match=r"^labels: "):
            labels.read(str(path))
