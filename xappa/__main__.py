"""``python -m xappa``: the command line."""

import sys

from xappa.cli import main

if __name__ == "__main__":
    sys.exit(main())
