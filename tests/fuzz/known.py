"""Hangs and crashes inside outside libraries that are known: in words, never with the input that leads to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.fuzz.outcomes import Outcome


@dataclass(frozen=True)
class Known:
    """A fault of a library.

    Parameters
    ----------
    formats : tuple of str
        Targets that meet it.
    outcome : {"hang", "crash"}
        Errors that are raised are never known ones: they can be caught.
    place : str
        Text within the innermost frames that are reported.
    library, version, words : str
        Whose fault it is, the version it was seen in, and what happens.
    """

    formats: tuple[str, ...]
    outcome: str
    place: str
    library: str
    version: str
    words: str


KNOWN: Sequence[Known] = (
    Known(
        ("bufr",),
        "crash",
        "gribapi.py",
        "ecCodes",
        "2.50",
        "Damaged descriptors or lengths in a message end the process. Users read by a process of its own "
        "(target bufr-process), whose end is an ObservationError.",
    ),
    Known(
        ("netcdf-bytes",),
        "crash",
        "open_lazily",
        "HDF5, by netCDF4",
        "2.2 (netCDF4 1.7.5)",
        "Opening a file whose HDF5 structures are damaged ends the process.",
    ),
    Known(
        ("netcdf-bytes",),
        "hang",
        "netcdf.py",
        "HDF5, by netCDF4",
        "2.2 (netCDF4 1.7.5)",
        "Opening a file whose HDF5 structures are damaged does not come back, and holds Python's lock.",
    ),
)


def is_known(name: str, outcome: Outcome) -> bool:
    """Whether an outcome of the target `name` is a fault of an outside library that is listed."""
    return any(
        name in known.formats and outcome.kind == known.outcome and known.place in outcome.what for known in KNOWN
    )
