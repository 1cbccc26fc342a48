"""``python -m tests.catalogue``: run all inputs of `tests.bad_inputs`, and write docs/errors.md from what they say."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.bad_inputs import BadInput, Places, message_of, tables

PAGE = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
START = "<!-- Made by `python -m tests.catalogue`; do not edit what follows. -->"
LONGEST = 320


def cell(text: str) -> str:
    """Text that Markdown shows as it is, cut where it is long."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return (
        text.replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("[", "\\[")
        .replace("*", "\\*")
        .replace("`", "'")
    )


def row(bad: BadInput, places: Places) -> str:
    """One line of a table: what is wrong, the error, what it says."""
    return f"| {bad.what} | `{bad.error.__name__}` | {cell(message_of(bad, places))} |"


def rows(places: Places) -> dict[str, list[str]]:
    """Lines by heading."""
    return {heading: [row(bad, places) for bad in listed] for heading, listed in tables()}


def main() -> int:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        made = rows(Places(Path(folder)))
    parts = [
        f"## {name}\n\n| what | error | what it says |\n|---|---|---|\n" + "\n".join(k) for name, k in made.items()
    ]
    before = PAGE.read_text(encoding="utf-8").partition(START)[0]
    PAGE.write_text(before + START + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"{sum(map(len, made.values()))} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
