"""`riverlens serving run`: the embedded model server as a command, with TensorFlow Serving's flags' names.

Where it differs from `tensorflow_model_server` is told in serving/README.md.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from riverlens.logs import set_up_logs
from riverlens_serving.config import ServerOptions
from riverlens_serving.flags import parse
from riverlens_serving.parent import watch_parent

_log = logging.getLogger(__name__)

_LOOK_S = 1.0


def main(argv: list[str], prog: str) -> int:
    """Serve until SIGTERM or SIGINT, then drain. 0 after a clean stop."""
    set_up_logs()
    options = parse(argv, prog)
    if options is None:
        return 0
    stopping = threading.Event()
    if options.die_with_parent:
        watch_parent(stopping.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, frame: _on_signal(got, frame, stopping))
    return _serve(options, stopping)


def _on_signal(number: int, _frame: FrameType | None, stopping: threading.Event) -> None:
    """The first signal drains; the second, back at its default, ends the process."""
    signal.signal(number, signal.SIG_DFL)
    # Not here: the handler runs within whatever the main thread does, perhaps within the event's own lock.
    threading.Thread(target=stopping.set, name="stop", daemon=True).start()


def _serve(options: ServerOptions, stopping: threading.Event) -> int:
    import_tensorflow()
    from riverlens_serving.server import Server  # noqa: PLC0415  # imports TensorFlow

    server = Server(options, stopping)
    port = server.start()
    if port is not None:
        _announce(options, port, server.rest_port)
        while not stopping.wait(_LOOK_S):
            pass  # a wait without end has been seen to sleep through a signal after SIGCONT
    if not server.stop():
        _log.warning("calls or loads did not end in time; leaving without them")
        sys.stdout.flush()
        # A thread inside TensorFlow cannot be interrupted, and the interpreter would wait for it for ever.
        os._exit(0 if port is None else 1)
    return 0


def import_tensorflow() -> None:
    """Import TensorFlow without its start-up chatter, which the C++ side writes straight to descriptor 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow as tf  # noqa: PLC0415  # only the server pays for it, and only after its flags are right

        devices = [device.device_type for device in tf.config.list_physical_devices()]
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    tf.get_logger().setLevel(logging.ERROR)
    _log.info("TensorFlow %s on %s", tf.__version__, ", ".join(devices))


def _announce(options: ServerOptions, port: int, rest_port: int | None) -> None:
    """Say that calls are answered, to whoever reads standard output or waits for the port file."""
    address = f"{options.listen.address}:{port}"
    for model in options.models:
        _log.info("serving %s from %s", model.name, model.base_path)
    if options.listen.port_file is not None:
        _write_whole(options.listen.port_file, f"{port}\n")
    if rest_port is not None:
        sys.stdout.write(f"HTTP on {options.listen.address}:{rest_port}\n")
    sys.stdout.write(f"listening on {address}\n")
    sys.stdout.flush()


def _write_whole(path: Path, text: str) -> None:
    """Write beside and rename: whoever sees the file sees all of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)
