"""Run another program with limits of memory, where the operating system has them.

    python -P limited_program.py MEMORY MAPPED PROGRAM [ARGUMENT ...]

MEMORY are the bytes that it may allocate (``inf`` for no limit), MAPPED those of files that it may map into its address
space beside them. Exit status 4 means that Python found no memory within the limit; others are the program's own. It
imports nothing of xappa, so that nothing else is in the process.
"""

from __future__ import annotations

import math
import runpy
import sys

_PROGRAM = 1 << 32
"""Bytes of address space, which need not be memory, for the interpreter and its libraries."""


def limit_memory(memory: float, mapped: float) -> None:
    """Limit what this process may allocate (``RLIMIT_DATA``) and address (``RLIMIT_AS``)."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    if math.isinf(memory):
        return
    for kind, size in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_AS, memory + mapped + _PROGRAM)):
        hard = resource.getrlimit(kind)[1]
        size = int(size) if hard == resource.RLIM_INFINITY else min(int(size), hard)
        try:
            resource.setrlimit(kind, (size, hard))
        except (ValueError, OSError):  # macOS refuses limits below what a process has reserved already
            continue


def main(memory: str, mapped: str, program: str, *arguments: str) -> int:
    """Run a program as it would run by itself; returns the exit status."""
    limit_memory(float(memory), float(mapped))
    sys.argv = [program, *arguments]
    try:
        runpy.run_path(program, run_name="__main__")
    except MemoryError as error:
        print(f"MemoryError: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
