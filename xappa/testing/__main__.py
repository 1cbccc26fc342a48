"""``python -m xappa.testing FOLDER...``: run the checks of recorded outputs, which lie beside the package.

They are part of a checkout (``tests/official``), not of the installed package.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import xappa

NOT_HERE = 2
"""Exit status where the checks are not found; that of the checks for a folder that cannot be checked, too."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks of the checkout that this package lies in.

    Parameters
    ----------
    argv : sequence of str, optional
        Fixture folders; the arguments of the process by default.

    Returns
    -------
    int
        Exit status: that of the checks; `NOT_HERE`, after a message, where there are none.
    """
    root = Path(xappa.__file__).resolve().parents[1]
    if not (root / "tests" / "official" / "command.py").is_file():
        print(
            f"error: {root} has no tests/official, so xappa is not run from a checkout; the checks of recorded outputs "
            "are in the repository alone. Run python -m xappa.testing in a checkout's root",
            file=sys.stderr,
        )
        return NOT_HERE
    # First: the folder that the command is run in may have a package of tests too.
    sys.path.insert(0, str(root))
    return importlib.import_module("tests.official.command").main(argv)


if __name__ == "__main__":
    sys.exit(main())
