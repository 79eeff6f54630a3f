"""The worker's settings, and what tuning adds to them."""

from __future__ import annotations

from pydantic import Field

from riverlens_worker.servers import parse_servers
from riverlens_worker.settings import WorkerSettings


class TuneSettings(WorkerSettings):
    """Measure a model server and write the worker settings that carry most frames within a latency.

    Puts the server under full load for two or three minutes: not for one that others need. Kafka is not
    asked. Sets max_batch_size, max_in_flight_calls and dispatch; all else is taken as given.

    Example: riverlens worker tune --server gpu1:8500 --model street --latency-target-ms 200 --out tuned
    """

    latency_target_ms: float = Field(default=250.0, gt=0, exclude=True)
    """Longest that 99 of 100 frames may take from their arrival at the worker to the model's answer. Kafka
    adds a few milliseconds on each side."""
    out: str = Field(default="tuned", min_length=1, exclude=True)
    """Folder for worker.toml and batching.config."""
    images: str | None = Field(default=None, exclude=True)
    """Folder of images to send; unset: street scenes of 640x480, drawn."""
    most_rows: int = Field(default=256, ge=1, le=1024, exclude=True)
    """Largest batch to try."""
    most_calls: int = Field(default=16, ge=1, le=64, exclude=True)
    """Most calls under way at once to try."""
    cameras: int = Field(default=16, ge=1, le=10_000, exclude=True)
    """Cameras that share the load, each sending at even times but for a little jitter."""
    workers: int = Field(default=4, ge=1, le=256, exclude=True)
    """Workers that will share the server: its queue is made long enough for their calls."""
    seconds: float = Field(default=150.0, ge=5, exclude=True)
    """Time for the whole; the best found by then counts. Twice as long where none was found."""

    def contradictions(self) -> list[str]:
        """As for the worker; and one server at a time."""
        wrong = super().contradictions()
        try:
            servers = parse_servers(self.server)
        except ValueError:
            return wrong  # told of the field itself
        if len(servers) > 1 or servers[0].every_address:
            wrong.append(f"server ({self.server}): tune measures one server; name one host:port")
        return wrong
