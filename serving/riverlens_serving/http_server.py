"""The HTTP port: one thread a connection, kept alive, answered by a `RestApi`.

A threaded server because what answers blocks in TensorFlow, as gRPC's handlers do; `max_threads` bounds how
many requests are worked on, not how many clients keep a connection.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from riverlens.errors import SetupError
from riverlens_serving.config import Rest
from riverlens_serving.rest import Reply, RestApi

_log = logging.getLogger(__name__)

_IDLE_S = 300.0
_MAX_BODY_BYTES = 2**31 - 1
"""Also of a body once unpacked: a small gzip can hold gigabytes."""
_ANY_WRAPPER = 47
"""zlib's window bits for gzip and zlib streams alike."""
_BUFFER_BYTES = 2**16


class _BadRequestError(Exception):
    """The request cannot be read; the connection is of no further use."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "riverlens"
    timeout = _IDLE_S
    disable_nagle_algorithm = True
    # Head and body of a reply in one packet; the base class flushes after each request.
    wbufsize = _BUFFER_BYTES
    server: _Listener

    def _serve(self) -> None:
        with self.server.in_flight:
            try:
                body = self._body()
            except _BadRequestError as error:
                self.close_connection = True
                self.send_error(error.status, str(error))
                return
            path = self.path.partition("?")[0]
            with self.server.slots:
                reply = self.server.api.answer(self.command, path, body, self.headers.get("Origin", ""))
            self._send(reply)
            self.wfile.flush()

    do_GET = do_POST = do_OPTIONS = do_HEAD = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815  # the base class looks for these names

    def _send(self, reply: Reply) -> None:
        # A status of TensorFlow Serving's that no table of HTTP's has needs a phrase of its own.
        self.send_response(reply.status, None if reply.status in self.responses else "Error")
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers:
            self.send_header(name, value)
        if self.server.draining:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = self._chunks()
        else:
            body = self._exactly(self.headers.get("Content-Length", "0"), 10)
        if self.headers.get("Content-Encoding", "").lower() in {"gzip", "deflate"}:
            return _unpacked(body)
        return body

    def _exactly(self, length: str, base: int) -> bytes:
        try:
            count = int(length, base)
        except ValueError as error:
            raise _BadRequestError(400, f"not a length: {length}") from error
        if not 0 <= count <= _MAX_BODY_BYTES:
            raise _BadRequestError(413, f"a body of {count} bytes")
        data = self.rfile.read(count)
        if len(data) < count:
            raise _BadRequestError(400, "the body ended early")
        return data

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while part := self._exactly(self._line().partition(b";")[0].decode("latin-1").strip(), 16):
            parts.append(part)
            if sum(map(len, parts)) > _MAX_BODY_BYTES:
                raise _BadRequestError(413, "the body is too long")
            self._line()
        while self._line().strip():
            pass  # trailers mean nothing here
        return b"".join(parts)

    def _line(self) -> bytes:
        return self.rfile.readline(_BUFFER_BYTES)

    def handle_expect_100(self) -> bool:
        """Say at once that a body may come: curl asks above 1 MB, and waits a second for the answer."""
        allowed = super().handle_expect_100()
        self.wfile.flush()
        return allowed

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Requests are counted, not logged."""
        _log.debug(format, *args)


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(_ANY_WRAPPER)
    try:
        data = unpacker.decompress(body, _MAX_BODY_BYTES)
    except zlib.error as error:
        raise _BadRequestError(400, f"Content-Encoding does not fit the body: {error}") from error
    if unpacker.unconsumed_tail:
        raise _BadRequestError(413, "the body is too long once unpacked")
    if not unpacker.eof:
        raise _BadRequestError(400, "the packed body ended early")
    return data


class _InFlight:
    """Counts requests between their head and the last byte of their reply. A context manager."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait_for_none(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._count, timeout_s)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], options: Rest, api: RestApi) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.api = api
        self.slots = threading.BoundedSemaphore(options.max_threads)
        self.in_flight = _InFlight()
        self.draining = False
        self._open: set[Any] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without the base class's look-up of the host's name, which can wait for a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the base class's
        _log.debug("a connection of %s failed", client_address, exc_info=sys.exc_info())

    def close_connections(self) -> None:
        for request in list(self._open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                _log.debug("a connection was gone before it was closed")


class HttpServer:
    """Listens from construction on; `refuse`, then `stop`."""

    def __init__(self, address: str, options: Rest, api: RestApi) -> None:
        """Open the port.

        Raises:
            SetupError: the port is taken.
        """
        host = address.strip("[]")
        try:
            self._listener = _Listener((host, options.port or 0), options, api)
        except OSError as error:
            raise SetupError(
                f"cannot listen on {address}:{options.port}: {error.strerror};"
                " choose others with --rest_api_port and --bind_address, or let --rest_api_port=auto find a"
                " free one"
            ) from error
        self.port: int = self._listener.server_port
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, name="http", daemon=True
        )
        self._thread.start()

    def refuse(self) -> None:
        """Take no new connection; those that are open end with the reply that they wait for."""
        self._listener.draining = True
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def stop(self, timeout_s: float) -> None:
        """Wait for the requests in flight, then close what is open."""
        if not self._listener.in_flight.wait_for_none(timeout_s):
            _log.warning("HTTP requests did not end in time; leaving without them")
        self._listener.close_connections()
