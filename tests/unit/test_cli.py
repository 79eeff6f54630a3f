"""The command line, the logs, and what is imported when: roles load only when their command runs."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

import pytest

import riverlens
from riverlens import cli
from riverlens.errors import SettingsError, SetupError, UnreachableError
from riverlens.logs import set_up_logs

HEAVY = {"numpy", "aiokafka", "grpc", "tensorflow", "PIL", "av", "prometheus_client", "pydantic"}


def _python(code: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


def _loaded(code: str, modules: set[str]) -> set[str]:
    out = _python(f"import sys\n{code}\nprint(' '.join({modules!r} & sys.modules.keys()))")
    return set(out.splitlines()[-1].split())


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_bare_and_help_list_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger who types the name sees all commands with a line each, and exit code 0."""
    assert cli.main(argv) == 0
    out = capsys.readouterr().out
    assert all(f"riverlens {' '.join(command.words)}" in out for command in cli._COMMANDS)


@pytest.mark.parametrize("command", cli._COMMANDS, ids=lambda command: " ".join(command.words))
def test_every_help_has_an_example_that_it_explains(
    command: cli._Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command's help, and that of all, ends in examples whose flags it has."""
    with suppress(SystemExit):
        cli.main([*command.words, "--help"])
    out = capsys.readouterr().out
    name = f"riverlens {' '.join(command.words)}"
    examples = re.findall(rf"^(?:Try:|Example:)?\s+({name}(?: [^\n]*)?)$", out, re.MULTILINE)
    assert examples, out
    of_all = [line for line in cli._EXAMPLES if f"{line} ".startswith(f"{name} ")]
    for example in (*examples, *of_all):
        assert [flag for flag in re.findall(r"--[\w.-]+", example) if f"{flag} " not in out] == [], example


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the package's own version."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"riverlens {riverlens.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "perhaps"),
    [
        (["fly"], ""),
        (["worker", "fly"], ""),
        (["--fly"], ""),
        (["workers", "run"], "; perhaps: riverlens worker run"),
        (["serving", "exprot"], "; perhaps: riverlens serving export"),
        (["topic"], "; perhaps: riverlens topics"),
    ],
)
def test_an_unknown_command_is_one_line_and_exit_code_2(
    argv: list[str], perhaps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It repeats what was typed, names the command that was probably meant, and says where help is."""
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err == f"riverlens: no such command: {' '.join(argv)}{perhaps}; see riverlens --help\n"
    assert not captured.out


@pytest.mark.parametrize("argv", [["serving"], ["serving", "--help"]])
def test_a_role_alone_lists_its_commands(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`riverlens serving` shows what follows it."""
    assert cli.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2
    assert all("riverlens serving " in line for line in lines)


@pytest.mark.parametrize("command", cli._COMMANDS, ids=lambda command: " ".join(command.words))
def test_every_command_has_its_main(command: cli._Command) -> None:
    """What is listed can be run: each module is there and has a `main`."""
    assert callable(import_module(command.module).main)


@pytest.mark.parametrize(
    ("error", "code"),
    [(SettingsError("a: wrong\nb: wrong"), 2), (SetupError("no Java"), 3), (UnreachableError("no Kafka"), 4)],
)
def test_an_error_for_a_person_is_its_lines_and_its_exit_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line is led by the command; no traceback."""

    def main(_argv: list[str], _prog: str) -> int:
        raise error

    monkeypatch.setattr("riverlens.topics.main", main)
    assert cli.main(["topics"]) == code
    expected = [f"riverlens topics: {line}" for line in str(error).splitlines()]
    assert capsys.readouterr().err.splitlines() == expected


def test_wrong_settings_of_a_real_command_leave_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """`riverlens worker run` with two wrong flags: two lines on standard error."""
    assert cli.main(["worker", "run", "--max-batch-size=0", "--admin-port=-1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("riverlens worker run: ") for line in lines)


def test_an_interrupt_leaves_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before a role handles signals itself is no traceback."""

    def main(_argv: list[str], _prog: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("riverlens.topics.main", main)
    assert cli.main(["topics"]) == 130


def test_a_role_whose_extra_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing library names the extra that brings it; a missing module of our own is a defect."""

    def missing(_name: str) -> object:
        raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)

    wanted = "grpc"
    monkeypatch.setattr("riverlens.cli.import_module", missing)
    assert cli.main(["worker", "run"]) == 3
    assert "needs grpc; pip install 'riverlens[worker]'" in capsys.readouterr().err
    wanted = "riverlens_worker.gone"
    with pytest.raises(ModuleNotFoundError):
        cli.main(["worker", "run"])
    monkeypatch.setattr("riverlens.cli.find_spec", lambda _: None)
    assert cli.main(["worker", "run"]) == 3
    assert "pip install 'riverlens[worker]'" in capsys.readouterr().err


def test_help_loads_no_library() -> None:
    """`riverlens --help` answers at once: nothing heavy is imported for it, nor by the package itself."""
    assert _loaded("from riverlens.cli import main; main(['--help'])", HEAVY) == set()


def test_the_public_names_load_what_they_need() -> None:
    """Frame and Event need neither Kafka nor NumPy; the producer brings Kafka; other names do not exist."""
    light = _loaded("from riverlens import Event, Frame, read_event", HEAVY)
    assert light == set()
    assert "aiokafka" in _loaded("from riverlens import FrameProducer", HEAVY)
    with pytest.raises(AttributeError, match="no attribute 'Frames'"):
        _ = riverlens.Frames


def test_the_worker_loads_no_tensorflow() -> None:
    """Importing the whole worker loads messages only: neither TensorFlow nor another role."""
    found = _loaded(
        "import riverlens_worker.run",
        {"tensorflow", "tensorflow.python", "riverlens_serving", "riverlens_producer", "numpy"},
    )
    assert found == {"numpy"}


STUBS = """
import sys
from riverlens_worker._stubs import PredictRequest, TensorProto, types_pb2
assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"], "the stand-in was left"
request = PredictRequest()
request.inputs["x"].CopyFrom(TensorProto(dtype=types_pb2.DT_STRING, string_val=[b"a"]))
import tensorflow
array = tensorflow.make_ndarray(tensorflow.make_tensor_proto([[1.0, 2.0]]))
assert float(tensorflow.reduce_sum(tensorflow.constant(array))) == 3.0
from tensorflow_serving.apis.predict_pb2 import PredictRequest as Plain
assert Plain is PredictRequest
plain = Plain()
plain.inputs["x"].CopyFrom(tensorflow.make_tensor_proto([b"a"]))
assert plain.SerializeToString(deterministic=True)
print("both work")
"""


def test_tensorflow_works_after_the_messages_were_loaded_without_it() -> None:
    """The stand-in leaves nothing behind: a later real import in the same process is whole."""
    assert _python(STUBS).splitlines()[-1] == "both work"


@pytest.fixture
def _root_logger() -> Iterator[None]:
    root, aiokafka = logging.getLogger(), logging.getLogger("aiokafka")
    before = root.handlers[:], root.level, aiokafka.level
    yield
    root.handlers[:], level, aiokafka_level = before
    root.setLevel(level)
    aiokafka.setLevel(aiokafka_level)


@pytest.mark.usefixtures("_root_logger")
def test_json_logs_are_one_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, level, logger, message, extras and traceback, whatever bytes a name holds."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    set_up_logs("info", "json")
    logger = logging.getLogger("riverlens.test")
    logger.debug("unseen")
    logger.info("read %d of %s", 3, "bad\nname \udcff", extra={"camera": "lobby", "where": object})
    try:
        raise ValueError("no")  # noqa: TRY301  # to be logged
    except ValueError:
        logger.exception("failed")
    first, second = (json.loads(line) for line in err.getvalue().splitlines())
    assert (first["level"], first["logger"], first["camera"]) == ("info", "riverlens.test", "lobby")
    assert first["message"].startswith("read 3 of bad\nname ")
    assert first["at"].endswith("Z")
    assert "ValueError: no" in second["traceback"]


@pytest.mark.usefixtures("_root_logger")
def test_text_logs_show_the_level_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a message on standard error; aiokafka's remarks only where debugging."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    set_up_logs("warning")
    for name in ("riverlens.test", "aiokafka.consumer"):
        logging.getLogger(name).info("unseen")
        logging.getLogger(name).warning("from %s", name)
    assert len(err.getvalue().splitlines()) == 1
    assert "WARNING" in err.getvalue()
    assert "from riverlens.test" in err.getvalue()
