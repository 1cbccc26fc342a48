"""Programs that read files of reports, run as processes with limits of time and memory.

What such a program loads cannot harm the session, nor its global state. A program that loops, allocates without end or
crashes is ended and reported with its file.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from xappa.errors import MissingDependency, ObservationError, ReaderError, ReaderMemoryError, ReaderTimeout
from xappa.observations.readers import limited_program
from xappa.options import get_options
from xappa.sizes import get_reader_memory

ALLOWANCE = 1_000_000
"""Bytes of a file for which its reader may take the option ``reader_timeout`` once more, beyond twice that."""

MISSING, NO_MEMORY, REFUSED = 3, 4, 5
"""Exit statuses of programs: a package is missing, the limit of memory is reached, the file cannot be read."""

_LONGEST_WAIT = 3600.0
_SAID = 8
_MOST_SAID = 1 << 16
# Readers multiply no matrices: threads for that would only take memory.
_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Job:
    """What a program is to read.

    Parameters
    ----------
    source, target : Path
    options : sequence of str
        Further arguments.
    size : int
        Bytes of the source that it is to read.
    advance : callable
        Called with the number of bytes that are done, each time it tells some.
    running : list of Popen
        Gets the process, so that the caller can end it.
    """

    source: Path
    target: Path
    options: Sequence[str]
    size: int
    advance: Callable[[int], None]
    running: list[subprocess.Popen[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """A program that reads a file.

    Parameters
    ----------
    path : str
        Its file. It takes a source, a target and options, and says on its standard output, a number a line, how many
        bytes more of the source are done. Exit statuses: 3 if a package is missing, 4 if there is no memory within the
        limit, 5 if the source cannot be read, for the reason in the last line of its standard error.
    package : str
        What it needs.
    install : str
        What to say where that is missing.
    kind : str
        What it decodes, for messages.
    """

    path: str
    package: str
    install: str
    kind: str

    def require_package(self) -> None:
        """Raise MissingDependency if the package is missing."""
        if importlib.util.find_spec(self.package) is None:
            raise MissingDependency(self.install)

    def run(self, job: Job) -> str:
        """Run it to its end.

        Returns
        -------
        str
            The end of what it said on standard error.

        Raises
        ------
        MissingDependency
            If a package is missing.
        ObservationError
            If the source cannot be read.
        ReaderTimeout, ReaderMemoryError
            If it reached a limit.
        ReaderError
            If it failed otherwise, or a signal ended it.
        """
        source, target = job.source, job.target
        mapped = source.stat().st_size if source.is_file() else 0
        limits = [str(get_reader_memory()), str(mapped)]
        # Not `-m`: the program must not import the package, and `-P` keeps its folder off the path.
        launch = [sys.executable, "-P", limited_program.__file__, *limits]
        command = [*launch, self.path, str(source), str(target), *job.options]
        with (
            target.with_name(f"{target.name}.said").open("w+b") as said,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=said, text=True, errors="replace", env=os.environ | _THREADS
            ) as process,
        ):
            job.running.append(process)
            try:
                _wait(process, job, self.kind)
            finally:
                process.kill()
            complaints = _read_last_lines(said)
        self._require_success(source, process.returncode, complaints)
        return complaints

    def _require_success(self, source: Path, status: int, said: str) -> None:
        if status == MISSING:
            raise MissingDependency(f"{self.install}\n{said}")
        if status == REFUSED:
            raise ObservationError(f"{source}: {(said.splitlines() or ['cannot be read'])[-1]}")
        limit = (
            f"The limit of memory is {get_reader_memory() / 1e9:.3g} GB; raise it with set_options(reader_memory=...)"
        )
        if status == NO_MEMORY:
            raise ReaderMemoryError(
                f"{source}: the {self.kind} decoder needs more memory than it may take. {limit} if the file is right, "
                f"or split the file. It said:\n{said}"
            )
        if status != 0:
            how = f"was ended by {_name_signal(-status)}" if status < 0 else f"failed (exit status {status})"
            memory = f" {limit} if it is short of memory." if status < 0 else ""
            raise ReaderError(
                f"{source}: the {self.kind} decoder {how}. Expected a {self.kind} file of reports: fetch or write it "
                f"again.{memory} It said:\n{said}"
            )


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _wait(process: subprocess.Popen[str], job: Job, kind: str) -> None:
    """Wait for the end of a process as long as it comes forward; raises ReaderTimeout otherwise."""
    timeout, done, lines = get_options().reader_timeout, 0, queue.SimpleQueue[str | None]()
    assert process.stdout is not None
    threading.Thread(target=_forward_lines, args=(process.stdout, lines), daemon=True).start()
    moved, longest = time.monotonic(), timeout * (2 + job.size / ALLOWANCE)
    end = moved + longest
    while (left := min(moved + timeout, end) - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=min(left, _LONGEST_WAIT))
        except queue.Empty:
            continue
        if line is None:
            try:
                process.wait(timeout=None if left == float("inf") else left)
            except subprocess.TimeoutExpired:
                break
            return
        if line.strip().isdigit() and (number := int(line)) > 0:
            done, moved = done + number, time.monotonic()
            job.advance(number)
    stalled = moved + timeout <= end
    how = f"made no progress for {timeout:g} s" if stalled else f"took more than {longest:g} s"
    raise ReaderTimeout(
        f"{job.source}: the {kind} decoder {how} and was ended; {min(done, job.size)} of {job.size} bytes were done. "
        f"Expected a {kind} file of reports: the file is probably damaged. If it is right and only slow to read, allow "
        "more: xappa.set_options(reader_timeout=...)"
    )


def _forward_lines(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    """Hand on the lines of a stream, and None at its end."""
    try:
        for line in stream:
            lines.put(line)
    except ValueError:  # the stream was closed, because the process was ended
        pass
    lines.put(None)


def _read_last_lines(said: IO[bytes]) -> str:
    """The last lines of a file."""
    said.seek(max(said.seek(0, os.SEEK_END) - _MOST_SAID, 0))
    return "\n".join(said.read().decode(errors="replace").strip().splitlines()[-_SAID:])
