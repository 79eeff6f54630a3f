"""What was measured, a file for each scenario, so that no later failure loses it. Shell."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from riverlens.errors import SetupError


@dataclass(frozen=True, slots=True)
class Store:
    """The scenarios measured so far, in `folder`/scenarios; `results.json` beside them holds all together."""

    folder: Path

    def clear(self) -> None:
        """Forget all."""
        for path in self._files():
            path.unlink()

    def names(self) -> set[str]:
        """Of the scenarios measured without a run that broke."""
        found = [self._read(path) for path in self._files()]
        return {one["scenario"] for one in found if not any("error" in row for row in one["rows"])}

    def keep(self, scenario: str, rows: Sequence[dict[str, Any]], order: Sequence[str]) -> None:
        """A scenario's rows, in place of earlier ones; `order` of the scenarios in `results.json`."""
        folder = self.folder / "scenarios"
        folder.mkdir(parents=True, exist_ok=True)
        found = {"scenario": scenario, "at": _now(), "machine": machine(), "rows": list(rows)}
        # A reader, or a run broken off here, never sees half a file.
        part = folder / f".{scenario}.part"
        part.write_text(json.dumps(found, indent=1), encoding="utf-8")
        part.replace(folder / f"{scenario}.json")
        together = json.dumps(self.results(order), indent=1)
        (self.folder / "results.json").write_text(together, encoding="utf-8")

    def results(self, order: Sequence[str]) -> dict[str, Any]:
        """All: `rows` in order of their scenarios, `broken` runs, `machine`, from `begun` to `ended`.

        Raises:
            SetupError: nothing was measured yet, or a file cannot be read.
        """
        found = [self._read(path) for path in self._files()]
        if not found:
            raise SetupError(f"{self.folder} holds no figures; measure first: make bench-short")
        place = {name: number for number, name in enumerate(order)}
        found.sort(key=lambda one: place.get(one["scenario"], len(place)))
        rows = [row for one in found for row in one["rows"]]
        times = sorted(one["at"] for one in found)
        return {
            "begun": times[0],
            "ended": times[-1],
            "machine": found[-1]["machine"],
            "rows": [row for row in rows if "error" not in row],
            "broken": [row for row in rows if "error" in row],
        }

    def _files(self) -> list[Path]:
        return sorted((self.folder / "scenarios").glob("*.json"))

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise SetupError(f"{path} cannot be read ({error}); remove it, and measure again") from None
        return found


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def machine() -> dict[str, Any]:
    """What figures were taken on."""
    memory = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory) / 1e6, 1),
        "python": sys.version.split()[0],
        "processor": _processor(),
        "riverlens": version("riverlens"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
