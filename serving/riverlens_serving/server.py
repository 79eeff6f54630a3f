"""The server's life: load the models, open the ports, answer, drain.

The ports open only after every configured model has a version that answers, so a client that connects can
call.
"""

from __future__ import annotations

import logging
import threading
import time

import grpc

from riverlens.errors import RiverlensError
from riverlens_serving import grpc_server, health
from riverlens_serving.batching import Batcher
from riverlens_serving.config import Model, ServerOptions
from riverlens_serving.config_watch import ConfigWatch
from riverlens_serving.fleet import Fleet
from riverlens_serving.http_server import HttpServer
from riverlens_serving.inference import Inference
from riverlens_serving.loader import Loader
from riverlens_serving.metrics import Metrics
from riverlens_serving.registry import Registry
from riverlens_serving.rest import RestApi
from riverlens_serving.services import Services
from riverlens_serving.status import Code, ServingError

_log = logging.getLogger(__name__)


class Server:
    """One model server. `start`, then `stop`; `stopping` ends a start that waits for models."""

    def __init__(self, options: ServerOptions, stopping: threading.Event) -> None:
        self._options = options
        self._stopping = stopping
        self._metrics = Metrics()
        self._registry = Registry()
        self._batcher = Batcher(options.batching, self._metrics) if options.batching is not None else None
        loader = Loader(options.load, self._batcher, self._metrics)
        self._fleet = Fleet(
            self._registry,
            loader.load,
            options.patience,
            labels_for_unavailable=options.labels_for_unavailable,
        )
        self._inference = Inference(options.predict, self._metrics)
        self._grpc: grpc.Server | None = None
        self.port: int | None = None
        """The gRPC port, once started."""
        self._http: HttpServer | None = None
        self._watch: ConfigWatch | None = None

    @property
    def rest_port(self) -> int | None:
        """The HTTP port, once started; None without one."""
        return None if self._http is None else self._http.port

    def start(self) -> int | None:
        """Load every model, then listen. Returns the gRPC port, or None where `stopping` was set first.

        Raises:
            RiverlensError: a model has no version that loads, or a label may not point where it would.
            SetupError: a port is taken.
        """
        options = self._options
        try:
            if not self._fleet.configure(options.models, self._stopping.is_set):
                return None
        except ServingError as error:
            raise RiverlensError(f"Failed to start server. Error: {error}; {self._mend(error)}") from error
        services = Services(self._registry, self._inference, self._metrics, self._reload)
        methods = {**services.methods(), **(health.methods() if options.listen.health else {})}
        self._grpc, self.port = grpc_server.listen(options.listen, methods)
        if options.rest is not None:
            api = RestApi(self._registry, self._inference, self._metrics, options.rest)
            self._http = HttpServer(options.listen.address, options.rest, api)
        if options.config_file is not None and options.config_poll_s > 0:
            self._watch = ConfigWatch(options.config_file, options.config_poll_s, self._follow)
            self._watch.start()
        return self.port

    def _mend(self, error: ServingError) -> str:
        if error.code is Code.FAILED_PRECONDITION:
            return (
                "start without the label and add it later (--model_config_file_poll_wait_seconds), or with"
                " --allow_version_labels_for_unavailable_models"
            )
        return f"tried --max_num_load_retries={self._options.patience.max_retries} more times"

    def _follow(self, models: tuple[Model, ...]) -> None:
        """Without waiting: a slip in a base path must not keep the next text from being read."""
        self._fleet.configure(models, lambda: True)

    def _reload(self, models: tuple[Model, ...], timeout_ms: int) -> None:
        give_up_at = time.monotonic() + timeout_ms / 1000 if timeout_ms > 0 else float("inf")

        def give_up() -> bool:
            return self._stopping.is_set() or time.monotonic() > give_up_at

        if not self._fleet.configure(models, give_up):
            raise ServingError(
                Code.DEADLINE_EXCEEDED, "the models are still loading; the new configuration stays"
            )

    def stop(self) -> bool:
        """Refuse new calls, let those in flight finish for `drain_s`, unload. False if some did not end."""
        self._stopping.set()
        if self._watch is not None:
            self._watch.stop()
        self._drain(self._options.drain_s)
        if not self._fleet.stop():
            return False
        if self._batcher is not None:
            self._batcher.stop()
        return True

    def _drain(self, drain_s: float) -> None:
        deadline = time.monotonic() + drain_s
        drained = self._grpc.stop(drain_s) if self._grpc is not None else None
        if self._http is not None:
            self._http.refuse()
        if drained is not None:
            _log.info("draining: no new calls, those in flight have %g s", drain_s)
            drained.wait()
        if self._http is not None:
            self._http.stop(max(deadline - time.monotonic(), 0))
