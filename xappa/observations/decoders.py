"""Decoders that run as programs of their own: what they load cannot harm the session, nor its global state."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xappa.errors import MissingDependency, ObservationError
from xappa.progress import reading

Tables = dict[str, dict[str, np.ndarray]]

PART = 500_000
"""Bytes of a file for which a further process is worth its start."""


def decode(
    program: str, package: str, install: str, kind: str, source: Path, options: Sequence[str]
) -> tuple[Tables, str]:
    """Run a decoder once: parameters, returns and errors as those of `Decoder`."""
    tables, complaints = Decoder(program, package, install, kind)(source, options)
    return tables[0], complaints


@dataclass(frozen=True)
class Decoder:
    """A program that writes what it reads as a NumPy archive.

    Parameters
    ----------
    program : str
        File of the decoder; it takes a source, a target and options, and ends with status 3 if a package is missing. A
        number on its standard output says how many bytes more of the source are done.
    package : str
        What it needs.
    install : str
        What to say where that is missing.
    kind : str
        What it decodes, for messages.
    """

    program: str
    package: str
    install: str
    kind: str

    def __call__(self, source: Path, *options: Sequence[str]) -> tuple[list[Tables], str]:
        """Run the program for each list of options, side by side.

        Parameters
        ----------
        source : Path
        *options : sequence of str

        Returns
        -------
        tables : list of dict of dict of arrays
            Columns by table, for each list of options.
        complaints : str
            The end of what it said on standard error.

        Raises
        ------
        MissingDependency, ObservationError
        """
        if importlib.util.find_spec(self.package) is None:
            raise MissingDependency(self.install)
        with (
            tempfile.TemporaryDirectory() as folder,
            reading(source.stat().st_size, f"Reading {source.name}") as advance,
            ThreadPoolExecutor(len(options)) as threads,
        ):
            folders = [Path(folder) / str(i) for i in range(len(options))]
            running: list[subprocess.Popen[str]] = []
            waiting = [
                threads.submit(self._run, source, *each, advance, running)
                for each in zip(folders, options, strict=True)
            ]
            try:
                for each in as_completed(waiting):
                    each.result()  # the first that fails ends the others
            finally:
                for process in running:
                    process.kill()
        done = [each.result() for each in waiting]
        complaints = [line for _, said in done for line in said.strip().splitlines()]
        return [tables for tables, _ in done], "\n".join(complaints[-8:])

    def _run(
        self,
        source: Path,
        folder: Path,
        options: Sequence[str],
        advance: Callable[[int], None],
        running: list[subprocess.Popen[str]],
    ) -> tuple[Tables, str]:
        folder.mkdir()
        # Not `-m`: the decoder must not import the package, and `-P` keeps its folder off the path.
        command = [sys.executable, "-P", self.program, str(source), str(folder / "reports.npz"), *options]
        with (
            (folder / "complaints").open("w+", errors="replace") as said,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, errors="replace") as process,
        ):
            running.append(process)
            assert process.stdout is not None
            for line in process.stdout:
                advance(int(line) if line.strip().isdigit() else 0)
            status = process.wait()
            said.seek(0)
            complaints = said.read()
        self._require_success(source, status, complaints)
        tables: Tables = {}
        with np.load(folder / "reports.npz") as archive:
            for name in archive.files:
                table, _, column = name.partition(".")
                tables.setdefault(table, {})[column] = archive[name]
        return tables, complaints

    def _require_success(self, source: Path, status: int, said: str) -> None:
        end = "\n".join(said.strip().splitlines()[-8:])
        if status == 3:
            raise MissingDependency(f"{self.install}\n{end}")
        if status != 0:
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else "failed"
            raise ObservationError(
                f"{source}: the {self.kind} decoder {how}. Expected a {self.kind} file of reports. It said:\n{end}"
            )


def parts_of(source: Path) -> list[tuple[str, str]]:
    """Options for as many processes as there are processors and as a file is worth: part and number of parts."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        processors = os.cpu_count() or 1
    number = max(1, min(processors, source.stat().st_size // PART))
    return [(str(part), str(number)) for part in range(number)]
