"""Gets what a reference names: a few tries within one timeout."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from riverlens.errors import SettingsError
from riverlens_worker.backoff import Backoff
from riverlens_worker.reference_uri import AllowList, Location
from riverlens_worker.references.failures import FetchError, TransientFetchError
from riverlens_worker.references.files import read_file

if TYPE_CHECKING:
    from riverlens_worker.references.https import Https

_MOST_TRIES = 4
_MOST_HANGING = 32


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """The most that one fetch may take.

    Attributes:
        nbytes: of the body.
        timeout_s: all tries together, with the pauses between them.
        ca_file: PEM file of private authorities, or None.
    """

    nbytes: int
    timeout_s: float
    ca_file: str | None = None


class Fetcher:
    """Fetches from allowed places. Owns the HTTPS session, opened by the first fetch that needs it."""

    def __init__(self, allowed: AllowList, limits: FetchLimits, retried: Callable[[], None]) -> None:
        """Raises SettingsError where the CA file cannot be used."""
        self._limits = limits
        self._retried = retried
        self._backoff = Backoff(first_ms=100, limit_ms=1_000)
        self._tls = tls_context(limits.ca_file) if allowed.uses_tls else None
        self._https: Https | None = None
        self._hanging = 0

    async def get(self, prefix: Location, location: Location) -> bytes:
        """The bytes of an allowed place.

        Raises:
            FetchError: with one line for a person, which names the place.
        """
        started_s = time.monotonic()
        tried, last = 0, ""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                while True:
                    tried += 1
                    try:
                        return await self._try(prefix, location, started_s)
                    except TransientFetchError as error:
                        last = str(error)
                        if tried == _MOST_TRIES:
                            break
                    self._retried()
                    # Not for secrets: jitter against many workers asking at once.
                    await asyncio.sleep(self._backoff.delay_s(tried, random.random()))  # noqa: S311  # jitter
        except FetchError as error:
            raise FetchError(f"{location}: {error}") from None
        except TimeoutError:
            limit_ms = round(self._limits.timeout_s * 1000)
            last = f"nothing within reference_timeout_ms ({limit_ms})" + (f"; {last}" if last else "")
        spent_s = time.monotonic() - started_s
        raise FetchError(f"{location}: {last} ({tried} tries in {spent_s:.1f} s)")

    async def close(self) -> None:
        """Close the session. Reads of files that hang are left to end with the process."""
        if self._https is not None:
            await self._https.close()
            self._https = None

    async def _try(self, prefix: Location, location: Location, started_s: float) -> bytes:
        if location.scheme != "file":
            return await self._session().get(location, self._limits.nbytes)
        until_s = started_s + self._limits.timeout_s
        return await self._in_thread(lambda: read_file(prefix, location, self._limits.nbytes, until_s))

    def _session(self) -> Https:
        if self._https is None:
            from riverlens_worker.references.https import Https  # noqa: PLC0415  # files need no HTTP client

            self._https = Https(self._tls)
        return self._https

    async def _in_thread(self, read: Callable[[], bytes]) -> bytes:
        """Run a blocking read on a thread that may be left behind: a dead network drive holds it for ever."""
        if self._hanging >= _MOST_HANGING:
            raise TransientFetchError(f"{self._hanging} reads of files hang; is a network drive away?")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bytes] = loop.create_future()

        def settle(image: bytes, error: Exception | None) -> None:
            self._hanging -= 1
            if done.cancelled():
                return
            if error is None:
                done.set_result(image)
            else:
                done.set_exception(error)

        def work() -> None:
            image, failure = b"", None
            try:
                image = read()
            except Exception as error:  # noqa: BLE001  # raised again where it is awaited
                failure = error
            # The loop may have closed: then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, image, failure)

        self._hanging += 1
        threading.Thread(target=work, name="reference", daemon=True).start()
        return await done


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trusts the system's authorities and, in addition, those of a PEM file.

    Raises:
        SettingsError: the file cannot be used.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # an SSLError is one
            raise SettingsError(
                f"reference_ca_file: {ca_file!r} cannot be used: {error.strerror or error}"
            ) from None
    return context
