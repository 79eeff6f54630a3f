"""A cluster of one or three real Kafka brokers, as a context manager."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from riverlens.broker.cds import SharedClasses
from riverlens.broker.home import ClusterHome
from riverlens.broker.jars import ensure_jars
from riverlens.broker.java import find_java
from riverlens.broker.jvm import Jvm
from riverlens.broker.ports import LOOPBACK, NodePorts, choose_ports
from riverlens.broker.properties import PLAIN_LISTENER, server_properties, to_text
from riverlens.broker.ready import wait_until_ready
from riverlens.broker.security import BrokerSecurity
from riverlens.child import ChildProcess
from riverlens.errors import SetupError

_log = logging.getLogger(__name__)

_SIZES = (1, 3)
_BIND_TRIES = 3
_PORT_TAKEN = re.compile(r"Address already in use|BindException")
_ERROR = re.compile(r" ERROR |Exception: |Caused by: ")
_ERROR_LINES = 4
_TAIL_LINES = 8
_LOOK_BACK_LINES = 400
_STOP_GRACE_S = 15.0
_ARCHIVE = "classes.jsa"


class EmbeddedBroker:
    """Apache Kafka in KRaft mode on the loopback address, for as long as the `with` block runs.

    Entered with `with` (which runs its own event loop, so not inside one) or `async with`, it is ready:
    groups and transactions have their coordinators. However this process ends, the brokers end too.
    Nodes are numbered from 1. The methods on single nodes block (an async caller uses
    `asyncio.to_thread`) and belong to one thread at a time.

    Args:
        brokers: 1, or 3: then replication is 3 and min.insync.replicas 2.
        port: port of the first broker, the next ones follow, then those of `security`; None: free ones.
        data_dir: keeps the data; None means a temporary folder, removed at the end.
        security: TLS, logins, ACLs; `bootstrap_for("SASL_SSL")` is where a client that logs in goes.
        listeners: further listeners by security protocol, for `properties` of one's own.
        properties: Kafka server properties that win over ours, e.g. the key store of a listener.
        java_options: options of the JVM that win over ours.
        start_timeout_s: bound of each start.
    """

    def __init__(
        self,
        *,
        brokers: int = 1,
        port: int | None = None,
        data_dir: Path | None = None,
        security: BrokerSecurity | None = None,
        listeners: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
        java_options: Sequence[str] = (),
        start_timeout_s: float = 60.0,
    ) -> None:
        if brokers not in _SIZES:
            raise ValueError(f"brokers must be 1 or 3, not {brokers}")
        self._count = brokers
        self._port = port
        self._data_dir = data_dir
        self._security = security or BrokerSecurity()
        self._listeners = (PLAIN_LISTENER, *self._security.listeners, *listeners)
        self._properties = self._security.properties() | dict(properties or {})
        self._java_options = tuple(java_options)
        self._start_timeout_s = start_timeout_s
        self._home: ClusterHome | None = None
        self._ports: list[NodePorts] = []
        self._nodes: dict[int, ChildProcess] = {}
        self._paused: set[int] = set()
        self._recording: SharedClasses | None = None

    # -- what clients need

    @property
    def bootstrap_servers(self) -> str:
        """All brokers' plain listeners, "127.0.0.1:p1,127.0.0.1:p2"; the same after a restart of a node."""
        return self.bootstrap_for(PLAIN_LISTENER)

    def bootstrap_for(self, listener: str) -> str:
        """All brokers' addresses on one listener, e.g. "SSL"."""
        return ",".join(f"{LOOPBACK}:{ports.listeners[listener]}" for ports in self._ports)

    @property
    def running(self) -> list[int]:
        """The nodes whose process exists; paused ones count."""
        return [number for number, node in self._nodes.items() if node.running]

    def pid(self, node: int) -> int | None:
        """Process id of a node's JVM, as of its last start."""
        return self._nodes[node].pid

    def log(self, node: int) -> Path:
        """The file a node logs to."""
        return self._nodes[node].log

    # -- the whole cluster

    async def open(self) -> None:
        """Start all brokers and wait until they are ready.

        Raises:
            SetupError: Java or Maven is missing, a port is taken, or Kafka does not start; with the last
                lines of its log.
        """
        java = find_java()
        jars = await asyncio.to_thread(ensure_jars)
        classes = SharedClasses(java, jars)
        self._recording = classes if classes.missing else None
        jvm = Jvm(java, jars, classes, self._java_options)
        self._home = ClusterHome(self._count, self._data_dir)
        try:
            for attempt in range(1, _BIND_TRIES + 1):
                self._ports = choose_ports(self._count, self._listeners, self._port)
                await self._prepare(jvm, self._home)
                try:
                    await self._run_all()
                except _PortTakenError:
                    if attempt == _BIND_TRIES:
                        raise
                    _log.info("a port was taken before Kafka came to it; trying others")
                    self._end_all(grace_s=0)
                else:
                    return
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop all brokers. Temporary data is removed, so they are killed; kept data is closed well."""
        if self._home is None:
            return
        gently = self._recording is not None or not self._home.temporary
        try:
            self._end_all(grace_s=_STOP_GRACE_S if gently else 0)
            recorder = self._nodes.get(1)
            if self._recording is not None and recorder is not None and recorder.stopped_well:
                self._recording.keep(self._home.node(1) / _ARCHIVE)
        finally:
            self._home.close()
            self._home = None

    # -- single nodes, for tests of faults

    def kill(self, node: int) -> None:
        """SIGKILL; returns when the process is gone."""
        self._nodes[node].end(grace_s=0)
        self._paused.discard(node)

    def stop(self, node: int) -> None:
        """SIGTERM: a controlled shutdown that hands leadership over first; killed after 15 s."""
        self._nodes[node].end(grace_s=_STOP_GRACE_S)
        self._paused.discard(node)

    def pause(self, node: int) -> None:
        """SIGSTOP: its connections stay open and nothing answers."""
        self._nodes[node].signal("STOP")
        self._paused.add(node)

    def resume(self, node: int) -> None:
        """SIGCONT after `pause`."""
        self._nodes[node].signal("CONT")
        self._paused.discard(node)

    def start(self, node: int) -> None:
        """Start a killed or stopped node on its old ports and data; returns when it serves again.

        Raises:
            SetupError: as `open`.
        """
        self._nodes[node].start()
        asyncio.run(self._await_ready([node]))

    # -- within

    async def _prepare(self, jvm: Jvm, home: ClusterHome) -> None:
        """Write each node's properties and format its storage where that is still to be done."""
        formats: list[asyncio.Task[None]] = []
        users = self._security.scram_credentials(home.cluster_id.encode())
        home.keep_users(users)
        for number in range(1, self._count + 1):
            folder = home.node(number)
            path = folder / "server.properties"
            properties = server_properties(number, self._ports, folder / "data", self._properties)
            # Only its owner may read it: the users' passwords are in it.
            path.touch(mode=0o600)
            path.write_text(to_text(properties), encoding="latin-1", errors="backslashreplace")
            doomed = home.path if home.temporary else None
            record = folder / _ARCHIVE if number == 1 and self._recording else None
            command = jvm.broker(path, record)
            self._nodes[number] = ChildProcess(f"broker {number}", command, folder / "kafka.log", doomed)
            if not home.formatted(number):
                format_storage = asyncio.to_thread(jvm.format_storage, path, home.cluster_id, users)
                formats.append(asyncio.create_task(format_storage))
        try:
            await asyncio.gather(*formats)
        finally:
            # A thread cannot be cancelled: wait for it, or it writes into a folder that was removed.
            if formats:
                await asyncio.wait(formats)

    async def _run_all(self) -> None:
        for node in self._nodes.values():
            node.start()
        await self._await_ready(list(self._nodes))

    async def _await_ready(self, starting: Sequence[int]) -> None:
        awake = [number for number in self.running if number not in self._paused]
        ports = [self._ports[number - 1].listeners[PLAIN_LISTENER] for number in awake]
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await wait_until_ready(ports, lambda: self._check_alive(starting))
        except TimeoutError:
            slow = self._nodes[starting[0]]
            raise SetupError(
                _with_log(f"Kafka was not ready within {self._start_timeout_s:.0f} s", slow)
            ) from None

    def _check_alive(self, starting: Sequence[int]) -> None:
        for number in starting:
            node = self._nodes[number]
            if node.running:
                continue
            if _PORT_TAKEN.search("\n".join(node.log_tail(_LOOK_BACK_LINES))):
                raise _PortTakenError(_with_log(f"a port of Kafka's broker {number} is in use", node))
            raise SetupError(_with_log(f"Kafka's broker {number} ended while it started", node))

    def _end_all(self, *, grace_s: float) -> None:
        """Ask all first, then wait: three brokers that stop one after the other wait for lost majorities."""
        if grace_s > 0:
            for node in self._nodes.values():
                node.signal("CONT")
                node.signal("TERM")
        for node in self._nodes.values():
            node.end(grace_s=grace_s)
        self._paused.clear()

    def __enter__(self) -> Self:
        asyncio.run(self.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Shielded: the brokers must be gone, whatever becomes of this task.
        await asyncio.shield(asyncio.to_thread(self.close))


class _PortTakenError(SetupError):
    """Somebody else took a port between our choice and Kafka's start."""


def _with_log(what: str, node: ChildProcess) -> str:
    """Kafka says why and then closes a hundred things: its errors come first, then the last lines."""
    lines = node.log_tail(_LOOK_BACK_LINES)
    errors = [line for line in lines[:-_TAIL_LINES] if _ERROR.search(line)][:_ERROR_LINES]
    shown = "\n".join(f"  {line.strip()[:240]}" for line in [*errors, *lines[-_TAIL_LINES:]])
    where = "" if node.temporary else f" ({node.log})"
    return f"{what}; its log{where} has:\n{shown}"
