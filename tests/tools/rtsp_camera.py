"""The RTSP camera of rtsp_server.py as a process that can be cut off, frozen and restored."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Self

import pytest

from riverlens.broker.ports import free_ports

PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-ugly"
)
_SERVER = Path(__file__).with_name("rtsp_server.py")


class RtspCamera:
    """A camera at `url`; its paths are /h264 and /mjpeg.

    Args:
        login: user and password, asked for by Digest; and a certificate's PEM file, for TLS.
    """

    def __init__(self, *login: str) -> None:
        self.scheme = "rtsps" if len(login) > 2 else "rtsp"  # user, password and certificate
        # Free to listen on again after each cut: see free_ports.
        (self.port,) = free_ports(1)
        self._login = login
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Without login and path."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def restore(self) -> None:
        """Start the server; returns when it listens."""
        self._process = await asyncio.create_subprocess_exec(
            "/usr/bin/python3", str(_SERVER), str(self.port), *self._login,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        if await self._process.stdout.readline() != b"listening\n":
            _, said = await self._process.communicate()
            pytest.fail(f"no RTSP server: apt-get install -y {PACKAGES}\n{said.decode()}")

    async def cut(self) -> None:
        """Kill it."""
        if self._process is None:
            return
        ended = self._process.returncode
        if ended is None:
            self._process.kill()
        _, said = await self._process.communicate()
        self._process = None
        assert ended is None, f"the RTSP server ended by itself with {ended}: {said.decode()}"

    def freeze(self) -> None:
        """Its connections stay open and silent."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
