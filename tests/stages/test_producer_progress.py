"""The producer's progress as it is shown: lines and the moving table, on a console of this process."""

from __future__ import annotations

import asyncio
import contextlib
import io

import pytest
from rich.console import Console

from riverlens_producer import progress
from riverlens_producer.progress import Progress, ProgressMode
from riverlens_producer.summary import CameraCounts, Meter
from tests.harness.waiting import wait_for

NAMES = ["[/]", "[red]gate[/red]"]


@pytest.mark.parametrize("mode", ["plain", "live"])
async def test_any_camera_is_shown_by_its_name(mode: ProgressMode, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rich would take for markup stands there as it is, and ends no progress."""
    monkeypatch.setattr(progress, "_PLAIN_S", 0.01)
    monkeypatch.setattr(progress, "_LIVE_S", 0.01)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=mode == "live", color_system=None, width=120)
    meter = Meter({name: CameraCounts(acknowledged=7) for name in NAMES})
    showing = asyncio.create_task(
        Progress(meter, mode, console=console, down=lambda: NAMES).show(frames=None, duration_s=None)
    )

    async def shown() -> bool:
        return showing.done() or all(screen.getvalue().count(name) > 1 for name in NAMES)

    await wait_for(shown, what="the names, twice")
    assert not showing.done()
    showing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await showing
