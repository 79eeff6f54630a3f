"""The command lines of Kafka's two programs: format the storage, run the broker."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from riverlens.broker.cds import SharedClasses
from riverlens.errors import SetupError

_FORMAT_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Jvm:
    """Java and Kafka's jars. `options` come last, so they win over ours.

    The parallel collector and the first compiler alone start 0.4 s sooner here than Java's own choice and
    leave the cores to others; `-XX:TieredStopAtLevel=4` among `options` gives the second compiler back.
    The serial collector starts as soon, but while frames come at 55 MB/s it stops Kafka for 8 ms two or
    three times a second; the parallel one for 4 to 5 ms once a second.
    """

    java: Path
    jars: Path
    classes: SharedClasses
    options: Sequence[str] = ()

    def broker(self, properties: Path, record: Path | None = None) -> list[str]:
        """Run Kafka with this `server.properties`; logs to standard output.

        `record`: a file to write the archive of classes to when Kafka stops.
        """
        sharing = self.classes.record(record) if record else self.classes.use()
        return [*self._common("-Xms128m", "-Xmx512m", *sharing), "kafka.Kafka", str(properties)]

    def format_storage(self, properties: Path, cluster_id: str, scram: Sequence[str] = ()) -> None:
        """Make the folder that `properties` names a node of the cluster; takes 0.7 s.

        `scram`: credentials of users, each `SCRAM-SHA-512=[name=...,...]`.

        Raises:
            SetupError: Kafka refused; with its own words.
        """
        command = [*self._common("-Xmx128m", *self.classes.use()), "kafka.tools.StorageTool", "format"]
        users = [word for credential in scram for word in ("--add-scram", credential)]
        try:
            answer = subprocess.run(  # noqa: S603  # Java as found, our own files
                [*command, "--cluster-id", cluster_id, "--config", str(properties), *users],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=_FORMAT_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise SetupError(
                f"Kafka did not format {properties.parent} within {_FORMAT_TIMEOUT_S} s"
            ) from None
        if answer.returncode != 0:
            raise SetupError(f"Kafka could not format {properties.parent}: {_cause(answer.stdout)}")

    def _common(self, *first: str) -> list[str]:
        return [
            str(self.java),
            *first,
            "-XX:+UseParallelGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.logFile=System.out",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
            "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
            *self.options,
            "-cp",
            f"{self.jars}/*",
        ]


def _cause(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "Exception" in line or "rror" in line]
    return (telling or lines or ["it said nothing"])[0][:400]
