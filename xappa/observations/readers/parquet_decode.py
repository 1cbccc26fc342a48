"""Parquet to a plain copy of itself; run as a program of its own, because pyarrow can take its process down.

    python -P parquet_decode.py SOURCE TARGET

reads SOURCE, checks all of its values, and writes them, uncompressed, as the Parquet file TARGET with the same types
and metadata. It imports nothing of xappa, so that nothing else is in the process. Exit status 3 means that pyarrow is
not installed, 5 that SOURCE cannot be read.
"""

from __future__ import annotations

import sys


def main(source: str, target: str) -> int:
    """Copy `source` to `target`; returns the exit status."""
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    try:
        table = pq.read_table(source)
        table.validate(full=True)
        pq.write_table(table, target, compression="none")
    except MemoryError:
        raise
    except Exception as error:  # pyarrow raises whatever it comes across
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
