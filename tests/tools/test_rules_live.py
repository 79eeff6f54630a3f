"""Rules and dashboards on a running pipeline: alerts fire by their cause, and every query gives numbers.

Prometheus runs our rules with short waits and windows, made from the real files.
"""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from riverlens.times import to_rfc3339
from tests.dashboard_queries import DASHBOARDS, alerts, queries, rules
from tests.line import Line, Record
from tests.prometheus_server import RATE_INTERVAL, Prometheus, all_numbers, hurried, wait_until

pytestmark = [pytest.mark.tools, pytest.mark.timeout(600)]

WITHIN_S = 120
_THRESHOLD = re.compile(r"\s+(==|!=|<|>)\s+[\d.]+$")
# An encoded model, so that some frames are encoded again; every camera of `drip` has what it needs.
_WORKER = (
    "--signature=encoded_image_string",
    "--room-frames=16",
    "--max-batch-size=8",
    "--freshness=late=max_age:2s",
)


def _image(form: str) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((320, 240), 64).convert("RGB").save(out, form)
    return out.getvalue()


def _odd_frames(picture_uri: str) -> list[Record]:
    """A frame of a camera whose clock is behind, one to encode again, one that is a reference."""
    now_ms = int(time.time() * 1000)
    behind = [("captured-at", to_rfc3339(now_ms - 5_000).encode())]
    reference = [("content-type", b"text/uri-list")]
    return [
        Record(_image("JPEG"), b"late", now_ms, behind),
        Record(_image("BMP"), b"bitmap", now_ms),
        Record(picture_uri.encode(), b"reference", now_ms, reference),
    ]


class Drip:
    """Sends odd frames, a few each second, until closed."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        uri = (self._line.folder / "picture.jpg").as_uri()
        while not self._stop.wait(0.3):
            self._line.send_all(_odd_frames(uri))

    def close(self) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A whole line: model server, one worker, two slow cameras."""
    with Line(tmp_path_factory.mktemp("line")) as running:
        running.start_server()
        _start_worker(running)
        running.start_cameras("few", 2, "--fps=3")
        running.wait_ready()
        yield running


@contextmanager
def _served(folder: Path) -> Iterator[int]:
    """An HTTP server of a folder, as a camera that gives snapshots; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing of each request."""


def _start_worker(line: Line) -> None:
    prefix = f"--reference-prefixes={line.folder.as_uri()}"
    line.start_worker("worker", *_WORKER, prefix, admin_port=line.admin_port)


@pytest.fixture(scope="module")
def prometheus(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with our rules that scrapes the worker and the model server."""
    with Prometheus(line.targets, tmp_path_factory.mktemp("prometheus")) as running:
        yield running


def _firing(prometheus: Prometheus) -> set[str]:
    found = prometheus.query('ALERTS{alertstate="firing"}')
    return {dict(labels)["alertname"].removeprefix("Riverlens") for labels in found}


def _bottleneck(prometheus: Prometheus) -> set[float]:
    return set(prometheus.query("riverlens:bottleneck").values())


def _follow(prometheus: Prometheus, alert: str, bottleneck: int | None) -> float:
    """Seconds until the alert fires and the bottleneck is told; fails after two minutes."""
    began_s = time.monotonic()

    def followed() -> bool:
        return alert in _firing(prometheus) and (
            bottleneck is None or _bottleneck(prometheus) == {bottleneck}
        )

    wait_until(followed, f"{alert}, bottleneck {bottleneck}", WITHIN_S)
    return time.monotonic() - began_s


def _wait_ordinary(prometheus: Prometheus) -> None:
    """Until no alert fires and nothing holds frames up."""

    def ordinary() -> bool:
        return not _firing(prometheus) - {"CameraSilent"} and _bottleneck(prometheus) == {0}

    try:
        wait_until(ordinary, "ordinary times", 180)
    except AssertionError:
        pytest.fail(f"no ordinary times: {_firing(prometheus)}, bottleneck {_bottleneck(prometheus)}")


def _too_many(line: Line) -> None:
    line.start_cameras("many", 6, "--fps=0", "--frames=1500")


def _no_more(line: Line) -> None:
    """What waits on Kafka would take minutes."""
    line.stop("many")
    line.forget_frames()


def _not_images(line: Line) -> None:
    line.send_all([Record(b"this is no image", b"odd")] * 20)


CAUSES: dict[str, tuple[Callable[[Line], None], str, int | None, Callable[[Line], None] | None]] = {
    "frames that are no images": (_not_images, "DeadLetters", None, None),
    "the worker is killed": (lambda line: line.kill("worker"), "NoWorker", 2, _start_worker),
    "the model server goes": (
        lambda line: line.stop("server"), "ModelServerAway", 1, lambda line: line.start_server(),
    ),
    "more frames than the model server takes": (
        _too_many, "AddModelServers", 7, _no_more,
    ),
    "the cameras stop": (
        lambda line: line.stop("few"), "NoFrames", 4, lambda line: line.start_cameras("few", 2, "--fps=3"),
    ),
    "Kafka goes": (lambda line: line.broker.kill(1), "KafkaErrors", 3, lambda line: line.broker.start(1)),
}  # fmt: skip  # a cause a line or two


@pytest.mark.parametrize("cause", CAUSES)
def test_an_alert_fires_by_its_cause(cause: str, line: Line, prometheus: Prometheus) -> None:
    """Soon after the cause the alert fires and the bottleneck is told; mended, both end."""
    act, alert, bottleneck, mend = CAUSES[cause]
    _wait_ordinary(prometheus)
    act(line)
    took_s = _follow(prometheus, alert, bottleneck)
    if mend:
        mend(line)
    print(f"{cause}: {alert} after {took_s:.0f} s")  # noqa: T201  # the figure
    _wait_ordinary(prometheus)


def _asked() -> dict[str, str]:
    """Every expression, in a hurry: panels, recording rules, and alerts without their thresholds."""
    asked = {query.name: query.filled_in(RATE_INTERVAL) for board in DASHBOARDS for query in queries(board)}
    asked |= {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    asked |= {alert["alert"]: _THRESHOLD.sub("", alert["expr"].strip()) for alert in alerts()}
    return {name: hurried(expression) for name, expression in asked.items()}


def test_every_expression_gives_numbers(line: Line, prometheus: Prometheus) -> None:
    """With frames of every kind flowing, each expression has series, and each series is a number."""
    line.stop("server")
    _follow(prometheus, "ModelServerAway", 1)
    line.start_server()
    drip = Drip(line)
    waiting = _asked()
    try:
        with _served(line.folder) as port:
            line.start_live_camera("snapshots", f"http://127.0.0.1:{port}/picture.jpg")
            wait_until(
                lambda: not _without_numbers(prometheus, waiting), "numbers from every expression", 180
            )
    except AssertionError:
        pytest.fail(f"without numbers: {sorted(waiting)}\n{line.log('worker')[-2000:]}")
    finally:
        drip.close()
    print(f"{len(_asked())} expressions give numbers")  # noqa: T201  # the figure


def _without_numbers(prometheus: Prometheus, waiting: dict[str, str]) -> dict[str, str]:
    """Ask those that have not given numbers yet; what has, leaves `waiting`."""
    for name, expression in list(waiting.items()):
        if all_numbers(prometheus.query(expression)):
            del waiting[name]
    return waiting
