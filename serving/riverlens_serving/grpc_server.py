"""The gRPC port: handlers of bytes behind Python gRPC's threaded server."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from riverlens.errors import SetupError
from riverlens_serving.config import Listen
from riverlens_serving.services import Handle, defect
from riverlens_serving.status import ServingError, cut

_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}

_CHANNEL_OPTIONS = (
    # TensorFlow Serving's `SetMaxMessageSize(INT32_MAX)`; gRPC's own default refuses 4 MiB.
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.max_send_message_length", -1),
    # With it on, gRPC's default, two servers share one port without a word.
    ("grpc.so_reuseport", 0),
)

_NO_DEADLINE_S = 1e9
"""Python gRPC gives a call without a deadline some 292 million years."""


def listen(options: Listen, services: Mapping[str, Mapping[str, Handle]]) -> tuple[grpc.Server, int]:
    """A server that answers, and its port.

    Raises:
        SetupError: the port is taken, or the key and certificate are no pair.
    """
    pool = ThreadPoolExecutor(options.max_threads, thread_name_prefix="grpc")
    channel_options = (*_CHANNEL_OPTIONS, *options.channel_options)
    server = grpc.server(pool, options=channel_options, maximum_concurrent_rpcs=options.max_threads)
    for service, methods in services.items():
        handlers = {name: _handler(handle) for name, handle in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = _open(
        server,
        options,
        f"{options.address}:{options.port or 0}",
        "choose others with --port and --bind_address",
    )
    if options.socket_path is not None:
        _open(server, options, f"unix:{options.socket_path}", "choose another with --grpc_socket_path")
    server.start()
    return server, port


def _open(server: grpc.Server, options: Listen, address: str, mend: str) -> int:
    try:
        if options.tls is None:
            return server.add_insecure_port(address)
        pairs = [(options.tls.key, options.tls.certificate)]
        ca = options.tls.client_ca
        credentials = grpc.ssl_server_credentials(pairs, ca, require_client_auth=ca is not None)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        tls = ", or the key and certificate of --ssl_config_file are no pair" if options.tls else ""
        raise SetupError(
            f"cannot listen on {address}: it is taken or not ours{tls}; {mend}, or let --port=auto find a"
            " free one"
        ) from error


def _handler(handle: Handle) -> Any:
    def serve(request_bytes: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return handle(request_bytes, _timeout_ms(context))
        except ServingError as error:
            refused = error
        except Exception as error:  # noqa: BLE001  # every failure needs a status
            refused = defect(error)
        context.set_code(_GRPC_CODES[refused.code])
        context.set_details(cut(refused.message))
        return b""

    return grpc.unary_unary_rpc_method_handler(serve)


def _timeout_ms(context: grpc.ServicerContext) -> int:
    """The caller's deadline for RunOptions. One already past gives 0, no timeout, as TensorFlow Serving."""
    remaining_s = context.time_remaining()
    if remaining_s > _NO_DEADLINE_S:
        return 0
    return int(remaining_s * 1000)
