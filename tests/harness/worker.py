"""The worker as people run it: `riverlens worker run` in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from riverlens.kafka import KafkaSettings
from tests.conftest import TopicSet
from tests.harness.waiting import wait_for

_ADMIN = re.compile(r"metrics on (http://\S+)/metrics")
_OUTCOMES = ("published", "dropped", "dead_lettered", "fenced")


class Worker:
    """A running worker, its log and what its admin port says."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log_file = log
        self.spawned_s = time.time()

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def log(self) -> str:
        """All that it has logged."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def running(self) -> bool:
        """Whether the process exists."""
        return self.process.poll() is None

    async def admin(self) -> str:
        """The address of its admin port, from its log."""

        async def told() -> str:
            found = _ADMIN.search(self.log())
            assert found or self.running(), f"the worker ended with {self.process.poll()}:\n{self.log()}"
            return found.group(1) if found else ""

        return await wait_for(told, what="the worker names its admin port")

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of one page of the admin port."""
        return await asyncio.to_thread(_get, await self.admin() + path)

    async def ready(self) -> None:
        """Wait until /readyz says 200."""

        async def asked() -> bool:
            assert self.running(), f"the worker ended with {self.process.poll()}:\n{self.log()}"
            return (await self.get("/readyz"))[0] == 200

        await wait_for(asked, what="the worker is ready")

    async def metrics(self) -> dict[str, float]:
        """Every sample by `name` or `name{label=value,...}`."""
        status, text = await self.get("/metrics")
        assert status == 200
        return {
            sample.name + _labels(sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def balance(self) -> dict[str, float]:
        """Frames by outcome, and `consumed`, `in_flight`; they must add up."""
        samples = await self.metrics()
        counts = dict.fromkeys(_OUTCOMES, 0.0)
        for name, value in samples.items():
            found = re.match(r"riverlens_frames_total\{outcome=(\w+)", name)
            if found:
                counts[found.group(1)] += value
        counts["consumed"] = samples["riverlens_frames_consumed_total"]
        counts["in_flight"] = samples["riverlens_in_flight_frames"]
        settled = sum(counts[outcome] for outcome in _OUTCOMES)
        assert counts["consumed"] == settled + counts["in_flight"], counts
        return counts

    async def at_rest(self) -> dict[str, float]:
        """The balance once nothing is in flight: outcomes lie on Kafka a moment before they are counted."""

        async def rests() -> dict[str, float]:
            counts = await self.balance()
            return {} if counts["in_flight"] else counts

        return await wait_for(rests, what="nothing is in flight")

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return self._memory("VmRSS")

    def peak_rss_bytes(self) -> int:
        """The most resident memory it ever had."""
        return self._memory("VmHWM")

    def _memory(self, field: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(text.split(f"{field}:")[1].split()[0]) * 1024

    def maps(self) -> str:
        """What is mapped into its memory: libraries above all."""
        return Path(f"/proc/{self.pid}/maps").read_text(encoding="utf-8")

    def send_signal(self, number: int) -> None:
        """SIGSTOP, SIGCONT, SIGTERM ..."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.wait()

    async def ended(self, timeout_s: float = 60.0) -> int:
        """Wait for the end; the exit code."""
        return await asyncio.to_thread(self.process.wait, timeout_s)

    async def stop(self) -> int:
        """SIGTERM and wait; the exit code."""
        self.send_signal(signal.SIGTERM)
        return await self.ended()


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310  # our own loopback address
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _labels(labels: dict[str, str]) -> str:
    inner = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return f"{{{inner}}}" if inner else ""


def flags(settings: dict[str, object]) -> list[str]:
    """Command line flags of settings by field name."""
    found = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        switch = {True: f"--{flag}", False: f"--no-{flag}"}
        found.append(switch[value] if isinstance(value, bool) else f"--{flag}={value}")
    return found


def start_worker(
    log: Path, kafka: KafkaSettings, topics: TopicSet, server: str, **settings: object
) -> Worker:
    """Start a worker and return at once. Its environment holds no settings."""
    ours = {
        "kafka.bootstrap_servers": kafka.bootstrap_servers,
        "frames_topic": topics.frames,
        "events_topic": topics.events,
        "dlq_topic": topics.dlq,
        "group_id": topics.group,
        "server": server,
        "model": "colour",
        "admin_port": 0,
        **settings,
    }
    return start_command(log, *flags(ours))


def start_command(log: Path, *argv: str) -> Worker:
    """`riverlens worker run` with these flags, and nothing from the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RIVERLENS_")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "riverlens", "worker", "run", *argv],
            stdout=output,
            stderr=output,
            env=environment,
        )
    return Worker(process, log)


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    """The worker, killed at the end if it still runs; a traceback in its log is a failure."""
    try:
        yield worker
    finally:
        if worker.running():
            worker.send_signal(signal.SIGCONT)
            worker.kill()
    assert "Traceback" not in worker.log(), worker.log()
