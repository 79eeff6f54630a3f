"""The command line. Each command's module is imported only when that command runs."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

from riverlens._version import __version__
from riverlens.errors import RiverlensError, SetupError


class _Command(NamedTuple):
    words: tuple[str, ...]
    module: str
    text: str


_COMMANDS = (
    _Command(("demo",), "riverlens.demo.run", "the whole line on this machine, with a live table"),
    _Command(("worker", "run"), "riverlens_worker.run", "frames -> batches -> Predict -> events"),
    _Command(("worker", "check"), "riverlens_worker.check.run", "what is wrong, before a worker runs"),
    _Command(
        ("worker", "tune"), "riverlens_worker.tune.run", "the settings that suit a model server, measured"
    ),
    _Command(
        ("worker", "redrive"), "riverlens_worker.redrive.run", "put dead letters back onto the frames topic"
    ),
    _Command(("producer", "run"), "riverlens_producer.run", "cameras, videos, images, scenes -> Kafka"),
    _Command(("producer", "probe"), "riverlens_producer.probe", "what a camera or a file offers"),
    _Command(("serving", "run"), "riverlens_serving.run", "the embedded model server"),
    _Command(("serving", "export"), "riverlens_serving.export.run", "a trained model -> a version to serve"),
    _Command(("serving", "inspect"), "riverlens_serving.inspect", "how a model will be fed and read"),
    _Command(("wall",), "riverlens_wall.run", "a live page of cameras, detections and the pipeline"),
    _Command(("topics",), "riverlens.topics", "create the topics, or say how they differ"),
    _Command(("broker",), "riverlens.broker.run", "Apache Kafka on this machine, for trying things out"),
)

_EXAMPLES = (
    "riverlens demo --seconds 30",
    "riverlens topics --kafka.bootstrap-servers kafka1:9092",
    "riverlens worker check --server gpu1:8500 --model street",
    "riverlens worker run --server gpu1:8500 --model street --admin-port 9100",
    "riverlens producer run --source lobby=rtsp://10.0.0.5/stream1",
    "riverlens wall --metrics-url http://127.0.0.1:9100/metrics",
)


def usage() -> str:
    """The text of `riverlens --help`: one line a command, then examples."""
    rows = "\n".join(f"  riverlens {' '.join(c.words):<18}{c.text}" for c in _COMMANDS)
    examples = "\n      ".join(_EXAMPLES)
    return (
        "riverlens: camera frames in on Kafka, detection events out.\n\n"
        f"{rows}\n\n"
        "Each command explains its settings with --help, and --print-config prints them as a file.\n"
        "They come from --config FILE (TOML), then RIVERLENS_... variables, then flags.\n\n"
        f"Try:  {examples}\n\n"
        "Exit codes: 0 done, 1 failed, 2 a wrong setting, 3 something is missing on this machine,\n"
        "4 Kafka, a model server or a camera is away, 130 Ctrl-C. The last line says which.\n"
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code. A RiverlensError becomes its one line on standard error."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in {"-h", "--help", "help"}:
        print(usage(), end="")
        return 0
    if args[0] in {"-V", "--version"}:
        print(f"riverlens {__version__}")
        return 0
    command = next((c for c in _COMMANDS if tuple(args[: len(c.words)]) == c.words), None)
    if command is None:
        return _no_such_command(args)
    words = " ".join(command.words)
    try:
        run = _load(command)
        return int(run.main(args[len(command.words) :], f"riverlens {words}"))
    except RiverlensError as error:
        for line in str(error).splitlines():
            print(f"riverlens {words}: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _load(command: _Command) -> ModuleType:
    role = command.module.split(".")[0]
    if find_spec(role) is None:
        extra = role.removeprefix("riverlens_")
        raise SetupError(
            f"this role is not installed; pip install 'riverlens[{extra}]', or make setup in a clone"
        )
    try:
        return import_module(command.module)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("riverlens"):
            raise
        extra = role.removeprefix("riverlens_") if role != "riverlens" else "all"
        raise SetupError(
            f"needs {error.name}; pip install 'riverlens[{extra}]', or make setup in a clone"
        ) from None


def _no_such_command(args: list[str]) -> int:
    group = [c for c in _COMMANDS if c.words[0] == args[0]]
    if group and (len(args) == 1 or args[1] in {"-h", "--help"}):
        for c in group:
            print(f"  riverlens {' '.join(c.words):<18}{c.text}")
        return 0
    typed = " ".join(args[:2])
    meant = get_close_matches(typed, [" ".join(c.words) for c in _COMMANDS], n=1, cutoff=0.8)
    perhaps = f"; perhaps: riverlens {meant[0]}" if meant else ""
    print(f"riverlens: no such command: {typed}{perhaps}; see riverlens --help", file=sys.stderr)
    return 2
