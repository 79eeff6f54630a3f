"""The admin port that workers and producers share, asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from riverlens.admin import Admin
from riverlens.errors import SetupError


class _Role:
    """A role with one count, that says itself what it waits for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.frames = Counter("frames", "Frames", registry=self.registry)
        self.waits_for = ""


@pytest.fixture
def role() -> _Role:
    """A role that is ready."""
    return _Role()


@pytest.fixture
async def page(role: _Role) -> AsyncIterator[aiohttp.ClientSession]:
    """Asks the role's admin port."""
    admin = Admin(role.registry, lambda: role.waits_for)
    port = await admin.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
    finally:
        await admin.close()


async def test_metrics_are_as_of_now(role: _Role, page: aiohttp.ClientSession) -> None:
    """Each answer has the present counts, under the content type that Prometheus knows."""
    for count in (1, 2):
        role.frames.inc()
        async with page.get("/metrics") as answer:
            assert answer.content_type == "text/plain"
            assert f"frames_total {count}.0" in await answer.text()


async def test_readiness_says_what_is_waited_for(role: _Role, page: aiohttp.ClientSession) -> None:
    """/readyz is 503 with the reason until there is none; /healthz is 200 all the time."""
    for why, status, text in (("starting", 503, "starting\n"), ("", 200, "ready\n")):
        role.waits_for = why
        async with page.get("/readyz") as ready, page.get("/healthz") as alive:
            assert (ready.status, await ready.text()) == (status, text)
            assert (alive.status, await alive.text()) == (200, "ok\n")


async def test_a_taken_port_is_one_clear_line(role: _Role, page: aiohttp.ClientSession) -> None:
    """Whoever comes second learns the address and the settings, and holds nothing that needs closing."""
    async with page.get("/healthz") as answer:
        taken = answer.url.port
    assert taken is not None
    second = Admin(role.registry, lambda: "")
    with pytest.raises(SetupError, match=rf"cannot listen on 127\.0\.0\.1:{taken} .*; see admin_host and"):
        await second.start("127.0.0.1", taken)


async def test_closed_it_listens_no_more(role: _Role) -> None:
    """The port is free again at once; closing what never listened is nothing."""
    first, second = Admin(role.registry, lambda: ""), Admin(role.registry, lambda: "")
    port = await first.start("127.0.0.1", 0)
    await first.close()
    assert await second.start("127.0.0.1", port) == port
    await second.close()
    await Admin(role.registry, lambda: "").close()
