"""How the simulator is started, and the names of its models. Pure."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.cost import Cost

PIXELS, ENCODED = "detector-pixels", "detector-jpeg"
"""The two models: uint8 [N,320,320,3], and string [N]."""


def device_command(
    cost: Cost, devices: int, merge_rows: int | None, ports: Sequence[int], http_port: int
) -> list[str]:
    """The command line of `benchmarks.device`: a model server on each of `ports`."""
    words = [sys.executable, "-m", "benchmarks.device", f"--a-ms={cost.a_ms}", f"--b-ms={cost.b_ms}"]
    words += [f"--devices={devices}", f"--http-port={http_port}"]
    words += [] if merge_rows is None else [f"--merge-rows={merge_rows}"]
    return [*words, "--ports", *map(str, ports)]
