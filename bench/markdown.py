"""Tables in Markdown, and pages of which a part is made by a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

END = "<!-- to here -->"


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def replace(page: Path, *, begin: str, text: str) -> None:
    """Put a text into a page, in place of what was between the line *begin* and END."""
    before, found, rest = page.read_text().partition(begin)
    if not found:
        raise LookupError(f"{page} has no line {begin}")
    after = rest.partition(END)[2]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{END}{after}")
