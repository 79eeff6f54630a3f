"""Wait for a state of the world outside this process, which can only be asked again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_ASK_AGAIN_S = 0.02


async def wait_for(ask: Callable[[], Awaitable[T]], *, what: str, timeout_s: float = 60.0) -> T:
    """Ask until the answer is true, and return it; fails with `what` after `timeout_s`.

    The last question is asked after that time: a machine that stood still meanwhile fails nothing.
    """
    give_up_s = time.monotonic() + timeout_s
    while True:
        last = time.monotonic() >= give_up_s
        if answer := await ask():
            return answer
        assert not last, f"waited {timeout_s:.0f} s in vain: {what}"
        await asyncio.sleep(_ASK_AGAIN_S)
