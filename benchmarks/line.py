"""Kafka, simulated model servers and stacks as processes that end with this one. Shell."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.admin import Told, read_metrics
from benchmarks.device.commands import ENCODED, PIXELS, device_command
from benchmarks.scenario import MAX_ROWS, Scenario
from benchmarks.stacks.commands import READY_LINE, Place, Stack
from riverlens.broker import EmbeddedBroker
from riverlens.broker.ports import free_ports
from riverlens.child import ChildProcess
from riverlens.errors import SetupError
from riverlens.kafka import KafkaSettings
from riverlens.topic_spec import TopicSpec
from riverlens.topics import ensure_topics

_READY_WITHIN_S = 60.0
_LOOK_S = 0.05
_STOP_GRACE_S = 10.0
_PROPERTIES = {"log.segment.delete.delay.ms": "1000"}
"""What a run leaves behind goes before the next one is measured, not in its midst."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one run."""

    frames: str
    events: str
    dlq: str


class Device:
    """The simulator as a process, and its HTTP side."""

    def __init__(self, process: ChildProcess, servers: tuple[str, ...], http: str) -> None:
        self.process = process
        self.servers = servers
        self._http = http

    async def stats(self) -> dict[str, Any]:
        """What its servers ran since `forget`."""
        found: dict[str, Any] = json.loads(await asyncio.to_thread(_http, f"{self._http}/stats"))
        return found

    async def forget(self) -> None:
        """Count from now."""
        await asyncio.to_thread(_http, f"{self._http}/forget", {})

    async def slow_down(self, factor: float) -> None:
        """Batches that begin from now on take `factor` times as long."""
        await asyncio.to_thread(_http, f"{self._http}/settings", {"factor": factor})


class Workers:
    """The processes of one stack."""

    def __init__(self, stack: Stack, processes: Sequence[ChildProcess], admins: Sequence[str]) -> None:
        self.stack = stack
        self.processes = processes
        self.admins = admins
        self.started_s = time.time()

    @property
    def pids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self.processes if process.pid is not None]

    def check(self) -> None:
        """See that all run.

        Raises:
            SetupError: one has ended; with the end of its log.
        """
        for process in self.processes:
            if not process.running:
                tail = process.log_tail(8)
                said = tail[-1].strip() if tail else "it said nothing"
                raise SetupError("\n  ".join([f"{process.name} ended by itself: {said}", *tail]))

    async def told(self) -> Told:
        """What their metrics say, where they have any."""
        if self.stack.ready != "readyz":
            return Told([], {})
        return read_metrics([await asyncio.to_thread(_http, f"{admin}/metrics") for admin in self.admins])

    async def wait_ready(self) -> None:
        """Wait until all can take frames.

        Raises:
            SetupError: one has ended, or is not ready within a minute.
        """
        until_s = time.monotonic() + _READY_WITHIN_S
        for process, admin in zip(self.processes, self.admins, strict=True):
            while not await asyncio.to_thread(self._is_ready, process, admin):
                self.check()
                if time.monotonic() > until_s:
                    raise SetupError(f"{process.name} was not ready within {_READY_WITHIN_S:.0f} s")
                await asyncio.sleep(_LOOK_S)

    def _is_ready(self, process: ChildProcess, admin: str) -> bool:
        if self.stack.ready == "log":
            return READY_LINE in process.log_tail(50)
        try:
            return bool(_http(f"{admin}/readyz"))
        except OSError:
            # Refused, reset, 503, no answer: a process that begins, or ends, does any of these.
            return False


class Line:
    """Kafka for the whole run; devices and stacks one after the other.

    Args:
        folder: gets the logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._broker = EmbeddedBroker(properties=_PROPERTIES)
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        await self._broker.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.to_thread(self._broker.close))

    @property
    def kafka(self) -> KafkaSettings:
        """How to reach Kafka."""
        return KafkaSettings(bootstrap_servers=self._broker.bootstrap_servers)

    @property
    def broker_pid(self) -> int:
        """Kafka's process."""
        return self._broker.pid(1) or 0

    async def make_topics(self, partitions: int, frames: str | None = None) -> Topics:
        """Fresh topics; the frames topic is made too unless one is named."""
        number = next(self._numbers)
        topics = Topics(frames or f"frames-{number}", f"events-{number}", f"dlq-{number}")
        # Kafka's own clock times the events of every stack.
        stamped = {"message.timestamp.type": "LogAppendTime"}
        specs = [TopicSpec(topics.events, partitions, stamped), TopicSpec(topics.dlq, partitions)]
        if frames is None:
            specs.append(frames_topic(topics.frames, partitions))
        await ensure_topics(self.kafka, specs)
        return topics

    async def remove_topics(self, *names: str) -> None:
        """Delete topics, for the room on disk."""
        admin = AIOKafkaAdminClient(**self.kafka.client_options())
        await admin.start()
        try:
            await admin.delete_topics(list(names))
        finally:
            await admin.close()

    @asynccontextmanager
    async def device(self, scenario: Scenario) -> AsyncIterator[Device]:
        """The simulated model servers of a scenario, listening."""
        *ports, http_port = free_ports(scenario.servers + 1)
        command = device_command(
            scenario.cost, scenario.devices, MAX_ROWS if scenario.merge else None, ports, http_port
        )
        process = ChildProcess("device", command, self.folder / "device.log")
        process.start()
        http = f"http://127.0.0.1:{http_port}"
        try:
            await _until_answers(f"{http}/stats", process)
            yield Device(process, tuple(f"127.0.0.1:{port}" for port in ports), http)
        finally:
            await asyncio.to_thread(process.end, grace_s=2)

    @asynccontextmanager
    async def workers(
        self, stack: Stack, scenario: Scenario, topics: Topics, device: Device
    ) -> AsyncIterator[Workers]:
        """The stack's processes, started and not waited for."""
        place = Place(
            bootstrap=self._broker.bootstrap_servers,
            frames_topic=topics.frames,
            events_topic=topics.events,
            dlq_topic=topics.dlq,
            group=topics.events,
            servers=device.servers,
            model=PIXELS if scenario.mode == "pixels" else ENCODED,
            mode=scenario.mode,
        )
        ports = free_ports(scenario.workers)
        log = self.folder / f"{scenario.name}.{stack.name}.log"
        log.unlink(missing_ok=True)
        processes = [
            ChildProcess(f"{stack.name} {number}", stack.command(place, scenario.flags, port), log)
            for number, port in enumerate(ports, 1)
        ]
        started = Workers(stack, processes, [f"http://127.0.0.1:{port}" for port in ports])
        try:
            # Not in a thread: a start that is left off in its midst would outlive the run.
            for process in processes:
                process.start()
            yield started
        finally:
            for process in processes:
                process.signal("TERM")
            for process in processes:
                await asyncio.to_thread(process.end, grace_s=_STOP_GRACE_S)


def frames_topic(name: str, partitions: int) -> TopicSpec:
    """A topic for frames, kept for longer than a run with all its repetitions may last."""
    return TopicSpec(name, partitions, {"retention.ms": "10800000"})


async def _until_answers(url: str, process: ChildProcess) -> None:
    until_s = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            await asyncio.to_thread(_http, url)
        except OSError:
            if not process.running or time.monotonic() > until_s:
                tail = "\n  ".join(process.log_tail(8))
                raise SetupError(f"the simulated device did not start:\n  {tail}") from None
            await asyncio.sleep(_LOOK_S)
        else:
            return


def _http(url: str, body: Any = None) -> str:
    """GET, or POST where there is a body; the answer's text.

    Raises:
        OSError: no answer, not a whole one, or one that is no success.
    """
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data=data), timeout=5) as reply:  # noqa: S310  # our own loopback address
            text: str = reply.read().decode()
            return text
    except HTTPException as error:
        raise ConnectionError(f"{url}: {error!r}") from error
