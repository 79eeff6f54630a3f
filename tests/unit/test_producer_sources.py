"""What a --source means, and the settings around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens.errors import SettingsError
from riverlens.settings import load
from riverlens_producer.settings import ProducerSettings, gather_sources
from riverlens_producer.sources import SourceError, content_type, image_files
from riverlens_producer.synthetic import camera_ids, scene_number
from riverlens_producer.view import fit


def _load(*argv: str) -> ProducerSettings:
    return load(ProducerSettings, gather_sources(argv), prog="riverlens producer run")


@pytest.mark.parametrize(
    ("text", "camera_id", "path"),
    [
        ("clips/lobby.mp4", "lobby", "clips/lobby.mp4"),
        ("yard=clips/lobby.mp4", "yard", "clips/lobby.mp4"),
        ("photos/", "photos", "photos/"),
        ("./a=b/clip.mp4", "clip", "./a=b/clip.mp4"),
        ("Tür 2=x=y.mp4", "Tür 2", "x=y.mp4"),
        ("file:///clips/a.mp4", "a", "/clips/a.mp4"),
        ("door=rtsp://me:secret@10.0.0.5:554/s?x=y", "door", "rtsp://me:secret@10.0.0.5:554/s?x=y"),
        ("rtsp://me:secret@10.0.0.5/cam/1?u=me", "10.0.0.5-cam-1", "rtsp://me:secret@10.0.0.5/cam/1?u=me"),
        ("/dev/video0", "video0", "/dev/video0"),
    ],
)
def test_a_source_names_its_camera_or_its_place_does(text: str, camera_id: str, path: str) -> None:
    """`CAMERA=WHERE` names the camera; else the file's name does, or host and path, and nothing secret."""
    (camera,) = _load("--source", text).listed_cameras()
    assert (camera.id, camera.url) == (camera_id, path)


def test_two_sources_of_one_camera_are_refused() -> None:
    """Two files that would share a camera's key are a mistake; the message shows the way out."""
    with pytest.raises(SettingsError, match=r"both be camera 'clip'.*--source CAMERA=PATH"):
        _load("--source", "a/clip.mp4", "--source", "b/clip.avi").listed_cameras()


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", None),
        (b"\x00\x00\x00\x1cftypavif", "image/avif"),
        (b"\x00\x00\x00\x1cftypisom", None),
        (b"GIF89a", "image/gif"),
        (b"", None),
    ],
)
def test_first_bytes_tell_images_from_the_rest(head: bytes, mime: str | None) -> None:
    """Images are known by their first bytes; an AVI is no WebP and an MP4 no AVIF."""
    assert content_type(head) == mime


def test_a_folders_images_come_in_the_order_people_expect(tmp_path: Path) -> None:
    """Frame 2 comes before frame 10, and other files are left out."""
    for name in ("f10.jpg", "f2.JPG", "f1.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in image_files(tmp_path)] == ["f1.png", "f2.JPG", "f10.jpg"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    """The message says what the folder holds instead."""
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(SourceError, match="holds no images, but 1 other files"):
        image_files(tmp_path)


def test_several_sources_may_hold_commas_and_brackets() -> None:
    """Each --source is one path, whatever characters it has."""
    assert _load("--source", "a, b.mp4", "--source=[1].mp4").source == ("a, b.mp4", "[1].mp4")


def test_short_flags_are_the_settings_they_stand_for() -> None:
    """--duration, --max-speed and --topic are spelt out before the settings are read."""
    settings = _load("--synthetic", "--duration", "5", "--max-speed", "--topic", "t")
    assert (settings.duration_s, settings.fps, settings.frames_topic) == (5.0, 0.0, "t")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ((), "source: nothing to send: give --source WHERE, --cameras-file FILE or --synthetic"),
        (("--source", "x", "--cameras", "3"), "--cameras counts synthetic cameras"),
        (("--synthetic", "--size", "640"), "size: must be WIDTHxHEIGHT"),
        (("--synthetic", "--quality", "0"), "quality: .*--quality or RIVERLENS_QUALITY"),
        (("--synthetic", "--fps", "-1"), "fps: "),
    ],
)
def test_a_wrong_setting_is_named(argv: tuple[str, ...], line: str) -> None:
    """Each wrong field has a line with the flag that sets it."""
    with pytest.raises(SettingsError, match=line):
        _load(*argv)


def test_the_environment_gives_one_path_or_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """RIVERLENS_SOURCE is a path, or several as JSON."""
    monkeypatch.setenv("RIVERLENS_SOURCE", "a,b.mp4")
    assert _load().source == ("a,b.mp4",)
    monkeypatch.setenv("RIVERLENS_SOURCE", '["a", "b"]')
    assert _load().source == ("a", "b")


@pytest.mark.parametrize(
    ("size", "limit", "fitted"),
    [
        ((1920, 1080), None, (1920, 1080)),
        ((1920, 1080), (640, 480), (640, 360)),
        ((320, 240), (640, 480), (320, 240)),
        ((100, 3000), (640, 480), (16, 480)),
        ((1, 5000), (16, 16), (1, 16)),
    ],
)
def test_pictures_shrink_into_the_size_and_keep_their_shape(
    size: tuple[int, int], limit: tuple[int, int] | None, fitted: tuple[int, int]
) -> None:
    """A picture fits inside the limit, is never enlarged, and keeps at least one pixel a side."""
    assert fit(*size, limit) == fitted


def test_synthetic_cameras_and_their_scenes_are_told_by_name_and_sequence() -> None:
    """The demo finds a frame's truth from its camera id and sequence alone."""
    assert camera_ids(3) == ["camera-1", "camera-2", "camera-3"]
    assert [scene_number(sequence, 32) for sequence in (0, 31, 32, 65)] == [0, 31, 0, 1]
