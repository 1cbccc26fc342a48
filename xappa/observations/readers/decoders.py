"""Decoders that hand over what they read as NumPy archives, several processes side by side."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from xappa.observations.readers.processes import Job, Program
from xappa.progress import show_reading

Tables = dict[str, dict[str, np.ndarray]]

PART = 500_000
"""Bytes of a file for which a further process is worth its start."""

_SAID = 8


class DecoderProcess(Program):
    """A program that writes a NumPy archive, ``<table>.<column>``; parameters are those of `Program`."""

    def __call__(self, source: Path, *options: Sequence[str]) -> tuple[list[Tables], str]:
        """Run the program for each list of options, side by side, each on an equal share of the source.

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
            See `Program.run`.
        """
        self.require_package()
        size = source.stat().st_size
        with (
            tempfile.TemporaryDirectory() as folder,
            show_reading(size, f"Reading {source.name}") as advance,
            ThreadPoolExecutor(len(options)) as threads,
        ):
            running: list[subprocess.Popen[str]] = []
            share = -(-size // len(options))
            waiting = [
                threads.submit(
                    self._decode_archive, Job(source, Path(folder) / f"{i}.npz", each, share, advance, running)
                )
                for i, each in enumerate(options)
            ]
            try:
                for each in as_completed(waiting):
                    each.result()  # the first that fails ends the others
            finally:
                for process in running:
                    process.kill()
        done = [each.result() for each in waiting]
        complaints = [line for _, said in done for line in said.splitlines()]
        return [tables for tables, _ in done], "\n".join(complaints[-_SAID:])

    def _decode_archive(self, job: Job) -> tuple[Tables, str]:
        complaints = self.run(job)
        tables: Tables = {}
        with np.load(job.target) as archive:
            for name in archive.files:
                table, _, column = name.partition(".")
                tables.setdefault(table, {})[column] = archive[name]
        return tables, complaints


def plan_parts(source: Path) -> list[tuple[str, str]]:
    """Options for as many processes as there are processors and as a file is worth: part and number of parts."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        processors = os.cpu_count() or 1
    number = max(1, min(processors, source.stat().st_size // PART))
    return [(str(part), str(number)) for part in range(number)]
