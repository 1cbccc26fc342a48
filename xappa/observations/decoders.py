"""Decoders that run as programs of their own: what they load cannot harm the session, nor its global state."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xappa.errors import MissingDependency, ObservationError

Tables = dict[str, dict[str, np.ndarray]]


def decode(
    program: str, package: str, install: str, kind: str, source: Path, options: Sequence[str]
) -> tuple[Tables, str]:
    """Run a decoder.

    Parameters
    ----------
    program : str
        File of the decoder; it takes a source, a target and options, and ends with status 3 if a package is missing.
    package : str
        What it needs.
    install : str
        What to say where that is missing.
    kind : str
        What it decodes, for messages.
    source : Path
    options : sequence of str

    Returns
    -------
    tables : dict of dict of arrays
        Columns by table.
    complaints : str
        The end of what it said on standard error.

    Raises
    ------
    MissingDependency, ObservationError
    """
    if importlib.util.find_spec(package) is None:
        raise MissingDependency(install)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "reports.npz"
        # Not `-m`: the decoder must not import the package, and `-P` keeps its folder off the path.
        command = [sys.executable, "-P", program, str(source), str(target), *options]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        complaints = "\n".join(done.stderr.strip().splitlines()[-8:])
        if done.returncode == 3:
            raise MissingDependency(f"{install}\n{complaints}")
        if done.returncode != 0:
            how = f"was ended by {signal.Signals(-done.returncode).name}" if done.returncode < 0 else "failed"
            raise ObservationError(
                f"{source}: the {kind} decoder {how}. Expected a {kind} file of reports. It said:\n{complaints}"
            )
        tables: Tables = {}
        with np.load(target) as archive:
            for name in archive.files:
                table, _, column = name.partition(".")
                tables.setdefault(table, {})[column] = archive[name]
    return tables, complaints
