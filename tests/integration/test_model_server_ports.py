"""The embedded server's ways in: TLS, a Unix socket, HTTP and its end."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from riverlens.errors import SetupError
from riverlens_serving.server import Server
from tests.contract.client import Client, array, floats, predict_request, refusal
from tests.model_servers import address, start_inside, wait_for
from tests.models import gate, half_plus

Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers in this process by their flags. Stopped at the end."""
    with ExitStack() as stack:
        yield partial(start_inside, stack)


def _certificates(folder: Path) -> tuple[str, str]:
    """A key and a certificate of its own authority, for 127.0.0.1."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return key.read_text(), certificate.read_text()


@pytest.mark.parametrize("verify", [False, True])
def test_tls(tmp_path: Path, serve: Serve, verify: bool) -> None:  # noqa: FBT001  # a column
    """With an SSLConfig only TLS is answered, and with client_verify only clients with a certificate."""
    key, certificate = _certificates(tmp_path)
    config = tmp_path / "ssl.config"
    lines = {"server_key": key, "server_cert": certificate, "custom_ca": certificate}
    config.write_text(
        "".join(f"{name}: {json.dumps(text)}\n" for name, text in lines.items())
        + f"client_verify: {str(verify).lower()}\n"
    )
    half_plus(tmp_path / "a" / "1")
    server = serve("--model_name=a", f"--model_base_path={tmp_path / 'a'}", f"--ssl_config_file={config}")
    where = address(server)

    def outcome(credentials: grpc.ChannelCredentials) -> str:
        with grpc.secure_channel(where, credentials) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                stub.Predict(predict_request("a", {"x": floats(1)}), 10)
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

    authority = certificate.encode()
    assert outcome(grpc.ssl_channel_credentials(authority)) == ("UNAVAILABLE" if verify else "OK")
    assert outcome(grpc.ssl_channel_credentials(authority, key.encode(), authority)) == "OK"
    with Client(where) as plain:
        assert refusal(plain.predict, "a", {"x": floats(1)}).code == "UNAVAILABLE"


def test_a_unix_socket_answers_too(tmp_path: Path, serve: Serve) -> None:
    """`--grpc_socket_path` is a second way in."""
    half_plus(tmp_path / "a" / "1")
    path = tmp_path / "s"
    serve("--model_name=a", f"--model_base_path={tmp_path / 'a'}", f"--grpc_socket_path={path}")
    with Client(f"unix:{path}") as client:
        assert array(client.predict("a", {"x": floats(2)}).outputs["y"]).tolist() == [3]


def _get(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply, body


def test_cors_headers_where_asked_for(tmp_path: Path, serve: Serve) -> None:
    """With CORS on, a browser's preflight is answered and each reply carries the headers."""
    half_plus(tmp_path / "a" / "1")
    server = serve(
        f"--model_base_path={tmp_path / 'a'}", "--rest_api_port=auto", "--rest_api_enable_cors_support"
    )
    preflight, _ = _get(server, "/v1/models/default:predict", "OPTIONS", Origin="https://example.org")
    assert (preflight.status, preflight.getheader("Access-Control-Allow-Origin")) == (200, "*")
    assert _get(server, "/v1/models/default")[0].getheader("Access-Control-Allow-Methods") == "POST, GET"
    refused, body = _get(server, "/v1/models/default:predict", "OPTIONS")
    assert refused.status == 400
    assert json.loads(body) == {"error": "Origin header is missing in CORS preflight"}


def test_http_drains_too(tmp_path: Path, serve: Serve) -> None:
    """A stop lets an HTTP request in flight finish and closes its connection; no new one is taken."""
    opened = tmp_path / "opened"
    gate(tmp_path / "g" / "1", opened)
    server = serve("--model_name=g", f"--model_base_path={tmp_path / 'g'}", "--rest_api_port=auto")
    port = server.rest_port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/models/g:predict", json.dumps({"instances": [5]}))
    wait_for(lambda: opened.with_suffix(".entered").exists())
    with ThreadPoolExecutor(1) as pool, closing(connection):
        stopped = pool.submit(server.stop)
        wait_for(lambda: _is_refused(port))
        opened.touch()
        reply = connection.getresponse()
        assert json.loads(reply.read()) == {"predictions": [5.0]}
        assert reply.getheader("Connection") == "close"
        assert stopped.result()


def _is_refused(port: int | None) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port or 0), timeout=60):
            return False
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it closed its port in this very moment


def test_a_taken_http_port_is_one_clear_line(tmp_path: Path, serve: Serve) -> None:
    """A port that another server has is told with the flag that mends it."""
    half_plus(tmp_path / "a" / "1")
    flag = f"--model_base_path={tmp_path / 'a'}"
    taken = serve(flag, "--rest_api_port=auto").rest_port
    with pytest.raises(SetupError, match="choose others with --rest_api_port"):
        serve(flag, f"--rest_api_port={taken}")
