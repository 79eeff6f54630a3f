"""References fetched from real files and a real HTTPS server, good, hostile and slow."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from riverlens.errors import SettingsError
from riverlens_worker.reference_uri import AllowList
from riverlens_worker.references.failures import FetchError
from riverlens_worker.references.fetcher import Fetcher, FetchLimits
from tests.harness.image_server import ImageServer, image_server
from tests.harness.images import jpeg

IMAGE = jpeg()
LIMIT = 100_000
Fetch = Callable[[str], Any]


@dataclass
class Fetching:
    """A fetcher and what it counts."""

    fetcher: Fetcher
    allowed: AllowList
    retries: list[None]

    async def __call__(self, uri: str) -> bytes:
        """Decide and fetch."""
        return await self.fetcher.get(*self.allowed.decide(uri.encode()))


def _fetching(*prefixes: str, timeout_s: float = 30.0, ca_file: Path | None = None) -> Fetching:
    allowed, retries = AllowList(prefixes), list[None]()
    limits = FetchLimits(LIMIT, timeout_s, None if ca_file is None else str(ca_file))
    return Fetching(Fetcher(allowed, limits, lambda: retries.append(None)), allowed, retries)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ImageServer]:
    """A server with a certificate of its own authority."""
    async with image_server(tmp_path, IMAGE) as running:
        yield running


@pytest.fixture
async def web(server: ImageServer) -> AsyncIterator[Fetching]:
    """A fetcher that may ask that server and trusts its authority."""
    fetching = _fetching(server.origin, timeout_s=30.0, ca_file=server.ca_file)
    yield fetching
    await fetching.fetcher.close()


async def test_an_image_is_fetched_as_it_is(server: ImageServer, web: Fetching) -> None:
    """The path and query go out as they were written; no cookies, no encodings are asked for."""
    assert await web(f"{server.origin}/ok/%7Ea%20b.jpg?sig=%2F%3d+1&x=/..") == IMAGE
    assert server.asked == ["/ok/%7Ea%20b.jpg?sig=%2F%3d+1&x=/.."]
    assert server.headers[0]["Accept-Encoding"] == "identity"
    assert "Authorization" not in server.headers[0]


HOSTILE = {
    "status/404": "HTTP status 404",
    "status/403": "HTTP status 403",
    "status/204": "HTTP status 204",
    "redirect": "HTTP status 302: redirects are not followed",
    "redirect/https://127.0.0.1/": "redirects are not followed",
    "gzip": "it comes encoded (gzip)",
    "long": "1000000000000 bytes; max_frame_bytes is 100000",
    "endless": "more than 100000 bytes (max_frame_bytes)",
}


@pytest.mark.parametrize(("path", "why"), HOSTILE.items())
async def test_a_hostile_answer_is_refused_at_once(
    server: ImageServer, web: Fetching, path: str, why: str
) -> None:
    """One request, one clear line with the place and the reason, and no more memory than the limit."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FetchError) as failed:
        await web(f"{server.origin}/{path}?secret=1")
    assert why in str(failed.value)
    assert str(failed.value).startswith(f"{server.origin}/{path}?...: ")
    assert "secret" not in str(failed.value)
    assert len(server.asked) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 40_000


async def test_a_server_that_comes_back_is_asked_again(server: ImageServer, web: Fetching) -> None:
    """Two failures, then the image: fetched within one timeout."""
    assert await web(f"{server.origin}/flaky/2") == IMAGE
    assert (len(server.asked), len(web.retries)) == (3, 2)


@pytest.mark.parametrize(("path", "why"), [("status/500", "status 500"), ("short", "broke in the middle")])
async def test_a_server_that_stays_bad_is_given_up(
    server: ImageServer, web: Fetching, path: str, why: str
) -> None:
    """Four tries with pauses between them, then one line that says so."""
    with pytest.raises(FetchError, match=rf"{why}.*\(4 tries in [0-9.]+ s\)"):
        await web(f"{server.origin}/{path}")
    assert len(server.asked) == 4


@pytest.mark.parametrize("path", ["stuck", "drip"])
async def test_a_slow_answer_is_given_up_in_time(server: ImageServer, path: str) -> None:
    """The timeout covers the whole fetch: bytes that trickle in do not prolong it."""
    web = _fetching(server.origin, timeout_s=2.0, ca_file=server.ca_file)
    started_s = time.monotonic()
    with pytest.raises(FetchError, match=r"nothing within reference_timeout_ms \(2000\)"):
        await web(f"{server.origin}/{path}")
    await web.fetcher.close()
    assert 1.9 < time.monotonic() - started_s < 20


async def test_nobody_at_the_port_is_given_up() -> None:
    """A refused connection is tried again, then told."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        web = _fetching(f"https://127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(FetchError, match=r"the connection failed: .*\(4 tries"):
            await web(f"https://127.0.0.1:{bound.getsockname()[1]}/a")
        await web.fetcher.close()


async def test_a_certificate_of_an_unknown_authority_is_refused(server: ImageServer) -> None:
    """The detail names the setting that would make it known; nothing is asked."""
    web = _fetching(server.origin)
    with pytest.raises(FetchError, match="reference_ca_file"):
        await web(f"{server.origin}/ok")
    await web.fetcher.close()
    assert server.asked == []


async def test_a_certificate_for_another_name_is_refused(server: ImageServer) -> None:
    """The same server by its address: its certificate names localhost alone."""
    origin = server.origin.replace("localhost", "127.0.0.1")
    web = _fetching(origin, ca_file=server.ca_file)
    with pytest.raises(FetchError, match="certificate is not trusted"):
        await web(f"{origin}/ok")
    await web.fetcher.close()


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_ca_file_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path, content: bytes | None) -> None:
    """One line when the worker starts, not a dead letter for each frame."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="reference_ca_file"):
        _fetching("https://a.example", ca_file=file)


async def test_a_name_that_leads_to_this_machine_is_refused(
    server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of the allow-list that suddenly resolves to loopback is not asked."""
    loop = asyncio.get_running_loop()
    port = int(server.origin.rpartition(":")[2])

    async def inward(host: str, *_: Any, **__: Any) -> Any:
        assert host == "images.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", inward)
    web = _fetching(f"https://images.example:{port}", ca_file=server.ca_file)
    with pytest.raises(FetchError, match="leads to this machine"):
        await web(f"https://images.example:{port}/ok")
    await web.fetcher.close()
    assert server.asked == []


@pytest.fixture
def cams(tmp_path: Path) -> Path:
    """An allowed folder, `cams`, with everything in it that a hostile writer could put there."""
    folder = tmp_path / "cams"
    (folder / "yard").mkdir(parents=True)
    (folder / "yard" / "a b.jpg").write_bytes(IMAGE)
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(tmp_path / "secret")
    (folder / "inner.jpg").symlink_to(folder / "yard" / "a b.jpg")
    (folder / "up").symlink_to(tmp_path)
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "large.jpg").write_bytes(bytes(LIMIT + 1))
    (folder / "fits.jpg").write_bytes(bytes(LIMIT))
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
    return folder


FILES = {
    "missing.jpg": "No such file",
    "link.jpg": "symbolic link",
    "inner.jpg": "symbolic link",
    "up/secret": "symbolic link",
    "zero": "symbolic link",
    "yard": "a folder",
    "yard/": "a folder",
    "": "a folder",
    "fifo": "not a regular file",
    "socket": "not a regular file",
    "large.jpg": "100001 bytes; max_frame_bytes is 100000",
    "yard/a%20b.jpg/x": "symbolic link or a file",
}


@pytest.mark.parametrize(("path", "why"), FILES.items())
async def test_what_is_no_plain_file_inside_is_refused(cams: Path, path: str, why: str) -> None:
    """Links, folders, pipes, devices and large files are told apart before they are opened; nothing hangs."""
    files = _fetching(f"file://{cams}")
    started_s = time.monotonic()
    with pytest.raises(FetchError, match=why):
        await files(f"file://{cams}/{path}")
    assert time.monotonic() - started_s < 15


async def test_files_inside_are_fetched(cams: Path) -> None:
    """Names are percent-decoded; a prefix may itself be a link, or name one file."""
    assert await _fetching(f"file://{cams}")(f"file://{cams}/yard/a%20b.jpg") == IMAGE
    assert len(await _fetching(f"file://{cams}/fits.jpg")(f"file://{cams}/fits.jpg")) == LIMIT
    by_link = f"file://{cams}/up/cams"
    assert await _fetching(by_link)(f"{by_link}/yard/a%20b.jpg") == IMAGE
    assert await _fetching("file:///")(f"file://{cams}/yard/a%20b.jpg") == IMAGE


async def test_a_file_that_lies_about_its_size_is_held_to_the_limit() -> None:
    """A file of the kernel says 0 bytes and gives more: reading stops at the limit."""
    files = _fetching("file:///proc")
    with pytest.raises(FetchError, match=r"more than 100000 bytes|Permission denied"):
        await files("file:///proc/kallsyms")


async def test_a_folder_swapped_for_a_link_leads_nowhere(cams: Path, tmp_path: Path) -> None:
    """While a folder is exchanged for a link to the outside again and again, no read ever leaves."""
    files = _fetching(f"file://{cams}")
    yard, aside, outside = cams / "yard", cams / "aside", tmp_path / "outside"
    outside.mkdir()
    (outside / "a b.jpg").write_bytes(b"secret")
    link = cams / "bait"
    link.symlink_to(outside)
    seen = set()

    def swap() -> None:
        for _ in range(300):
            yard.rename(aside)
            link.rename(yard)
            yard.rename(link)
            aside.rename(yard)

    swapping = asyncio.create_task(asyncio.to_thread(swap))
    while not swapping.done():
        try:
            seen.add(await files(f"file://{yard}/a%20b.jpg"))
        except FetchError as error:
            seen.add(str(error).rpartition(": ")[2].encode())
    await swapping
    assert b"secret" not in seen
    assert IMAGE in seen
