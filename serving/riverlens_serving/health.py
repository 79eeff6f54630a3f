"""gRPC's health service, as TensorFlow Serving offers it: three names, and nothing about models.

`Watch` is not served: each watcher would hold one of the threads that answer calls. Clients fall back to
taking a server without `Watch` for healthy. Messages are small enough to be written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping

from riverlens_serving import wire
from riverlens_serving.services import Handle
from riverlens_serving.status import Code, ServingError

_SERVING = 1
_SERVICE_FIELD = 1
_STATUS_FIELD = 1
NAMES = frozenset({"", "ModelService", "PredictionService"})
"""The whole server, and the services' short names: not `tensorflow.serving.PredictionService`."""
_KNOWN = {b"", *(wire.delimited(_SERVICE_FIELD, name.encode()) for name in NAMES)}
"""The HealthCheckRequests that name them; an empty string may be left out."""


def methods() -> Mapping[str, Mapping[str, Handle]]:
    """Service -> method -> handler."""
    return {"grpc.health.v1.Health": {"Check": _check}}


def _check(request_bytes: bytes, _timeout_ms: int) -> bytes:
    if request_bytes not in _KNOWN:
        raise ServingError(Code.NOT_FOUND, "service name unknown")
    return wire.number(_STATUS_FIELD, _SERVING)
