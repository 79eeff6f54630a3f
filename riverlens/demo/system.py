"""The parts of the demo as processes of their own: broker, model server, worker, producer.

Each ends with this process, however that ends. Logs go to the output folder.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from riverlens.broker import EmbeddedBroker
from riverlens.broker.ports import free_ports
from riverlens.child import ChildProcess
from riverlens.demo.models import DemoModel
from riverlens.demo.settings import DemoSettings
from riverlens.errors import SetupError
from riverlens.kafka import KafkaSettings
from riverlens.topics import TopicsSettings, ensure_topics, topic_specs

_LOOK_S = 0.1
_READY_WITHIN_S = 90.0
_STOP_GRACE_S = 15.0


@dataclass(frozen=True, slots=True)
class Paths:
    """Files of one run."""

    output: Path

    def log(self, part: str) -> Path:
        """Log of one part."""
        return self.output / "logs" / f"{part}.log"

    @property
    def producer_summary(self) -> Path:
        """What the producer says it sent."""
        return self.output / "logs" / "producer.json"


class DemoSystem:
    """Starts the parts in order, stops them in the other one. Owns their processes."""

    def __init__(self, settings: DemoSettings, model: DemoModel, paths: Paths) -> None:
        self._settings = settings
        self._model = model
        self._paths = paths
        self._broker = EmbeddedBroker()
        self._parts: dict[str, ChildProcess] = {}
        self._server_port, self._admin_port, self._wall_port = free_ports(3)

    @property
    def kafka(self) -> KafkaSettings:
        """How to reach the demo's broker."""
        return KafkaSettings(bootstrap_servers=self._broker.bootstrap_servers)

    @property
    def metrics_url(self) -> str:
        """The worker's metrics."""
        return f"http://127.0.0.1:{self._admin_port}/metrics"

    @property
    def wall_url(self) -> str:
        """The wall's page."""
        return f"http://127.0.0.1:{self._wall_port}/"

    async def start(self, tell: Callable[[str], None]) -> None:
        """Start everything up to the worker, which is ready then. Frames come with `start_producer`.

        Raises:
            RiverlensError: a part does not start; with the end of its log.
        """
        tell("model server: starting (TensorFlow loads)")
        self._start_server()
        tell("Kafka: starting")
        await self._broker.open()
        tell(f"Kafka: ready at {self._broker.bootstrap_servers}")
        await ensure_topics(self.kafka, topic_specs(TopicsSettings()))
        self._start_worker()
        await self._until_ready(tell)
        tell(f"worker: ready, metrics at {self.metrics_url}")
        if self._settings.wall:
            self._start_wall()
            tell(f"wall: {self.wall_url} shows the cameras live; open it in a browser")

    def start_producer(self) -> None:
        """Let the cameras run."""
        settings = self._settings
        if settings.video is None:
            what = ["--synthetic", "--cameras", str(settings.cameras)]
        else:
            names = [f"camera-{number + 1}={settings.video}" for number in range(settings.cameras)]
            what = ["--loop", *(word for name in names for word in ("--source", name))]
        fps = ["--fps", f"{settings.fps:g}"]
        summary = ["--summary-json", str(self._paths.producer_summary)]
        self._start(
            "producer", ["producer", "run", *self._bootstrap(), *what, *fps, *summary, "--progress", "off"]
        )

    def stop_producer(self) -> None:
        """Stop the cameras and wait until everything sent is acknowledged."""
        self._end("producer")

    def stop_worker(self) -> None:
        """Let the worker finish what it holds; blocks until it has ended."""
        self._end("worker")

    def close(self) -> None:
        """Stop everything that still runs."""
        for part in ("producer", "wall", "worker", "model-server"):
            self._end(part)
        self._broker.close()

    def failed_part(self) -> str | None:
        """A part that ended by itself, with the end of its log; None where all run."""
        for name, part in self._parts.items():
            if not part.running and name != "producer":
                return f"the {name} ended by itself: " + " | ".join(part.log_tail(3))
        return None

    def _start_server(self) -> None:
        base = str(self._model.base_path)
        flags = [
            "--port",
            str(self._server_port),
            "--model_name",
            self._model.name,
            "--model_base_path",
            base,
        ]
        self._start("model-server", ["serving", "run", *flags])

    def _start_worker(self) -> None:
        flags = ["--server", f"127.0.0.1:{self._server_port}", "--model", self._model.name]
        flags += ["--admin-port", str(self._admin_port), "--log-format", "json"]
        for name in ("labels", "signature"):
            value = getattr(self._settings, name)
            flags += [f"--{name}", value] if value else []
        self._start("worker", ["worker", "run", *self._bootstrap(), *flags])

    def _start_wall(self) -> None:
        flags = ["--wall-port", str(self._wall_port), "--metrics-url", self.metrics_url]
        self._start("wall", ["wall", *self._bootstrap(), *flags])

    def _bootstrap(self) -> list[str]:
        return ["--bootstrap-servers", self._broker.bootstrap_servers]

    def _start(self, name: str, words: list[str]) -> None:
        log = self._paths.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        part = ChildProcess(name, [sys.executable, "-m", "riverlens", *words], log)
        part.start()
        self._parts[name] = part

    def _end(self, name: str) -> None:
        part = self._parts.pop(name, None)
        if part is not None:
            part.end(grace_s=_STOP_GRACE_S)

    async def _until_ready(self, tell: Callable[[str], None]) -> None:
        url = self.metrics_url.replace("/metrics", "/readyz")
        said = ""
        until_s = time.monotonic() + _READY_WITHIN_S
        while (why := await asyncio.to_thread(_not_ready, url)) != "":
            failed = self.failed_part()
            if failed:
                raise SetupError(failed)
            if time.monotonic() > until_s:
                raise SetupError(f"the worker is not ready after {_READY_WITHIN_S:.0f} s: {why}")
            if why != said:
                tell(f"worker: {why}")
                said = why
            await asyncio.sleep(_LOOK_S)


def _not_ready(url: str) -> str:
    """Why the worker is not ready; "" where it is."""
    try:
        with urlopen(url, timeout=2) as reply:  # noqa: S310  # our own loopback address
            reply.read()
    except URLError as error:
        read = getattr(error, "read", None)  # an HTTPError carries the worker's own words
        return read().decode().strip() if read is not None else "starting"
    except OSError:
        return "starting"
    return ""
