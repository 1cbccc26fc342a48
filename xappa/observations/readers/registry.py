"""Readers of formats that this package does not read by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.registry import Registry


class Reader(ABC):
    """A format of files of reports.

    A reader is asked before the formats of this package are, so it should match what is its own by contents alone.
    """

    @abstractmethod
    def matches(self, path: Path, head: bytes) -> bool:
        """Whether a file is of this format.

        Parameters
        ----------
        path : Path
            Of the file, without the suffix of packing.
        head : bytes
            The first 65,536 bytes of its contents, unpacked.
        """

    @abstractmethod
    def read(self, path: Path) -> pd.DataFrame | xr.Dataset:
        """Reports of a file, unpacked.

        Returns
        -------
        DataFrame or Dataset
            Anything that `read_observations` takes: names, units, times and errors are understood as there, and the
            caller's ``rename=``, ``units=`` and ``stations=`` apply.
        """


def _prepare(item: Any) -> Reader:
    """A reader, from its class, or itself."""
    if isinstance(item, type) and issubclass(item, Reader):
        return item()
    if isinstance(item, Reader):
        return item
    raise TypeError(f"found {item!r}, expected a subclass of xappa.observations.Reader")


READERS: Registry[Reader] = Registry("reader", "xappa.readers", _prepare)
"""Custom readers, and readers of installed packages."""


def reader_of(path: Path, name: str, head: bytes) -> Reader | None:
    """The reader whose format a file has, or None.

    Parameters
    ----------
    path : Path
    name : str
        Of the file, without the suffix of packing.
    head : bytes
        The beginning, unpacked.

    Raises
    ------
    ObservationError
        If several match, or one fails while it is asked.
    """
    found = {key: reader for key, reader in READERS.items() if _matches(key, reader, path, name, head)}
    if len(found) > 1:
        raise ObservationError(
            f"{path}: the readers {' and '.join(map(repr, found))} both match. Expected one: read it with one of them, "
            "and give what it returns"
        )
    return next(iter(found.values()), None)


def _matches(key: str, reader: Reader, path: Path, name: str, head: bytes) -> bool:
    try:
        return bool(reader.matches(path.with_name(name), head))
    except Exception as error:  # whatever the code of another package raises
        raise ObservationError(
            f"{path}: the reader {key!r} failed while it was asked for its format: {type(error).__name__}: {error}. "
            "Repair it, or uninstall its package"
        ) from error
