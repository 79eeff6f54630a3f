"""A thin client of TensorFlow Serving's HTTP API."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pytest

from tests.contract.client import TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP reply."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of a refusal, which is the body's only key."""
        assert list(self.json) == ["error"]
        return str(self.json["error"])


class RestClient:
    """One connection, kept alive. A context manager."""

    def __init__(self, address: str) -> None:
        if not address:
            pytest.skip("no HTTP port of such a server is named")
        self.address = address
        self._connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Send a request; `body` is bytes as they are, or a value to be written as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, path, data, headers or {})
        reply = self._connection.getresponse()
        got = dict(reply.getheaders())
        return Answer(reply.status, got.get("Content-Type", ""), reply.read(), got)

    def post(self, path: str, body: Any) -> Answer:
        """POST a value as JSON."""
        return self.call("POST", path, body)

    def get(self, path: str) -> Answer:
        """GET a page."""
        return self.call("GET", path)
