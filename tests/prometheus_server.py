"""Debian's Prometheus as a child process of a test, with our configuration and rules, in a hurry."""

from __future__ import annotations

import json
import math
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode
from urllib.request import urlopen

from riverlens.broker.ports import free_ports
from tests.dashboard_queries import ROOT, RULES
from tests.debian_tools import tool

LOCAL_CONFIG = ROOT / "dashboards" / "prometheus" / "local.yml"
RATE_INTERVAL = "5s"
"""What `$__rate_interval` stands for here: several of our scrapes."""
_POLL_S = 0.2
_WAITS = re.compile(r"^(\s+for:) \w+$", re.MULTILINE)
_HURRY = {"[1m]": "[10s]", "[5m]": "[15s]", "[15m]": "[15s]", "[6h]": "[1m]"}

Labels = frozenset[tuple[str, str]]
Vector = Mapping[Labels, float]


def wait_until(condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    """Block until `condition()` holds, else fail saying `what` was waited for."""
    until_s = time.monotonic() + within_s
    while True:
        late = time.monotonic() >= until_s
        if condition():
            return
        assert not late, f"waited {within_s:.0f} s in vain for {what}"
        threading.Event().wait(_POLL_S)


def hurried(rules: str) -> str:
    """The text of a rules file with short waits and windows: what fires in minutes fires in seconds."""
    for window, shorter in _HURRY.items():
        rules = rules.replace(window, shorter)
    return _WAITS.sub(r"\1 3s", rules)


class Prometheus:
    """Runs with `dashboards/prometheus/local.yml` and our rules, but for addresses and times.

    Args:
        targets: addresses to scrape instead of those of the configuration, by these.
        folder: where it keeps its data and its log.
    """

    def __init__(self, targets: Mapping[str, str], folder: Path) -> None:
        self._targets = dict(targets) | {"interval: 5s": "interval: 1s"}
        self._folder = folder
        self._address = f"127.0.0.1:{free_ports(1)[0]}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        path = self._configure()
        command = [
            tool("prometheus"),
            f"--config.file={path}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self._address}",
        ]
        log = self._folder / "prometheus.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until(self._ready, f"Prometheus; see {log}")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _configure(self) -> Path:
        config = LOCAL_CONFIG.read_text(encoding="utf-8")
        for ours, theirs in self._targets.items():
            assert ours in config
            config = config.replace(ours, theirs)
        rules = self._folder / "rules"
        rules.mkdir()
        for file in RULES:
            (rules / file.name).write_text(hurried(file.read_text(encoding="utf-8")), encoding="utf-8")
        path = self._folder / "prometheus.yml"
        path.write_text(config, encoding="utf-8")
        return path

    def query(self, expression: str) -> Vector:
        """The instant vector of an expression now, by labels (the metric's name left out)."""
        with urlopen(
            f"http://{self._address}/api/v1/query?{urlencode({'query': expression})}", timeout=30
        ) as reply:
            body = json.load(reply)
        assert body["status"] == "success", body
        assert body["data"]["resultType"] == "vector", expression
        return {
            frozenset((k, v) for k, v in series["metric"].items() if k != "__name__"): float(
                series["value"][1]
            )
            for series in body["data"]["result"]
        }

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "Prometheus ended"
        try:
            with urlopen(f"http://{self._address}/-/ready", timeout=10) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False  # it does not listen yet, or loads its data

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)


def all_numbers(vector: Vector) -> bool:
    """At least one series, and no NaN or infinity among them."""
    return bool(vector) and all(math.isfinite(value) for value in vector.values())


def total(vector: Vector, **labels: str) -> float:
    """Sum of the series that carry `labels`; 0.0 where there is none."""
    wanted = set(labels.items())
    return math.fsum(value for found, value in vector.items() if wanted <= found)
