"""Every command of the documents: which test runs it, or why none does.

A command is a statement of a fenced `sh` block. A page in `BY_PAGE` has a test that takes the commands from
the page itself (`to_run`); commands in `ELSEWHERE` are run by a test of what they belong to; the rest stands
in `NOT_RUN`. `tests/unit/test_documents.py` fails for a command that is nowhere, and for an entry whose
command is gone.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

README_TEST = "tests/tools/test_readme.py::test_every_command_of_the_readme_works_in_its_order"
GUIDES_TEST = "tests/tools/test_guides.py::test_every_command_of_a_page_works_in_its_order"

BY_PAGE = {
    "README.md": README_TEST,
    "docs/events.md": "tests/tools/test_events_page.py::test_what_kcat_and_other_languages_read",
    "docs/operations.md": "tests/tools/test_operations_page.py::test_a_command_of_the_page_does_what_it_says",
    "docs/producers.md": "tests/tools/test_producers_page.py::test_every_command_works_as_it_stands",
    "docs/tuning.md": GUIDES_TEST,
    "serving/README.md": GUIDES_TEST,
    "serving/gpu/README.md": GUIDES_TEST,
}
"""Tests by page that take its commands from it."""

_DIGITS = "tests/integration/test_example_digits.py::"
_DETECTION = "tests/integration/test_example_object_detection.py::"
_CHOPSTICKS = "tests/integration/test_example_chopsticks.py::"

ELSEWHERE = {
    "serving/examples/chopsticks/README.md": {
        "make -C serving/examples/chopsticks train_classifier build_image run_server": (
            _CHOPSTICKS + "test_training_tells_its_accuracy_beside_the_commonest_class"
        ),
        ".venv/bin/python serving/examples/chopsticks/client.py 127.0.0.1:8500 10 240.0": (
            _CHOPSTICKS + "test_the_client_prints_the_classes_probabilities"
        ),
    },
    "serving/examples/digits/README.md": {
        "make -C serving/examples/digits serve MNIST=/path/to/mnist": (
            _DIGITS + "test_mnist_by_the_tutorials_recipe"
        ),
        ".venv/bin/python serving/examples/digits/digits_client.py --num_tests=1000 --server=127.0.0.1:8500"
        " --mnist=/path/to/mnist": _DIGITS + "test_mnist_by_the_tutorials_recipe",
    },
    "serving/examples/object_detection/README.md": {
        "make -C serving/examples/object_detection serve GRAPH=$PWD/frozen_inference_graph.pb": (
            _DETECTION + "test_the_client_prints_and_draws"
        ),
        ".venv/bin/python serving/examples/object_detection/client.py street.jpg --server=127.0.0.1:8500": (
            _DETECTION + "test_the_coco_detector_finds_what_it_is_known_to_find"
        ),
        ".venv/bin/python serving/examples/object_detection/client.py a.jpg b.jpg c.jpg"
        " --server=10.0.0.1:8500,10.0.0.2:8500 --min-score=0.3 --output=found/": (
            _DETECTION + "test_the_client_prints_and_draws"
        ),
        "make -C serving/examples/object_detection export GRAPH=$PWD/frozen_inference_graph.pb": (
            _DETECTION + "test_the_client_prints_and_draws"
        ),
    },
}
"""Tests by command, by page: commands whole, as `spoken` writes them."""

_ENGINE = "needs a container engine; the image and its command line are tested without one"
_CLUSTER = "needs a cluster; tests/tools/test_deploy_manifests.py builds and checks what is applied"
_KAFKA = "Kafka's own scripts, which the embedded broker does not bring"

NOT_RUN = {
    "README.md": {
        "make test": "runs these tests; .ci/run calls it",
        "make -C serving/examples/object_detection export": "fetches 73 MB; its own test gives it a graph",
        "make demo VIDEO=clip.mp4 MODEL=serving/examples": "needs that model; a line above has another",
        "docker compose": "needs a container engine; tests/tools/test_compose_schema.py checks the file",
        "kubectl": _CLUSTER,
        "prometheus --config.file": "takes a fixed port; tests/prometheus_server.py starts it on another",
    },
    "deploy/README.md": {"docker build": _ENGINE, "kubectl": _CLUSTER},
    "docs/operations.md": {
        "kafka-configs.sh": _KAFKA,
        "kafka-consumer-groups.sh": _KAFKA,
        "riverlens producer probe rtsp://camera/": "needs a camera; tests of the producer probe one",
        "prometheus --config.file": "takes a fixed port; tests/prometheus_server.py starts it on another",
    },
    "serving/README.md": {
        "docker run": _ENGINE,
        "make contract TARGET": "needs that container; make test holds the embedded server to the contract",
    },
    "serving/examples/chopsticks/README.md": {
        "docker tag": _ENGINE,
        "kubectl": "needs a cluster; test_kubernetes_runs_three_behind_a_load_balancer reads what is applied",
    },
    "serving/examples/digits/README.md": {"docker run": _ENGINE},
    "serving/examples/object_detection/README.md": {"docker run": _ENGINE},
    "serving/gpu/README.md": {"docker run": _ENGINE},
}
"""Reasons by how the command starts, by page."""


def pages() -> list[str]:
    """The README, the documents and the parts' READMEs, relative to the root."""
    parts = (path for part in ("serving", "deploy") for path in (ROOT / part).rglob("*.md"))
    found = chain([ROOT / "README.md"], (ROOT / "docs").glob("*.md"), parts)
    return sorted(str(path.relative_to(ROOT)) for path in found)


def text(page: str) -> str:
    """A page as it is."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language, in the page's order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


@cache
def commands(page: str) -> tuple[str, ...]:
    """The statements of a page's shell blocks in their order, without comments."""
    return tuple(chain.from_iterable(map(_statements, blocks(page, "(?:sh|bash|shell|console)"))))


def _statements(block: str) -> list[str]:
    found, open_text = [], ""
    for line in block.splitlines():
        if not open_text and (not line.strip() or line.startswith("#")):
            continue
        open_text += re.sub(r"\s+#\s[^'\"]*$", "", line) + "\n"
        if _is_whole(open_text):
            found.append(open_text.rstrip("\n"))
            open_text = ""
    assert not open_text, f"no end: {open_text}"
    return found


def _is_whole(statement: str) -> bool:
    if statement.endswith("\\\n"):
        return False
    checked = subprocess.run(["bash", "-n"], input=statement, text=True, capture_output=True, check=False)
    return checked.returncode == 0


def spoken(command: str) -> str:
    """A command in one line, however it is broken on the page."""
    return " ".join(command.replace("\\\n", " ").split())


def reason(page: str, command: str) -> str | None:
    """Why no test runs it; None where one does, or should."""
    reasons = NOT_RUN.get(page, {})
    return next((why for start, why in reasons.items() if spoken(command).startswith(start)), None)


def to_run(page: str) -> list[str]:
    """The commands that the page's own test must run, in their order."""
    elsewhere = ELSEWHERE.get(page, {})
    return [each for each in commands(page) if reason(page, each) is None and spoken(each) not in elsewhere]
