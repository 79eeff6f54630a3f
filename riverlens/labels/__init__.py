"""Class names by class id, from the files people have: text, JSON, the Object Detection API's pbtxt.

`parse` is pure; `read` touches disk. Built in: `coco` (ids 1 to 90, with the gaps of the COCO paper, as the
Object Detection API counts) and `coco80` (ids 0 to 79 without gaps, as YOLO exports count).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from riverlens.errors import SettingsError

UNNAMED = "???"
BUILT_IN = ("coco", "coco80")

_TEXT = r""" "[^"\n]*" | '[^'\n]*' """
_ITEM = re.compile(
    rf"\bitem \s* :? \s* \{{ ( (?: [^{{}}\"'] | {_TEXT} | \{{ (?: [^{{}}\"'] | {_TEXT} )* \}} )* ) \}}",
    re.VERBOSE,
)
_INNER = re.compile(rf"\w+ \s* :? \s* \{{ (?: [^{{}}\"'] | {_TEXT} )* \}}", re.VERBOSE)
"""A message within an item, such as the keypoints of a person."""
_FIELD = re.compile(r"""\b(id|name|display_name)\s*:\s*(?:"([^"]*)"|'([^']*)'|(-?[0-9]+))""")


def read(setting: str) -> dict[int, str]:
    """Class names of a `labels` setting: a built-in map's name, or a file of any form that `parse` knows.

    Raises:
        SettingsError: the file cannot be read, is malformed or names nothing.
    """
    if setting in BUILT_IN:
        coco = parse(files(__name__).joinpath("coco.txt").read_text(encoding="utf-8"))
        return coco if setting == "coco" else dict(enumerate(coco[number] for number in sorted(coco)))
    try:
        names = parse(Path(setting).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"labels: {setting} cannot be read ({error}); a text, JSON or pbtxt file, or one of"
            f" {', '.join(BUILT_IN)}"
        ) from None
    except ValueError as error:
        raise SettingsError(f"labels: {setting}: {error}") from None
    if not names:
        raise SettingsError(f"labels: {setting} names no class; one name a line, the first is class 0")
    return names


def parse(text: str) -> dict[int, str]:
    """Names by id; the form is told by the text itself.

    JSON: a list of names, `{"1": "person"}`, `{"person": 1}`, or a list of `{"id": 1, "name": "person"}`.
    pbtxt: `item { id: 1 name: "x" display_name: "person" }`, whose display name wins.
    Text: line k, from 0, names class k. Empty names and `???` name nothing, in any form.

    Raises:
        ValueError: JSON of another shape, or an item without id or name.
    """
    start = text.lstrip("\ufeff \t\r\n")
    if start[:1] in {"{", "["}:
        named = _from_json(start)
    elif _ITEM.match(re.sub(r"(?m)^\s*#.*$", "", start).lstrip()):
        named = _from_pbtxt(start)
    else:
        named = dict(enumerate(text.removeprefix("\ufeff").splitlines()))
    tidy = {number: name.strip() for number, name in named.items()}
    return {number: name for number, name in tidy.items() if name and name != UNNAMED}


def _from_json(text: str) -> dict[int, str]:
    try:
        body: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    try:
        if isinstance(body, Mapping):
            return _from_object(body)
        if all(isinstance(entry, Mapping) for entry in body):
            return {int(entry["id"]): str(entry["name"]) for entry in body}
    except (KeyError, TypeError, ValueError) as error:
        missing = isinstance(error, KeyError)
        raise ValueError(f"not a label map: {f'an entry lacks its {error}' if missing else error}") from None
    if all(isinstance(entry, str) for entry in body):
        return dict(enumerate(body))
    raise ValueError("not a label map: a list holds names, or objects with id and name")


def _from_object(body: Mapping[str, Any]) -> dict[int, str]:
    by_name = all(isinstance(value, int) and not isinstance(value, bool) for value in body.values())
    if by_name:
        return {int(number): name for name, number in body.items()}
    if not all(isinstance(value, str) for value in body.values()):
        raise ValueError("an object maps ids to names, or names to ids")
    return {int(number): str(name) for number, name in body.items()}


def _from_pbtxt(text: str) -> dict[int, str]:
    named = {}
    for item in _ITEM.findall(re.sub(r"(?m)^\s*#.*$", "", text)):
        fields = {
            key: double or single or number
            for key, double, single, number in _FIELD.findall(_INNER.sub("", item))
        }
        name = fields.get("display_name") or fields.get("name")
        if "id" not in fields or name is None:
            raise ValueError(f"an item of the label map lacks its id or name: {' '.join(item.split())!r}")
        named[int(fields["id"])] = name
    return named
