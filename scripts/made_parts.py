"""The made parts of a page: they stand between two marks, and the rest of the page is a person's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def fill(page: str, name: str, parts: Mapping[str, Iterable[str]]) -> str:
    """The text `page`, called `name` in errors, with the lines of its made parts by the names in their marks.

    Raises:
        ValueError: a part's marks are missing.
    """
    for part, lines in parts.items():
        begin, end = f"<!-- made: {part} -->\n", "<!-- end -->"
        before, mark, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not mark or not closed:
            raise ValueError(f"{name} has no part {part}")
        page = "".join((before, begin, "\n", "\n".join(lines), "\n\n", end, after))
    return page
