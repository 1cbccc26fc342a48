"""``python -m xappa.testing FOLDER...``: recompute the outputs of fixture folders, one printed row an output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xappa.errors import DatasetError
from xappa.testing.runner import ResultRow, find, kinds, recognise, run

EPILOG = """exit status: 0 all outputs within tolerance; 1 some are not, or none was checked;
2 a folder that was named cannot be checked"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m xappa.testing", description=__doc__, epilog=EPILOG)
    parser.add_argument("folder", nargs="+", type=Path, help="a fixture folder, a run directory, or a folder of these")
    try:
        folders, uncovered = _select(parser.parse_args(argv).folder)
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = [_show(row) for folder in folders for row in run(folder)]
    for folder in uncovered:
        print(f"{folder.name:<28} not covered")
    failed = sum(not row.ok for row in rows)
    print(f"{len(rows)} outputs of {len(folders)} folders, {failed} above tolerance; {len(uncovered)} not covered")
    return 0 if rows and not failed else 1


def _select(named: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Folders to be run, and those in a named parent folder that no check covers."""
    covered: dict[Path, None] = {}
    uncovered: dict[Path, None] = {}
    for folder in named:
        for path in find(folder):
            if recognise(path) is not None:
                covered[path] = None
            elif path == folder:
                raise DatasetError(
                    f"{folder} is not covered; expected a folder of one of the kinds {', '.join(kinds())}"
                )
            else:
                uncovered[path] = None
    return list(covered), list(uncovered)


def _show(row: ResultRow) -> ResultRow:
    verdict = "ok" if row.ok else f"FAIL  {row.note}".rstrip()
    print(f"{row.folder:<28} {row.output:<36}{row.error:>10.2e}{row.tolerance:>10.0e}  {verdict}", flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
