"""What is known of each camera before it is opened: from flags, and from a cameras.toml."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from riverlens.errors import SettingsError
from riverlens.frame_buffer import WhenFull
from riverlens_producer.address import Address, complaint, read_address
from riverlens_producer.pictures import Look
from riverlens_producer.sources import Showing
from riverlens_producer.view import parse_region, parse_size

Transport = Literal["tcp", "udp", "udp_multicast", "http"]
Clock = Literal["camera", "arrival"]

_NAMED = re.compile(r"([^=/\\]+)=(.+)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _checked_where(text: str) -> str:
    if wrong := complaint(text):
        raise ValueError(wrong)
    address = read_address(text)
    return address.bare.removeprefix("file://") if address and address.scheme == "file" else text


def _checked_size(text: str) -> str:
    parse_size(text)
    return text


def _checked_region(text: str) -> str:
    parse_region(text)
    return text


Where = Annotated[str, AfterValidator(_checked_where)]
"""An address or a path; of a `file://` its path remains."""
Size = Annotated[str, AfterValidator(_checked_size)]
"""WIDTHxHEIGHT in pixels."""
RegionText = Annotated[str, AfterValidator(_checked_region)]
"""As `parse_region` reads it."""


class Camera(BaseModel):
    """One camera: a table `[[camera]]` of cameras.toml, or a `--source`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str = Field(min_length=1, max_length=500)
    """The frames' key."""
    url: Where = Field(min_length=1, repr=False)
    """An address, or the path of a file, a folder or a video device."""
    username: str | None = Field(default=None, repr=False)
    """User at the camera; wins over the one in the address."""
    password: SecretStr | None = None
    """Password of that user."""
    enabled: bool = True
    """False: left out."""

    fps: float | None = Field(default=None, ge=0, le=1000)
    """Frames a second at most; unset: all, of images 10 and of snapshots 1; 0: no limit."""
    size: Size | None = None
    """WIDTHxHEIGHT to scale down into."""
    region: RegionText | None = None
    """The part that is sent: X1,Y1,X2,Y2 in parts of the picture, or WIDTHxHEIGHT+LEFT+TOP in pixels."""
    quality: int | None = Field(default=None, ge=1, le=100)
    """JPEG quality of what is encoded here; unset: 80, and JPEGs of the camera go out as they are."""
    partition: int | None = Field(default=None, ge=0)
    """A partition of the frames topic for this camera alone; unset: the one of its key."""
    when_full: Literal["auto", WhenFull] = "auto"
    """When Kafka is slow: auto: drop_oldest for what is live, block for files."""
    loop: bool = False
    """Start again where a file or folder ends."""

    transport: Transport = "tcp"
    """How RTSP brings the pictures."""
    connect_s: float = Field(default=10, gt=0, le=300)
    """Longest wait for a connection's first frame."""
    stall_s: float = Field(default=5, gt=0, le=300)
    """Longest wait for the next frame before the connection is made anew."""
    reconnect_max_s: float = Field(default=3, gt=0, le=3600)
    """Longest wait between two tries."""
    clock: Clock = "camera"
    """Capture time: the camera's where it tells one within 10 s of ours, or always that of arrival."""
    keyframes_only: bool = False
    """Decode the video's key frames and nothing else: a frame a second or two, at little CPU."""
    verify_tls: bool = True
    """False: take any certificate; many cameras sign their own."""
    tls_cafile: FilePath | None = None
    """PEM file with the authority that signed the camera's certificate."""
    format: str | None = None
    """FFmpeg's name of the input format, where it cannot be told from the data (v4l2, mpegts)."""
    options: dict[str, str] = Field(default_factory=dict, repr=False)
    """Further options for FFmpeg, as in `ffmpeg -h demuxer=rtsp`."""

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if self.password is not None and (self.address is None or self.address.username is None):
            raise ValueError("password: set username, too, and an address to use them at")
        return self

    @property
    def address(self) -> Address | None:
        """Where it is in the network; None for files and devices."""
        secret = self.password.get_secret_value() if self.password else None
        return read_address(self.url, self.username, secret)

    @property
    def silence_s(self) -> float:
        """How long its connection may bring no byte: connecting may take longer than a stall is."""
        return max(self.connect_s, self.stall_s)

    @property
    def path(self) -> Path:
        """Where it is on this machine, if it has no address."""
        return Path(self.url)

    @property
    def shown(self) -> str:
        """What it is called in logs and errors; holds no secret."""
        address = self.address
        return str(self.path) if address is None else address.shown

    @property
    def look(self) -> Look:
        """What is changed in each picture."""
        return Look(
            parse_size(self.size) if self.size else None,
            self.quality,
            parse_region(self.region) if self.region else None,
        )

    @property
    def showing(self) -> Showing:
        """How files are shown."""
        return Showing(self.fps, self.loop, self.look)


def from_flags(texts: Iterable[str], common: Mapping[str, Any]) -> list[Camera]:
    """Read `WHERE` or `CAMERA=WHERE`; a path alone names its camera after the file, an address by its host.

    `common`: fields that all of them share.

    Raises:
        SettingsError: a line for everything that is wrong.
    """
    cameras, lines = [], []
    for number, text in enumerate(texts, 1):
        try:
            cameras.append(_from_flag(text, common))
        except ValidationError as error:
            lines += [f"source {number}: {_explain(one)}" for one in error.errors()]
    if lines:
        raise SettingsError("\n".join(lines))
    return cameras


def named(text: str) -> tuple[str | None, str]:
    """`CAMERA=WHERE` as its parts, or None and the whole text."""
    match = _NAMED.fullmatch(text)
    return (match[1], match[2]) if match else (None, text)


def _from_flag(text: str, common: Mapping[str, Any]) -> Camera:
    camera_id, where = named(text)
    camera = Camera(**{**common, "id": camera_id or "camera", "url": where})
    if camera_id is not None:
        return camera
    address, path = camera.address, camera.path
    own = address.camera_id if address else path.stem or path.resolve().name
    return camera.model_copy(update={"id": own}) if own else camera


def read_cameras(
    path: Path, common: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> list[Camera]:
    """The cameras of a cameras.toml: `[[camera]]` tables over `[defaults]` over `common`.

    `${NAME}` in any text stands for the environment's variable of that name.

    Raises:
        SettingsError: a line for everything that is wrong; none holds an address or a password.
    """
    tables = _read_toml(path)
    lines: list[str] = []
    expand = _Expansion(environment)
    defaults = expand(tables.pop("defaults", {}))
    entries = tables.pop("camera", [])
    lines += [f"[{name}] means nothing here; cameras are [[camera]] tables" for name in tables]
    if not _are_tables(entries) or not entries or not isinstance(defaults, dict):
        lines.append('no [[camera]] table: write [[camera]], id = "lobby", url = "rtsp://..." on three lines')
        entries = []
    cameras = []
    for number, entry in enumerate(entries, 1):
        name = f"camera {entry.get('id', number)!r}"
        try:
            cameras.append(Camera(**{**common, **defaults, **expand(entry)}))
        except ValidationError as error:
            lines += [f"{name}: {_explain(one)}" for one in error.errors()]
    lines += [f"no variable {name} in the environment" for name in sorted(expand.missing)]
    if lines:
        raise SettingsError("\n".join(f"{path}: {line}" for line in lines))
    return [camera for camera in cameras if camera.enabled]


def _are_tables(entries: object) -> bool:
    return isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)


def no_clash(cameras: Iterable[Camera]) -> None:
    """See that each camera has a name of its own.

    Raises:
        SettingsError: two have the same.
    """
    seen: dict[str, Camera] = {}
    for camera in cameras:
        other = seen.setdefault(camera.id, camera)
        if other is not camera:
            raise SettingsError(
                f"source: {other.shown} and {camera.shown} would both be camera {camera.id!r}; name them: "
                "--source CAMERA=PATH, or another id in the cameras file"
            )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; see --cameras-file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None


class _Expansion:
    """Puts the environment's variables into texts, and remembers those that are not there."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.missing: set[str] = set()
        self._environment = environment

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return _VARIABLE.sub(self._one, value)
        if isinstance(value, Mapping):
            return {name: self(inner) for name, inner in value.items()}
        return value

    def _one(self, match: re.Match[str]) -> str:
        if match[1] not in self._environment:
            self.missing.add(match[1])
        return self._environment.get(match[1], "")


def _explain(wrong: ErrorDetails) -> str:
    name = ".".join(str(part) for part in wrong["loc"])
    message = wrong["msg"].removeprefix("Value error, ")
    if wrong["type"] == "extra_forbidden":
        meant = get_close_matches(name, Camera.model_fields, n=1)
        return f"{name}: no such setting" + (f", perhaps {meant[0]}" if meant else "")
    # Under a mistyped name, too, there may be a password: only what surely is none is shown.
    harmless = name in {"fps", "size", "region", "quality", "partition", "transport", "when_full", "clock"}
    if not name:
        return message  # a rule over several fields: its text names them
    return f"{name}: {message}" + (f" (given: {wrong.get('input')!r})" if harmless else "")
