"""The worker's settings, and the check's two own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from riverlens_worker.settings import WorkerSettings


class CheckSettings(WorkerSettings):
    """Look at everything that a worker of these settings needs, and change nothing.

    Exits with 0 where nothing is bad, else with 1.
    Try:  riverlens worker check --server gpu1:8500 --model street
          riverlens worker check --config worker.toml --format json
    """

    format: Literal["text", "json"] = Field(default="text", exclude=True)
    """Lines for a person, or JSON for a machine."""
    batching_file: str | None = Field(default=None, exclude=True)
    """The model server's batching file, where its text is to be looked at too."""
