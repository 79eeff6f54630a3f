"""The server's life: load the models, open the port, answer, drain.

The port opens only after every configured model has a version that answers, so a client that connects can
call.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc

from riverlens.errors import RiverlensError, SetupError
from riverlens_serving import loader
from riverlens_serving.batching import Batcher
from riverlens_serving.config import Listen, Model, ServerOptions
from riverlens_serving.keeper import Keeper
from riverlens_serving.registry import Registry
from riverlens_serving.services import Predict, handlers
from riverlens_serving.versions import State

_log = logging.getLogger(__name__)

_CHANNEL_OPTIONS = (
    # TensorFlow Serving's `SetMaxMessageSize(INT32_MAX)`; gRPC's own default refuses 4 MiB.
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.max_send_message_length", -1),
    # With it on, gRPC's default, two servers share one port without a word.
    ("grpc.so_reuseport", 0),
)
_STOP_CHECK_S = 0.1


class Server:
    """One model server. `start`, then `stop`; `stopping` ends a start that waits for models."""

    def __init__(self, options: ServerOptions, stopping: threading.Event) -> None:
        self._options = options
        self._stopping = stopping
        self._registry = Registry()
        self._batcher = Batcher(options.batching) if options.batching is not None else None
        load = partial(loader.load, options=options.load, batcher=self._batcher)
        self._keepers = [Keeper(model, self._registry, load, options.patience) for model in options.models]
        self._grpc: grpc.Server | None = None

    def start(self) -> int | None:
        """Load every model, then listen. Returns the port, or None where `stopping` was set first.

        Raises:
            RiverlensError: a model has no version that loads.
            SetupError: the port is taken.
        """
        for keeper in self._keepers:
            keeper.start()
        for model in self._options.models:
            if not self._wait_for(model):
                return None
        self._grpc, port = self._listen(self._options.listen)
        return port

    def _wait_for(self, model: Model) -> bool:
        """Block until a version answers. Waits while there is none to load, as TensorFlow Serving does."""
        while not self._registry.wait_until(lambda: self._is_decided(model.name), _STOP_CHECK_S):
            if self._stopping.is_set():
                return False
        failures = [s for s in self._registry.statuses(model.name) if s.state is State.END]
        if not self._is_available(model.name):
            reasons = "".join(
                f"{{{{name: {model.name} version: {s.version}}} due to error: {s.error}}}, " for s in failures
            )
            raise RiverlensError(
                f"Failed to start server. Error: UNKNOWN: {len(failures)} servable(s) did not become"
                f" available: {{{reasons}}}; tried"
                f" --max_num_load_retries={self._options.patience.max_retries} more times"
            )
        return True

    def _is_available(self, name: str) -> bool:
        return any(status.state is State.AVAILABLE for status in self._registry.statuses(name))

    def _is_decided(self, name: str) -> bool:
        states = {status.state for status in self._registry.statuses(name)}
        return State.AVAILABLE in states or states == {State.END}

    def _listen(self, listen: Listen) -> tuple[grpc.Server, int]:
        pool = ThreadPoolExecutor(listen.max_threads, thread_name_prefix="grpc")
        server = grpc.server(pool, options=_CHANNEL_OPTIONS, maximum_concurrent_rpcs=listen.max_threads)
        server.add_generic_rpc_handlers(
            handlers(self._registry, Predict(self._registry, self._options.predict))
        )
        try:
            port = server.add_insecure_port(f"{listen.address}:{listen.port or 0}")
        except RuntimeError as error:
            raise SetupError(
                f"cannot listen on {listen.address}:{listen.port}: it is taken or not ours;"
                " choose another with --port, or let --port=auto find a free one"
            ) from error
        server.start()
        return server, port

    def stop(self) -> bool:
        """Refuse new calls, let those in flight finish for `drain_s`, unload. False if some did not end."""
        if self._grpc is not None:
            drained = self._grpc.stop(self._options.drain_s)
            _log.info("draining: no new calls, those in flight have %g s", self._options.drain_s)
            drained.wait()
        stoppers = [threading.Thread(target=keeper.stop, daemon=True) for keeper in self._keepers]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join(_UNLOAD_S)
        if any(stopper.is_alive() for stopper in stoppers):
            return False
        if self._batcher is not None:
            self._batcher.stop()
        return True


_UNLOAD_S = 2.0
"""Enough to free graphs; what takes longer is a call or a load that will not end."""
