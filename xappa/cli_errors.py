"""Error messages of the command line: one line on stderr, and an exit code."""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from xappa.errors import XappaError

USAGE, INTERNAL, INTERRUPTED = 2, 1, 130
"""Exit codes: wrong input, a fault of the program, an interruption."""


class Parser(argparse.ArgumentParser):
    """A parser that refuses arguments in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, where help is, and end with `USAGE`."""
        self.exit(USAGE, f"{self.prog}: {join_lines(message)} ({self.prog} --help lists what is expected)\n")


def report_error(error: BaseException, command: str) -> int:
    """Print an error as one line on stderr.

    Parameters
    ----------
    error : BaseException
        Exception that a command raised.
    command : str
        Its name, for the line.

    Returns
    -------
    int
        `USAGE` for what the user can correct: errors of this package, and of the system (no room, no permission).
        `INTERRUPTED` after an interruption; `INTERNAL` for anything else, which is a fault of the program.
    """
    if isinstance(error, KeyboardInterrupt):
        return _print_line(command, "interrupted", INTERRUPTED)
    if isinstance(error, XappaError | OSError):
        return _print_line(command, str(error) or type(error).__name__, USAGE)
    if isinstance(error, MemoryError):
        return _print_line(command, "not enough memory; ask for fewer members, or a shorter time", USAGE)
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = f"internal error: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
    return _print_line(command, f"{text}. Please report it with what --debug shows", INTERNAL)


def _print_line(command: str, text: str, code: int) -> int:
    print(f"xappa {command}: {join_lines(text)}", file=sys.stderr)
    return code


def join_lines(text: str) -> str:
    """A message without line breaks or other control characters; items of a list are parted by semicolons."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    ended = [line if line.endswith((":", ".", ",", ";")) else f"{line};" for line in lines[:-1]]
    joined = " ".join([*ended, *lines[-1:]])
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in joined)


@contextmanager
def print_warnings_as_lines(command: str) -> Iterator[None]:
    """Print each warning as one line that begins as an error does, without a line of the program."""

    def show(message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
        # What is deprecated concerns those who write programs; numcodecs shows it whatever the filters are.
        if not issubclass(category, DeprecationWarning):
            print(f"xappa {command}: warning: {join_lines(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
