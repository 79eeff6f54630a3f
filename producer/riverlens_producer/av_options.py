"""What FFmpeg is told of a camera, and what its answers mean."""

from __future__ import annotations

import errno
import ssl

import av
from av.container import InputContainer

from riverlens_producer.address import Address
from riverlens_producer.cameras import Camera
from riverlens_producer.failures import Cause, LinkError, of_status
from riverlens_producer.link import Offer

_RTSP = frozenset({"rtsp", "rtsps"})
_TLS = frozenset({"rtsps", "https", "rtmps"})
_AHEAD = frozenset({"hls", "dash"})
"""Formats whose frames come in bunches, ahead of their time."""
_STATUS = {av.HTTPUnauthorizedError: 401, av.HTTPForbiddenError: 403, av.HTTPNotFoundError: 404}
_NO_CONNECTION = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNRESET})
_KINDS = {
    "flv": "RTMP",
    "hls": "HLS",
    "mpegts": "MPEG-TS",
    "sdp": "RTP",
    "video4linux2": "video device",
}


def options_for(camera: Camera, address: Address | None) -> dict[str, str]:
    """Options for FFmpeg; the camera's own `options` win."""
    options: dict[str, str] = {}
    if address is not None:
        # Not FFmpeg's 5 s to find out what comes: a key frame tells all of it but the rate.
        options = {"analyzeduration": "1000000", "fpsprobesize": "0"}
    if address is not None and address.scheme in _RTSP:
        options |= {
            "rtsp_transport": camera.transport,
            "allowed_media_types": "video",
            "timeout": str(round(camera.silence_s * 1e6)),
        }
    if address is not None and address.scheme in _TLS:
        trusted = camera.tls_cafile or ssl.get_default_verify_paths().cafile
        options |= {"tls_verify": str(int(camera.verify_tls))}
        if camera.verify_tls and trusted:
            options["ca_file"] = str(trusted)
    if address is not None and address.scheme in {"http", "https", "tcp", "rtmp", "rtmps"}:
        options["rw_timeout"] = str(round(camera.silence_s * 1e6))
    return options | camera.options


def described(container: InputContainer, camera: Camera, address: Address | None, *, passes: bool) -> Offer:
    """What an opened container offers."""
    stream = container.streams.video[0]
    formats = container.format.name.split(",")
    known = (_KINDS[name] for name in formats if name in _KINDS)
    kind = next(known, container.format.name)
    if address is not None and address.scheme in _RTSP:
        kind = f"{address.scheme.upper()} over {camera.transport.upper().replace('_', ' ')}"
    rate = stream.average_rate or stream.guessed_rate
    codec = stream.codec_context
    return Offer(kind, codec.name, codec.width, codec.height, float(rate) if rate else None, passes)


def shown_late(container: InputContainer) -> bool:
    """Whether frames come faster than they were filmed, and have to be held back."""
    return bool(_AHEAD & set(container.format.name.split(","))) or container.duration is not None


def failure_of(error: Exception) -> LinkError:
    """What FFmpeg's error means. Its own text is left out where it names the address."""
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
    if status is not None:
        return of_status(status)
    if isinstance(error, av.ExitError | TimeoutError):
        return LinkError(Cause.STALLED, "nothing came in time")
    if isinstance(error, av.ProtocolNotFoundError):
        return LinkError(Cause.UNREADABLE, "the FFmpeg in PyAV has no such protocol")
    reason = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, av.InvalidDataError | ValueError | av.LookupError):
        return LinkError(Cause.UNREADABLE, f"FFmpeg cannot read it ({reason})")
    # FFmpeg says "Input/output error" of names that nobody resolves, and of much else.
    refused = isinstance(error, OSError) and error.errno in _NO_CONNECTION
    return LinkError(
        Cause.UNREACHABLE, f"{'no connection' if refused else 'no answer that FFmpeg understands'} ({reason})"
    )
