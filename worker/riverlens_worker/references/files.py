"""Reads a file below an allowed folder, and nothing else.

The path is walked from the folder's own descriptor, one segment at a time, and no symbolic link is
followed: what was checked is what is read, even while somebody renames folders. The prefix itself is the
operator's word and may contain links.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import PurePosixPath

from riverlens_worker.reference_uri import Location
from riverlens_worker.references.failures import FetchError, TransientFetchError

_CHUNK_BYTES = 1024 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO that took the file's place after the look at it must not hold us; a terminal must not adopt us.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TRANSIENT = frozenset({errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE})


def read_file(prefix: Location, location: Location, limit_bytes: int, until_s: float) -> bytes:
    """The whole of a regular file of at most `limit_bytes`; blocks, until `until_s` (monotonic) at most.

    Raises:
        FetchError: not there, not ours to read, no regular file, a link in its path, too large, too slow.
        TransientFetchError: the file system failed in a way that may pass.
    """
    below = location.segments[len(prefix.segments) :]
    if below:
        base, names = prefix.file_path, below
    else:
        base, names = str(PurePosixPath(location.file_path).parent), location.segments[-1:]
    try:
        return _read_below(base, names, limit_bytes, until_s)
    except OSError as error:
        if error.errno in _TRANSIENT:
            raise TransientFetchError(os.strerror(error.errno or 0)) from None
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise FetchError("its path leads over a symbolic link or a file, which is not followed") from None
        raise FetchError(os.strerror(error.errno or 0)) from None


def _read_below(base: str, names: Sequence[str], limit_bytes: int, until_s: float) -> bytes:
    if not names or not names[-1]:
        raise FetchError("a folder, not a file")
    folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            inner = os.open(name, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Looked at before it is opened: to open a device may already do something.
        _check(os.stat(names[-1], dir_fd=folder, follow_symlinks=False), limit_bytes)
        file = os.open(names[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    with FileIO(file) as opened:
        _check(os.fstat(file), limit_bytes)
        return _read(opened, limit_bytes, until_s)


def _check(found: os.stat_result, limit_bytes: int) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise FetchError("a symbolic link, which is not followed")
    if stat.S_ISDIR(found.st_mode):
        raise FetchError("a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise FetchError("not a regular file")
    if found.st_size > limit_bytes:
        raise FetchError(f"{found.st_size} bytes; max_frame_bytes is {limit_bytes}")


def _read(file: FileIO, limit_bytes: int, until_s: float) -> bytes:
    """All of it, held to the limit while reading: a file may grow, and some lie about their size."""
    chunks: list[bytes] = []
    left = limit_bytes + 1
    while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
        chunks.append(chunk)
        left -= len(chunk)
        if time.monotonic() > until_s:
            raise FetchError("reading it takes longer than reference_timeout_ms")
    if left <= 0:
        raise FetchError(f"more than {limit_bytes} bytes (max_frame_bytes)")
    return b"".join(chunks)
