"""All model servers: which one is asked next, which ones are not, and when those are asked again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from riverlens.errors import RiverlensError
from riverlens.signature import SignatureSpec
from riverlens_worker.channel import Signal
from riverlens_worker.endpoint_load import EndpointLoad, next_due_s, order
from riverlens_worker.endpoints.endpoint import CallFailedError, Endpoint
from riverlens_worker.endpoints.resolve import Resolve, Resolver, system_addresses
from riverlens_worker.endpoints.tls import Tls
from riverlens_worker.errors import BACKOFFS, Action
from riverlens_worker.metrics import Metrics
from riverlens_worker.servers import parse_servers
from riverlens_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_PROBE_S = 0.25
_RESOLVE_S = 5.0
_TOLD_EVERY_S = 5.0
_WATCH_S = 1.0
_SLOW_S = 5.0
_SLOW_TIMES = 5.0
Waiting = Callable[[str], None]


class Endpoints:
    """The model servers of the setting `server`. Writer: Predictor.

    Each owns its connection, its calls under way and what its device costs. One that is away, hangs or
    swaps versions is left out until it says AVAILABLE; names are looked up again every few seconds.

    Attributes:
        changed: fires when a call is over, a server comes up or is left out.
        comings: how often a server came up or was left out; a mere count of those up may be as before.
    """

    def __init__(
        self, settings: WorkerSettings, metrics: Metrics, resolve: Resolve = system_addresses
    ) -> None:
        """`resolve` looks up names of `dns:///`.

        Raises:
            SettingsError: a file of the server_* settings cannot be used.
        """
        self.changed, self.comings = Signal(), 0
        self._settings = settings
        self._metrics = metrics
        self._tls = Tls.of(settings)
        self._resolver = Resolver(parse_servers(settings.server), resolve)
        self._all: dict[str, Endpoint] = {}
        self._leaving: set[Endpoint] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._waiting: Waiting = _nobody
        self._told_s = float("-inf")
        if not self._resolver.looks_up:
            self._set(self._resolver.known())

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(tuple(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    @property
    def up(self) -> list[Endpoint]:
        """Those that may be asked."""
        return [endpoint for endpoint in self._all.values() if endpoint.up]

    @property
    def loads(self) -> list[EndpointLoad]:
        """Calls, costs and limits of those that may be asked."""
        return [endpoint.load for endpoint in self.up]

    def rows_per_s(self, rows: int) -> float | None:
        """What all that are up can do together in calls of `rows` rows; None while unknown."""
        return sum(endpoint.load.rows_per_s(rows) or 0.0 for endpoint in self.up) or None

    def choose(
        self, rows: int, *, avoid: str = "", among: Iterable[Endpoint] | None = None
    ) -> Endpoint | None:
        """The server with room that would answer `rows` rows first; None where none has room now.

        The one named `avoid` is taken only where no other is up.
        """
        now_s = time.monotonic()
        found = self.up if among is None else list(among)
        others = [endpoint for endpoint in found if endpoint.server != avoid] or found
        found = [endpoint for endpoint in others if endpoint.load.has_room(now_s)]
        if len(found) < 2:  # noqa: PLR2004  # nothing to choose
            return found[0] if found else None
        return found[order([endpoint.load for endpoint in found], rows, now_s)[0]]

    def resumes_s(self, now_s: float) -> float:
        """When the first pause of a server that is up ends; infinity where none pauses."""
        return min((load.resumes_s for load in self.loads if load.resumes_s > now_s), default=float("inf"))

    def due_s(self, *, full: bool) -> float:
        """When the next batch should be taken; infinity while only an answer can tell."""
        return next_due_s(self.loads, time.monotonic(), full=full)

    def eject(self, endpoint: Endpoint, why: str) -> None:
        """Leave a server out until it says AVAILABLE; harmless where it is left out already."""
        if not endpoint.up:
            return
        endpoint.up = False
        endpoint.why = why
        endpoint.ejections += 1
        endpoint.load.gone(time.monotonic())
        self._metrics.endpoint_up(endpoint.server).set(0)
        self._metrics.endpoint_ejections(endpoint.server).inc()
        logger.warning("model server %s is left out for now: %s", endpoint.server, why)
        self._tell()
        self._came()
        if self._tasks is not None:
            self._tasks.create_task(self._bring_back(endpoint))

    async def wait_available(self, waiting: Waiting) -> None:
        """Wait until one server has the model AVAILABLE, telling `waiting` why not.

        Raises:
            RiverlensError: no server can ever answer: none knows the model, or TLS does not fit.
        """
        self._waiting = waiting
        while True:
            await self._look_up()
            found = await asyncio.gather(*(self._probe(endpoint) for endpoint in self._all.values()))
            if self.up:
                return
            fatal = [error for error in found if error is not None]
            if fatal and len(fatal) == len(found):
                raise fatal[0]
            self._tell()
            await asyncio.sleep(_PROBE_S)

    async def keep(self, waiting: Waiting) -> None:
        """Bring back what is left out, follow names, watch for servers that hang; until cancelled."""
        self._waiting = waiting
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = group
                for endpoint in self._all.values():
                    if not endpoint.up:
                        group.create_task(self._bring_back(endpoint))
                if self._resolver.looks_up:
                    group.create_task(self._follow_names())
                group.create_task(self._watch())
        finally:
            self._tasks = None

    async def predict(self, request: Any, timeout_s: float) -> Any:
        """One Predict call to any server that is up.

        Raises:
            CallFailedError: any status but OK.
        """
        return await self._any().predict(request, timeout_s)

    async def signatures(self) -> dict[str, SignatureSpec]:
        """The model's signatures, by any server that is up.

        Raises:
            CallFailedError: any status but OK.
        """
        return await self._any().signatures()

    async def close(self) -> None:
        """End all connections."""
        endpoints = [*self._all.values(), *self._leaving]
        await asyncio.gather(*(endpoint.close() for endpoint in endpoints))

    def _any(self) -> Endpoint:
        endpoints = self.up or list(self._all.values())
        if not endpoints:
            raise CallFailedError("UNAVAILABLE", f"{self._settings.server} has no address")
        return endpoints[0]

    async def _probe(self, endpoint: Endpoint) -> RiverlensError | None:
        """Ask whether it may be asked; returns what makes that impossible for good."""
        try:
            why = await endpoint.why_not_available()
        except RiverlensError as error:
            if endpoint.why != str(error):
                logger.error("%s", error)  # noqa: TRY400  # a line for a person, no traceback
            endpoint.why = str(error)
            return error
        endpoint.why = why or ""
        if why is None and not endpoint.up and endpoint in self._all.values():
            endpoint.up = True
            self._metrics.endpoint_up(endpoint.server).set(1)
            self._came()
        return None

    def _came(self) -> None:
        self.comings += 1
        self.changed.fire()

    async def _bring_back(self, endpoint: Endpoint) -> None:
        """Ask a server that was left out until it may be asked again."""
        # One that says AVAILABLE and then fails every call is given ever longer.
        if endpoint.ejections > 1:
            chance = random.random()  # noqa: S311  # jitter, not a secret
            await asyncio.sleep(BACKOFFS[Action.AWAY].delay_s(endpoint.ejections - 1, chance))
        while endpoint in self._all.values():
            await self._probe(endpoint)
            if endpoint.up:
                logger.info("model server %s is back", endpoint.server)
                self._tell()
                return
            self._tell()
            await asyncio.sleep(_PROBE_S)

    def _tell(self) -> None:
        """Say why the model server keeps us waiting; nothing ("") while one is up."""
        why = "" if self.up else "; ".join(e.why for e in self._all.values()) or self._resolver.why
        self._waiting(why)
        now_s = time.monotonic()
        if why and now_s - self._told_s > _TOLD_EVERY_S:
            self._told_s = now_s
            logger.warning("waiting for the model server: %s", why)

    async def _follow_names(self) -> None:
        while True:
            await asyncio.sleep(_RESOLVE_S)
            await self._look_up()

    async def _look_up(self) -> None:
        if self._resolver.looks_up:
            self._set(await self._resolver.addresses())

    def _set(self, addresses: dict[str, str]) -> None:
        """Have one endpoint for each address; those that are gone finish what they have under way."""
        for address, name in addresses.items():
            if address not in self._all:
                self._add(address, name)
        for address in self._all.keys() - addresses.keys():
            endpoint = self._all.pop(address)
            endpoint.up = False
            self._leaving.add(endpoint)
            self._came()
            self._metrics.forget_endpoint(address)
            logger.info("model server %s is no longer one of %s", address, self._settings.server)
            if self._tasks is not None:
                self._tasks.create_task(self._part_from(endpoint))

    def _add(self, address: str, name: str) -> None:
        settings = self._settings
        timed, spread = settings.dispatch == "just-in-time", random.random()  # noqa: S311  # not a secret
        load = EndpointLoad(settings.max_in_flight_calls, timed=timed, spread=spread)
        endpoint = Endpoint(address, settings.model, self._tls, load=load, name=name)
        self._all[address] = endpoint
        self._metrics.endpoint_up(address).set(0)
        if self._tasks is not None:
            self._tasks.create_task(self._bring_back(endpoint))

    async def _part_from(self, endpoint: Endpoint) -> None:
        await self.changed.until(lambda: not endpoint.load.calls)
        await endpoint.close()
        self._leaving.discard(endpoint)

    async def _watch(self) -> None:
        """Find servers that hang: calls far over their time, and GetModelStatus unanswered too."""
        while True:
            await asyncio.sleep(_WATCH_S)
            for endpoint in self.up:
                if _overdue(endpoint, time.monotonic()) and not await _answers(endpoint):
                    self.eject(endpoint, f"{endpoint.server} does not answer at all")
            for endpoint in self if self.up else ():
                if not endpoint.up and _overdue(endpoint, time.monotonic()):
                    endpoint.give_up_calls()


def _overdue(endpoint: Endpoint, now_s: float) -> bool:
    load = endpoint.load
    if not load.calls:
        return False
    since_s = max(load.calls[0].started_s, load.passed_s)
    usual_s = load.seconds(load.calls[0].rows) or 0.0
    return now_s - since_s > _SLOW_S + _SLOW_TIMES * usual_s


async def _answers(endpoint: Endpoint) -> bool:
    try:
        await endpoint.versions(_SLOW_S)
    except CallFailedError as error:
        # Any other status is an answer.
        return error.code not in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    return True


def _nobody(_: str) -> None:
    """Nobody waits yet."""
