"""The model servers over gRPC. Shell: `endpoint` is one of them, `balance` all, `tls` and `resolve` help."""

from riverlens_worker.endpoints.balance import Endpoints
from riverlens_worker.endpoints.endpoint import CallFailedError, Endpoint
from riverlens_worker.endpoints.tls import diagnose

__all__ = ["CallFailedError", "Endpoint", "Endpoints", "diagnose"]
