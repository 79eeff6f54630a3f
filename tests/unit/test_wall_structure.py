"""The wall's own rules: what decides touches no world, and the page puts nothing in as markup."""

from __future__ import annotations

import re

import pytest

from tests.unit.test_structure import PACKAGES, WORLD, _imports

WALL = PACKAGES["riverlens_wall"]
PURE = (
    "board",
    "cameras",
    "kept",
    "looks",
    "pipeline",
    "rates",
    "readings",
    "scaling",
    "settings",
    "timeline",
    "waiting",
    "wire",
)
# They parse what prometheus_client writes and what is a URL, and log at debug level.
ALLOWED = {"logging", "prometheus_client", "urllib"}
STATIC = sorted((WALL / "static").iterdir())
MARKUP = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc"


@pytest.mark.parametrize("module", PURE)
def test_what_the_wall_decides_touches_no_world(module: str) -> None:
    """Joins, rates, bins, words and messages know no clock, no I/O and none of the wall's shells."""
    found = set(_imports(WALL / f"{module}.py"))
    assert not {name for name in found if name.split(".")[0] in WORLD - ALLOWED}
    ours = {name.split(".")[1] for name in found if name.startswith("riverlens_wall.")}
    assert ours <= set(PURE)


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_the_page_knows_text_only(path: object) -> None:
    """No file of the page makes markup of what it shows, holds inline code, or loads from elsewhere."""
    text = (WALL / "static" / getattr(path, "name", "")).read_text(encoding="utf-8")
    assert not re.search(MARKUP, text)
    assert not re.search(r"(src|href|url\()=?[\"'(]?(https?:)?//", text)
    if getattr(path, "name", "").endswith(".html"):
        assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", text)


def test_every_module_of_the_page_is_there() -> None:
    """What a module imports, and what the page links, lies beside it."""
    names = {path.name for path in STATIC}
    for path in STATIC:
        text = path.read_text(encoding="utf-8")
        wanted = re.findall(r'from "\./([^"]+)"', text) + re.findall(r"/static/([\w.]+)", text)
        assert set(wanted) <= names, path.name
