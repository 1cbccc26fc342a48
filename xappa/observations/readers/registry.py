"""Readers of files by name: of this package, custom ones, and of installed packages; and which of them reads a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.names import NameMap
from xappa.observations.readers.compressed import strip_suffix
from xappa.observations.readers.unsupported import refuse_unsupported
from xappa.registry import Registry


class Evidence(Enum):
    """Evidence by which readers recognise a file, in the order in which they are asked: contents before names."""

    OWN = "whatever a reader of one's own, or of an installed package, knows it by"
    FOLDER = "files in a folder, which no other reader is asked about"
    SIGNATURE = "bytes at the beginning of the file"
    EMBEDDED = "bytes that others may stand before, such as a heading"
    NAME = "the suffix of its name, where bytes do not tell"
    FIRST_LINE = "the form of the first line of a text"
    WORDS = "words anywhere in a text"
    TEXT = "that it is known by nothing else"


@dataclass(frozen=True)
class ReaderOptions:
    """Options that the caller of `read_observations` gives.

    Parameters
    ----------
    naming : NameMap
        What names mean, and their units.
    stations : DataFrame or None
        Places of stations by name, from `stations.station_table`.
    date : str or None
        Date near which reports were made that do not give their month.
    """

    naming: NameMap = field(default_factory=NameMap)
    stations: pd.DataFrame | None = None
    date: str | None = None


class Reader(ABC):
    """A format of files of reports.

    A reader of one's own is asked before those of this package are, so it should match what is its own by contents
    alone.
    """

    evidence: ClassVar[Evidence] = Evidence.OWN
    """Evidence by which it recognises files, which sets the order of readers."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Ends of names, in lower case, for which it is taken where contents do not tell."""

    in_schema: ClassVar[bool] = False
    """Whether a Dataset that it returns is taken as it is."""

    reads_packed: ClassVar[bool] = False
    """Whether it is given packed files as they are."""

    def with_options(self, options: ReaderOptions) -> Reader:
        """The reader that reads as the caller says; by itself one that needs nothing of it."""
        return self

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


@dataclass(frozen=True)
class FormatReader(Reader):
    """A format that this package reads into the schema, or into a table.

    Parameters
    ----------
    options : ReaderOptions
    """

    in_schema = True
    options: ReaderOptions = field(default_factory=ReaderOptions)

    def with_options(self, options: ReaderOptions) -> Reader:
        """The same reader with other options."""
        return replace(self, options=options)


def _prepare(item: Any) -> Reader:
    """A reader, from its class, or itself."""
    if isinstance(item, type) and issubclass(item, Reader):
        return item()
    if isinstance(item, Reader):
        return item
    raise TypeError(f"found {item!r}, expected a subclass of xappa.observations.Reader")


READERS: Registry[Reader] = Registry("reader", "xappa.readers", _prepare)
"""Readers of this package (`formats`, and archives of lines), custom ones, and those of installed packages."""


def find_reader(path: Path, head: bytes, options: ReaderOptions) -> Reader | None:
    """The reader whose format a file or folder has, or None.

    Parameters
    ----------
    path : Path
    head : bytes
        The beginning of a file, unpacked.
    options : ReaderOptions

    Raises
    ------
    ObservationError
        If the file is empty, or of a format that is known and not read, if several readers match, or if one fails
        while it is asked.
    """
    readers = {key: reader.with_options(options) for key, reader in READERS.items()}
    folder = path.is_dir()
    for evidence in Evidence:
        if (evidence is Evidence.FOLDER) != folder:
            continue
        if evidence is Evidence.EMBEDDED:
            refuse_unsupported(path, head)
        found = {key: reader for key, reader in readers.items() if _knows(key, reader, evidence, path, head)}
        if len(found) > 1:
            raise ObservationError(
                f"{path}: the readers {' and '.join(map(repr, found))} both match. Expected one: read it with one of "
                "them, and give what it returns"
            )
        if found:
            return next(iter(found.values()))
    return None


def _knows(key: str, reader: Reader, evidence: Evidence, path: Path, head: bytes) -> bool:
    """Whether a reader knows a file by a kind of evidence."""
    plain = path if path.is_dir() else path.with_name(strip_suffix(path))
    if evidence is Evidence.NAME:
        return plain.suffix.casefold() in reader.suffixes
    try:
        return evidence is reader.evidence and bool(reader.matches(plain, head))
    except Exception as error:  # whatever the code of another package raises
        raise ObservationError(
            f"{path}: the reader {key!r} failed while it was asked for its format: {type(error).__name__}: {error}. "
            "Repair it, or uninstall its package"
        ) from error
