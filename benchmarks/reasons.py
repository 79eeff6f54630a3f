"""Why a target is missed or another worker is ahead, as `reasons.toml` says. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from riverlens.errors import SettingsError

FILE = Path(__file__).with_name("reasons.toml")
NONE_GIVEN = "NO REASON GIVEN: find it, and enter it in benchmarks/reasons.toml under"

Reasons = Mapping[str, str]
"""By key of a target or of a comparison; a key may hold * and ?."""


def read_reasons(path: Path = FILE) -> Reasons:
    """The reasons of a file.

    Raises:
        SettingsError: a reason that is no text.
    """
    found = tomllib.loads(path.read_text(encoding="utf-8")).get("reasons", {})
    for key, text in found.items():
        if not isinstance(text, str) or not text.strip():
            raise SettingsError(f"{path.name}: the reason of {key!r} is no text")
    return {key: " ".join(text.split()) for key, text in found.items()}


def why(key: str, reasons: Reasons) -> str:
    """The reason under this key itself, else under the first pattern that fits, else that there is none."""
    if key in reasons:
        return reasons[key]
    for pattern, text in reasons.items():
        if fnmatchcase(key, pattern):
            return text
    return f"{NONE_GIVEN} {key}"
