"""Wait for a state of the world outside this process, which can only be asked again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_ASK_AGAIN_S = 0.02


async def wait_for(ask: Callable[[], Awaitable[T]], *, what: str, timeout_s: float = 30.0) -> T:
    """Ask until the answer is true, and return it; fails with `what` after `timeout_s`."""
    give_up_s = time.monotonic() + timeout_s
    while not (answer := await ask()):
        assert time.monotonic() < give_up_s, f"waited {timeout_s:.0f} s in vain: {what}"
        await asyncio.sleep(_ASK_AGAIN_S)
    return answer
