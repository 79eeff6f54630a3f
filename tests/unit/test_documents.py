"""The documents: each command is run by a test or has a reason; links, targets and flags exist."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
from functools import cache
from pathlib import Path

import pytest

from riverlens import cli
from tests.documents import BY_PAGE, ELSEWHERE, NOT_RUN, ROOT, commands, pages, reason, spoken, text, to_run

KNOWN = sorted((tuple(command.words) for command in cli._COMMANDS), key=len, reverse=True)
LINKED = [*pages(), "DESIGN.md", "CHANGELOG.md"]


@pytest.mark.parametrize("page", pages())
def test_every_command_is_run_by_a_test_or_has_a_reason(page: str) -> None:
    """A command that is added to a page without either fails here."""
    if page not in BY_PAGE:
        assert to_run(page) == [], "enter these in tests/documents.py, with the test that runs them"


@pytest.mark.parametrize("page", pages())
def test_no_entry_outlives_its_command(page: str) -> None:
    """Reasons and tests are kept for commands that stand on the page, and for no other."""
    there = [spoken(command) for command in commands(page)]
    assert all(any(command.startswith(start) for command in there) for start in NOT_RUN.get(page, {}))
    assert set(ELSEWHERE.get(page, {})) <= set(there)


def test_no_entry_outlives_its_page() -> None:
    """A page that is moved takes its entries along."""
    assert {*BY_PAGE, *ELSEWHERE, *NOT_RUN} <= set(pages())


def test_the_count() -> None:
    """Most commands are run; the figures are shown by `pytest -s`."""
    every = [(page, command) for page in pages() for command in commands(page)]
    skipped = [found for found in every if reason(*found) is not None]
    run = len(every) - len(skipped)
    print(f"{len(every)} commands, {run} run, {len(skipped)} not")  # noqa: T201  # the figure
    assert len(skipped) < len(every) / 2


@cache
def _functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(
    "name", sorted({*BY_PAGE.values(), *(each for page in ELSEWHERE.values() for each in page.values())})
)
def test_the_named_tests_exist(name: str) -> None:
    """A test that is renamed takes its entries along."""
    file, _, function = name.partition("::")
    assert function in _functions(file)


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED)
def test_every_link_leads_somewhere(page: str) -> None:
    """Files that are linked are there, and so are the headings."""
    outside_code = re.sub(r"^```.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", outside_code):
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), f"{page}: {target}"
        assert not anchor or anchor in _anchors(file), f"{page}: no heading {target}"


def _said_inline(page: str) -> list[str]:
    """What looks like a command between backticks."""
    return re.findall(r"(?<!`)`((?:riverlens|make) [^`]+)`(?!`)", text(page))


@pytest.mark.parametrize("page", LINKED)
def test_targets_named_in_text_exist(page: str) -> None:
    """`make x` names a target of the Makefile, or of the one beside the page."""
    files = {ROOT / "Makefile", (ROOT / page).parent / "Makefile"}
    rules = "".join(file.read_text(encoding="utf-8") for file in files if file.exists())
    targets = set(re.findall(r"^([\w-]+):", rules, re.MULTILINE))
    for command in _said_inline(page):
        if command.startswith("make ") and "-C" not in command:
            named = [word for word in command.split()[1:] if "=" not in word]
            assert set(named) <= targets, f"{page}: {command}"


@cache
def _help(words: tuple[str, ...]) -> str:
    """What the command prints with --help."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        cli.main([*words, "--help"])
    return told.getvalue()


@pytest.mark.parametrize("page", LINKED)
def test_commands_and_flags_named_in_text_exist(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`riverlens a b --flag` names a command, and a flag that its --help shows."""
    for name in [name for name in os.environ if name.startswith("RIVERLENS_")]:
        monkeypatch.delenv(name)
    for command in (*_said_inline(page), *map(spoken, commands(page))):
        words = command.split()
        if words[0] != "riverlens" or len(words) < 3 or not words[1].islower() or words[1].startswith("-"):
            continue  # a role, a placeholder, a flag of riverlens itself
        found = next((each for each in KNOWN if tuple(words[1 : 1 + len(each)]) == each), None)
        assert found, f"{page}: {command}"
        flags = {re.split(r"[=\s]", word)[0] for word in words if re.match(r"--(?!help)[a-z]", word)}
        # What is of Kafka may be said without the table's name.
        unknown = {flag for flag in flags if not re.search(rf"--(kafka\.)?{flag[2:]}\b", _help(found))}
        assert not unknown, f"{page}: {command}"
