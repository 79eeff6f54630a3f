"""The whole line as processes of a test: Kafka, model server, workers, cameras, each started at will."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import urlopen

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition
from PIL import Image, ImageFilter

from riverlens.broker import EmbeddedBroker
from riverlens.broker.ports import free_ports
from riverlens.demo.models import demo_model
from riverlens.kafka import KafkaSettings
from riverlens.topics import TopicsSettings, ensure_topics, topic_specs
from tests.dashboard_queries import ROOT
from tests.prometheus_server import wait_until

_STOP_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Record:
    """A record to send, as aiokafka's producer takes it."""

    value: bytes
    key: bytes
    timestamp_ms: int | None = None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


class Line:
    """Starts with a broker and its topics; the other parts are started by name.

    Args:
        folder: for the logs, `<part>.log`, the model's versions, and the picture that cameras show.
    """

    def __init__(self, folder: Path) -> None:
        self.broker = EmbeddedBroker()
        self.server_port, self.rest_port, self.admin_port, self.producer_port = free_ports(4)
        self.folder = folder
        self._models = folder / "models" / "street"
        self._parts: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.broker.__enter__()
        try:
            asyncio.run(ensure_topics(self.kafka, topic_specs(TopicsSettings())))
            self.add_version(1)
        except BaseException:
            self.broker.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in reversed(list(self._parts)):
            self.stop(name)
        self.broker.close()

    @property
    def kafka(self) -> KafkaSettings:
        """How to reach the broker."""
        return KafkaSettings(bootstrap_servers=self.broker.bootstrap_servers)

    @property
    def admin(self) -> str:
        """The first worker's admin address, host:port."""
        return f"127.0.0.1:{self.admin_port}"

    @property
    def targets(self) -> dict[str, str]:
        """Where Prometheus finds worker, producer and model server, by where local.yml looks for them."""
        ports = {9100: self.admin_port, 9101: self.producer_port, 8501: self.rest_port}
        return {f"127.0.0.1:{usual}": f"127.0.0.1:{ours}" for usual, ours in ports.items()}

    def log(self, name: str) -> str:
        """What a part has logged so far."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def add_version(self, version: int) -> None:
        """Another version of the demo's model, the same as the first; a running server swaps to it."""
        with demo_model(None) as model:
            source = next(path.parent for path in sorted(model.base_path.glob("*/saved_model.pb")))
            self._models.mkdir(parents=True, exist_ok=True)
            (self._models / str(version)).symlink_to(source.resolve(), target_is_directory=True)

    def start_server(self) -> None:
        """The embedded model server, as the part `server`."""
        flags = [f"--port={self.server_port}", "--model_name=street", f"--model_base_path={self._models}"]
        metrics = ROOT / "serving" / "gpu" / "monitoring.config"
        flags += [f"--rest_api_port={self.rest_port}", f"--monitoring_config_file={metrics}"]
        self._start("server", "serving", "run", *flags, "--enable_batching")

    def start_worker(self, name: str, *flags: str, admin_port: int = 0) -> None:
        """A worker; `admin_port` 0 takes any."""
        server = ["--server", f"127.0.0.1:{self.server_port}", "--admin-port", str(admin_port)]
        self._start(
            name, "worker", "run", "--bootstrap-servers", self.broker.bootstrap_servers, *server, *flags
        )

    def start_cameras(self, name: str, cameras: int, *flags: str) -> None:
        """A producer whose cameras show one picture over and over, as `flags` say."""
        picture = self.folder / "picture.jpg"
        # Smooth enough to decode faster than the model answers: else batches stay small under overload.
        noise = Image.effect_noise((640, 480), 64).filter(ImageFilter.GaussianBlur(2))
        noise.convert("RGB").save(picture, quality=80)
        sources = [f"--source=camera-{number + 1}={picture}" for number in range(cameras)]
        kafka = ["--bootstrap-servers", self.broker.bootstrap_servers]
        self._start(name, "producer", "run", *kafka, *sources, "--loop", "--progress=off", *flags)

    def start_live_camera(self, name: str, url: str) -> None:
        """A producer with one camera that it reads from `url`, and with metrics."""
        kafka = ["--bootstrap-servers", self.broker.bootstrap_servers]
        admin = f"--admin-port={self.producer_port}"
        self._start(name, "producer", "run", *kafka, f"--source={name}={url}", "--progress=off", admin)

    def wait_ready(self) -> None:
        """Block until the first worker is ready, or fail with the log of a part that has ended."""

        def ready() -> bool:
            for name, process in self._parts.items():
                assert process.poll() is None, f"{name} ended:\n{self.log(name)[-2000:]}"
            try:
                with urlopen(f"http://{self.admin}/readyz", timeout=10) as reply:
                    return bool(reply.status == HTTPStatus.OK)
            except OSError:
                return False  # it does not listen yet, or says that it is not ready

        wait_until(ready, "a worker that is ready")

    def stop(self, name: str) -> None:
        """SIGTERM, then wait until the part has ended."""
        process = self._parts.pop(name)
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self, name: str) -> None:
        """SIGKILL: the part has no say in it."""
        process = self._parts.pop(name)
        process.kill()
        process.wait()

    def send(self, value: bytes, *, key: bytes = b"odd", timestamp_ms: int | None = None) -> None:
        """One record on the topic `frames`, acknowledged."""
        self.send_all([Record(value, key, timestamp_ms)])

    def send_all(self, records: Sequence[Record]) -> None:
        """Records on the topic `frames`, acknowledged."""

        async def put() -> None:
            async with AIOKafkaProducer(**self.kafka.client_options()) as producer:
                for record in records:
                    await producer.send_and_wait("frames", **asdict(record))

        asyncio.run(put())

    def forget_frames(self) -> None:
        """What retention does: all frames that are on Kafka now are removed."""

        async def remove() -> None:
            admin = AIOKafkaAdminClient(**self.kafka.client_options())
            await admin.start()
            try:
                everything = RecordsToDelete(before_offset=-1)
                partitions = [
                    TopicPartition("frames", number) for number in range(TopicsSettings().partitions)
                ]
                await admin.delete_records(dict.fromkeys(partitions, everything))
            finally:
                await admin.close()

        asyncio.run(remove())

    def _start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as output:
            self._parts[name] = subprocess.Popen(
                [sys.executable, "-m", "riverlens", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
