"""`python -m benchmarks.device`: the simulated model servers as a process, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal

from benchmarks.cost import Cost
from benchmarks.device.control import Control
from benchmarks.device.schedule import Setup
from benchmarks.device.server import SimulatedServer
from riverlens.precise_loop import run_precisely

_HOST = "127.0.0.1"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__)
    parser.add_argument("--ports", type=int, nargs="+", required=True, help="gRPC: a server on each")
    parser.add_argument("--http-port", type=int, required=True, help="statistics and settings")
    parser.add_argument("--a-ms", type=float, default=20.0, help="cost of a batch")
    parser.add_argument("--b-ms", type=float, default=3.0, help="cost of a row")
    parser.add_argument("--devices", type=int, default=1, help="devices of each server")
    parser.add_argument("--merge-rows", type=int, help="the server's own batching, up to so many rows")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> None:
    setup = Setup(Cost(arguments.a_ms, arguments.b_ms), arguments.devices, arguments.merge_rows)
    servers = [SimulatedServer(setup) for _ in arguments.ports]
    control = Control(servers)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for server, port in zip(servers, arguments.ports, strict=True):
        await server.start(f"{_HOST}:{port}")
    await control.start(_HOST, arguments.http_port)
    # A full collection of all that was imported would stop the device for up to 40 ms.
    gc.freeze()
    await stop.wait()
    await control.close()
    for server in servers:
        await server.stop()


if __name__ == "__main__":
    run_precisely(_run(_arguments()))
