"""cameras.toml: a table a camera, defaults, the environment, and what is wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens.errors import SettingsError
from riverlens.settings import load
from riverlens_producer.cameras import Camera, from_flags, read_cameras
from riverlens_producer.settings import ProducerSettings, gather_sources

WHOLE = """
[defaults]
fps = 5
quality = 70

[[camera]]
id = "gate"
url = "rtsp://10.0.0.5/stream1"
username = "viewer"
password = "${GATE_PASSWORD}"
transport = "udp"
size = "1280x720"
region = "0,0.5,1,1"
partition = 0
stall_s = 3
options = { max_delay = "200000" }

[[camera]]
id = "yard"
url = "http://viewer:${GATE_PASSWORD}@10.0.0.6/video.mjpg"
fps = 2.5

[[camera]]
id = "spare"
url = "clips/"
enabled = false
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with everything in it."""
    path = tmp_path / "cameras.toml"
    path.write_text(WHOLE)
    return path


def test_a_table_over_the_defaults_over_the_flags(file: Path) -> None:
    """Each field is the camera's own, else the file's default, else that of the flags."""
    gate, yard = read_cameras(file, {"fps": 9.0, "connect_s": 4.0}, {"GATE_PASSWORD": "p@ss"})
    assert (gate.fps, gate.quality, gate.transport, gate.partition, gate.connect_s) == (5, 70, "udp", 0, 4.0)
    assert (yard.fps, yard.quality, yard.transport) == (2.5, 70, "tcp")
    assert gate.address is not None
    assert gate.address.whole == "rtsp://viewer:p%40ss@10.0.0.5/stream1"
    assert yard.address is not None
    assert (yard.address.password, yard.shown) == ("p@ss", "http://10.0.0.6/video.mjpg")
    assert not gate.look.as_is
    assert "p@ss" not in repr(gate) + repr(yard) + str(gate)


def test_the_flags_are_its_defaults(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file leaves out is as the producer's own settings say, beside other sources."""
    monkeypatch.setenv("GATE_PASSWORD", "x")
    argv = ["--cameras-file", str(file), "--source", "clip.mp4", "--connect-s", "7", "--loop"]
    cameras = load(ProducerSettings, gather_sources(argv), prog="riverlens producer run").listed_cameras()
    assert [(camera.id, camera.connect_s, camera.loop) for camera in cameras] == [
        ("clip", 7.0, True),
        ("gate", 7.0, True),
        ("yard", 7.0, True),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", r"no \[\[camera\]\] table"),
        ("[camera]\nid='a'\nurl='b'", r"no \[\[camera\]\] table"),
        ("[[camera]]\nid='a'", "camera 'a': url: Field required"),
        ("[[camera]]\nurl='b'", "camera 1: id: Field required"),
        ("[[camera]]\nid='a'\nurl='b'\nfsp=1", "camera 'a': fsp: no such setting, perhaps fps"),
        ("[[camera]]\nid='a'\nurl='b'\nfps=-1", r"camera 'a': fps: .*given: -1"),
        ("[[camera]]\nid='a'\nurl='b'\nregion='1'", "camera 'a': region: must be X1,Y1,X2,Y2"),
        ("[[camera]]\nid='a'\nurl='b'\ntransport='tpc'", "camera 'a': transport: .*'tcp', 'udp'"),
        ("[[camera]]\nid='a'\nurl='${NOPE}'", "no variable NOPE in the environment"),
        ("[[camera]]\nid='a'\nurl='rtsp://h/s'\npassword='hushhush'", "camera 'a': password: set username"),
        ("[cameras]\n[[camera]]\nid='a'\nurl='b'", r"\[cameras\] means nothing here"),
        ("[[camera]", "not TOML"),
        ("camera = ['a']", r"no \[\[camera\]\] table"),
        ("[[camera]]\nid='a'\nurl='http://h:x/s'", "camera 'a': url: must be http://HOST/... or HOST:PORT"),
        (
            "[[camera]]\nid='a'\nurl='rtsp:/me:pw@h'",
            "camera 'a': url: neither an address, SCHEME://HOST/..., nor",
        ),
        (
            "[[camera]]\nid='a'\nurl='https://h'\ntls_cafile='/nope'",
            "camera 'a': tls_cafile: Path does not point",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_camera(tmp_path: Path, text: str, line: str) -> None:
    """A line for each, with the file, the camera and the field."""
    path = tmp_path / "cameras.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=line):
        read_cameras(path, {}, {})


def test_two_cameras_of_one_name_are_refused(tmp_path: Path) -> None:
    """In one file or beside a flag: their frames could not be told apart."""
    path = tmp_path / "cameras.toml"
    path.write_text("".join(f'[[camera]]\nid = "gate"\nurl = "rtsp://me:hushhush@h/{n}"\n' for n in (1, 2)))
    for argv in (["--cameras-file", str(path)], ["--source", "a=1.mp4", "--source", "a=2.mp4"]):
        settings = load(ProducerSettings, gather_sources(argv), prog="riverlens producer run")
        with pytest.raises(SettingsError, match=r"would both be camera '(gate|a)'; name them: ") as error:
            settings.listed_cameras()
        assert "hushhush" not in str(error.value)


def test_a_file_by_its_address_is_a_file(tmp_path: Path) -> None:
    """file:///clip.mp4 is sent once, each frame of it, as --source does, not watched as a camera."""
    path = tmp_path / "cameras.toml"
    path.write_text('[[camera]]\nid = "a"\nurl = "file:///clips/clip.mp4"\n')
    (listed,) = read_cameras(path, {}, {})
    (given,) = from_flags(["file:///clips/clip.mp4"], {})
    assert listed.address is given.address is None
    assert listed.path == given.path == Path("/clips/clip.mp4")
    assert given.id == "clip"


def test_no_secret_is_in_a_complaint(tmp_path: Path) -> None:
    """Neither an address nor a password, not even under a mistyped name."""
    path = tmp_path / "cameras.toml"
    path.write_text(
        '[[camera]]\nid = "a"\nurl = 5\npasword = "hushhush"\nusername = 7\noptions = "hushhush"\n'
    )
    with pytest.raises(SettingsError) as error:
        read_cameras(path, {}, {})
    assert "hushhush" not in str(error.value)
    assert "perhaps password" in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With the flag that names it."""
    with pytest.raises(SettingsError, match=r"nope.toml: No such file or directory; see --cameras-file"):
        read_cameras(tmp_path / "nope.toml", {}, {})


def test_printed_settings_hold_no_login(capsys: pytest.CaptureFixture[str]) -> None:
    """--print-config is shown around: addresses stand there without user, password and query."""
    argv = [
        "--source",
        "door=rtsp://me:hushhush@10.0.0.5/s?key=hushhush",
        "--source",
        "a.mp4",
        "--source",
        "yard=rtsp:/me:hushhush@10.0.0.5/s",
        "--print-config",
    ]
    with pytest.raises(SystemExit):
        load(ProducerSettings, gather_sources(argv), prog="riverlens producer run")
    printed = capsys.readouterr().out
    assert "hushhush" not in printed
    assert "door=rtsp://10.0.0.5/s?..." in printed
    assert "a.mp4" in printed


def test_every_camera_field_has_its_text() -> None:
    """What docs/producers.md lists is told where it is declared."""
    assert all(field.description or name == "id" for name, field in Camera.model_fields.items())
