"""Cameras in the network, on a real broker: cut off, stalled, refused, locked; always the same bytes."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import simplejpeg
import trustme

from riverlens.kafka import KafkaSettings
from riverlens_producer.cameras import read_cameras
from riverlens_producer.failures import Cause, LinkError
from riverlens_producer.probe import probe
from riverlens_producer.run import ProducerRun
from riverlens_producer.settings import ProducerSettings
from tests.conftest import TopicSet
from tests.harness.mjpeg_camera import PASSWORD, USER, MjpegCamera, number_of, picture
from tests.harness.waiting import wait_for
from tests.integration.producer_help import read_all, start_command

_RESUME_S = 10.0


@pytest.fixture
async def camera() -> AsyncIterator[MjpegCamera]:
    """A camera of 25 frames a second."""
    async with MjpegCamera() as running:
        yield running


@asynccontextmanager
async def _running(kafka: KafkaSettings, topic: str, **settings: Any) -> AsyncIterator[ProducerRun]:
    """A producer in this process, from its first acknowledged frame on; stopped at the end."""
    run = ProducerRun(ProducerSettings(kafka=kafka, frames_topic=topic, progress="off", **settings))
    running = asyncio.create_task(run.run())
    try:
        yield run
    finally:
        run.stop()
        await running


async def _until(condition: Callable[[], bool], timeout_s: float = 60) -> float:
    """Seconds until the condition holds."""
    start_s = time.monotonic()

    async def ask() -> bool:
        return condition()

    await wait_for(ask, what="the camera's frames", timeout_s=timeout_s)
    return time.monotonic() - start_s


def _acknowledged(run: ProducerRun, camera: str = "door") -> int:
    row = run.counts.get(camera)
    return 0 if row is None else row.acknowledged


async def _more(run: ProducerRun, frames: int = 5) -> float:
    goal = _acknowledged(run) + frames
    return await _until(lambda: _acknowledged(run) >= goal)


async def _refused(run: ProducerRun) -> None:
    reconnects = run.stats["door"].reconnects
    goal = reconnects[Cause.UNREACHABLE] + 1
    await _until(lambda: reconnects[Cause.UNREACHABLE] >= goal)


async def test_a_camera_that_is_cut_off_comes_back(
    kafka: KafkaSettings, topic_set: TopicSet, camera: MjpegCamera
) -> None:
    """Twice cut and restored: frames resume within 10 s, byte for byte as the camera sent them, in order."""
    async with _running(kafka, topic_set.frames, source=(f"door={camera.url}/stream",)) as run:
        await _more(run)
        for _ in range(2):
            await camera.cut()
            await _refused(run)
            await camera.restore()
            assert await _more(run, 1) < _RESUME_S
            await _more(run)
        assert run.stats["door"].reconnects.total() >= 4
    frames = (await read_all(kafka, topic_set.frames))["door"]
    numbers = [number_of(frame.image) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert all(frame.image == picture(number) for frame, number in zip(frames, numbers, strict=True))
    assert [frame.sequence for frame in frames] == sorted({frame.sequence or 0 for frame in frames})


async def test_the_stop_waits_for_no_camera(kafka: KafkaSettings, topic_set: TopicSet) -> None:
    """SIGTERM while three that never answer are being connected, with 100 s left for it: exit code 0."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        where = f"://127.0.0.1:{silent.getsockname()[1]}/s"
        process = await start_command(
            "--bootstrap-servers", kafka.bootstrap_servers, "--topic", topic_set.frames,
            "--connect-s", "100", "--stall-s", "100", "--progress", "off",
            "--source", f"a=rtsp{where}", "--source", f"b=http{where}", "--source", f"c=tcp{where}",
        )  # fmt: skip
        async with AsyncExitStack() as stack, asyncio.timeout(60):
            for _ in range(3):
                connection, _ = await asyncio.get_running_loop().sock_accept(silent)
                stack.callback(connection.close)
            process.terminate()
            _, err = await process.communicate()
    assert process.returncode == 0, err.decode()


async def test_a_camera_that_falls_silent_is_connected_anew(
    kafka: KafkaSettings, topic_set: TopicSet, camera: MjpegCamera
) -> None:
    """An open connection without frames is given up after stall_s."""
    source = (f"door={camera.url}/stream",)
    async with _running(kafka, topic_set.frames, source=source, stall_s=0.5) as run:
        await _more(run)
        camera.awake.clear()
        await _until(lambda: run.stats["door"].reconnects[Cause.STALLED] > 0)
        camera.awake.set()
        assert await _more(run, 1) < _RESUME_S


@pytest.mark.parametrize(("path", "scheme"), [("basic", "Basic"), ("digest", "Digest")])
async def test_a_login_is_given_as_it_is_asked_for(
    kafka: KafkaSettings, topic_set: TopicSet, camera: MjpegCamera, path: str, scheme: str
) -> None:
    """Basic or Digest, whatever characters the password has; never Basic where Digest is asked for."""
    where = f"door=http://{USER}:{PASSWORD}@127.0.0.1:{camera.port}/{path}"
    async with _running(kafka, topic_set.frames, source=(where,)) as run:
        await _more(run)
    assert {text for text in camera.requests if not text.startswith("/")} == {"", scheme}


async def test_no_secret_is_told(
    kafka: KafkaSettings, topic_set: TopicSet, camera: MjpegCamera, caplog: pytest.LogCaptureFixture
) -> None:
    """Logs, metrics and frames hold neither user nor password nor a query, whatever fails."""
    caplog.set_level(logging.DEBUG)
    login = "jane:hushhush"
    sources = (
        f"page=http://{login}@127.0.0.1:{camera.port}/page?key=hushhush",
        f"locked=http://{login}@127.0.0.1:{camera.port}/basic?key=hushhush",
        f"gone=http://{login}@127.0.0.1:1/stream?key=hushhush",
        f"none=rtsp://{login}@127.0.0.1:1/stream?key=hushhush",
        f"odd=nope://{login}@127.0.0.1/stream?key=hushhush",
        f"lost=http://{login}@127.0.0.1:{camera.port}/nowhere?key=hushhush",
        f"door=http://{login}@127.0.0.1:{camera.port}/stream?key=hushhush",
    )
    async with _running(kafka, topic_set.frames, source=sources, admin_port=0) as run:
        others = ("page", "locked", "gone", "none", "odd", "lost")
        await _until(lambda: bool(run.stats) and all(run.stats[name].reconnects for name in others))
        await _more(run)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{run.admin_port}/metrics") as answer,
        ):
            metrics = await answer.text()
        causes = {name: next(iter(run.stats[name].reconnects)).value for name in others}
    assert causes == {
        "page": "unreadable", "locked": "denied", "gone": "unreachable", "none": "unreachable",
        "odd": "unreadable", "lost": "missing",
    }  # fmt: skip
    frames = await read_all(kafka, topic_set.frames)
    assert "hushhush" not in caplog.text + metrics + repr(frames)
    assert "jane" not in caplog.text + metrics + repr(frames)
    assert 'riverlens_producer_camera_up{camera="door"} 1.0' in metrics
    assert 'riverlens_producer_camera_up{camera="locked"} 0.0' in metrics


async def test_snapshots_are_polled_at_the_rate(
    kafka: KafkaSettings, topic_set: TopicSet, camera: MjpegCamera
) -> None:
    """Ten a second are asked for and sent, no more, byte for byte."""
    source = (f"door={camera.url}/snapshot",)
    start_s = time.monotonic()
    async with _running(kafka, topic_set.frames, source=source, fps=10.0) as run:
        await _until(lambda: _acknowledged(run) >= 10)
    took_s = time.monotonic() - start_s
    frames = (await read_all(kafka, topic_set.frames))["door"]
    assert all(frame.image == picture(number_of(frame.image)) for frame in frames)
    assert len(frames) <= 10 * took_s + 2


async def test_a_rate_a_size_and_a_region_are_kept(
    kafka: KafkaSettings, topic_set: TopicSet, camera: MjpegCamera
) -> None:
    """Of 25 frames a second of 64x48 five go out, each the right half at half its size."""
    fields = {"fps": 5.0, "size": "16x24", "region": "0.5,0,1,1"}
    start_s = time.monotonic()
    async with _running(kafka, topic_set.frames, source=(f"door={camera.url}/odd",), **fields) as run:
        await _until(lambda: _acknowledged(run) >= 6)
    took_s = time.monotonic() - start_s
    frames = (await read_all(kafka, topic_set.frames))["door"]
    assert 6 <= len(frames) <= 5 * took_s + 2
    assert {simplejpeg.decode_jpeg_header(frame.image)[:2] for frame in frames} == {(24, 16)}


@pytest.mark.parametrize(
    ("fields", "trusted"), [("tls_cafile = '{ca}'", True), ("verify_tls = false", True), ("", False)]
)
async def test_https_is_trusted_where_told(tmp_path: Path, fields: str, *, trusted: bool) -> None:
    """A certificate counts if its authority is named, or if none is asked for; else the line says so."""
    authority, tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with MjpegCamera(tls=tls) as camera:
        text = f'[[camera]]\nid = "door"\nurl = "{camera.url}/stream"\n'
        (tmp_path / "c.toml").write_text(text + fields.format(ca=tmp_path / "ca.pem"))
        (door,) = read_cameras(tmp_path / "c.toml", {})
        if trusted:
            assert (await probe(door, 0.2)).offer.passes
        else:
            with pytest.raises(
                LinkError, match="its certificate is not trusted: set tls_cafile, or verify_tls"
            ):
                await probe(door, 0.2)


@pytest.mark.parametrize(("clock", "own"), [("camera", True), ("arrival", False)])
async def test_the_cameras_own_time_counts_where_it_is_plausible(
    kafka: KafkaSettings, topic_set: TopicSet, camera: MjpegCamera, clock: str, *, own: bool
) -> None:
    """A part's X-Timestamp two seconds ago is the capture time, unless arrival is asked for."""
    told_s = time.time() - 2
    camera.headers = {"X-Timestamp": f"{told_s:.3f}"}
    source = (f"door={camera.url}/stream",)
    async with _running(kafka, topic_set.frames, source=source, clock=clock, frames=3) as run:
        await _until(lambda: _acknowledged(run) >= 3)
    frames = (await read_all(kafka, topic_set.frames))["door"]
    assert {frame.captured_at_ms == round(told_s * 1000) for frame in frames} == {own}


async def test_a_pinned_camera_has_its_partition_alone(
    kafka: KafkaSettings, topic_set: TopicSet, camera: MjpegCamera, tmp_path: Path
) -> None:
    """Of two cameras whose keys share a partition one is pinned there, and the other leaves it."""
    text = f'[defaults]\nurl = "{camera.url}/stream"\nfps = 10\n'
    text += '[[camera]]\nid = "a"\npartition = 2\n' + "".join(f'[[camera]]\nid = "c{n}"\n' for n in range(6))
    (tmp_path / "cameras.toml").write_text(text)
    file = {"cameras_file": tmp_path / "cameras.toml", "frames": 2}
    async with _running(kafka, topic_set.frames, **file) as run:
        await _until(
            lambda: len(run.counts) == 7 and all(row.acknowledged == 2 for row in run.counts.values())
        )
    homes = await _homes(kafka, topic_set.frames)
    assert homes["a"] == {2}
    assert all(2 not in found for name, found in homes.items() if name != "a")


async def _homes(kafka: KafkaSettings, topic: str) -> dict[str, set[int]]:
    from aiokafka import AIOKafkaConsumer  # noqa: PLC0415  # for this one question

    homes: dict[str, set[int]] = {}
    consumer = AIOKafkaConsumer(topic, **kafka.client_options(), auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    homes.setdefault(record.key.decode(), set()).add(tp.partition)
    finally:
        await consumer.stop()
    return homes
