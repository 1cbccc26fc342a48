"""Files of reports: read by the reader that knows them, with what goes wrong told by the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pandas as pd
import xarray as xr

from xappa.errors import ObservationError, XappaError, translate_read_errors
from xappa.observations.readers import formats as formats  # registers the readers of this package
from xappa.observations.readers.cf.datasets import from_dataset
from xappa.observations.readers.compressed import decompress_to_file, open_decompressed
from xappa.observations.readers.registry import Reader, ReaderOptions, find_reader
from xappa.observations.readers.tables.reader import read_frame
from xappa.observations.readers.text_files import HEAD
from xappa.observations.readers.unsupported import FORMATS

# A path has one slash where an address had two.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}[^/]", re.IGNORECASE)


def read_file(path: Path, options: ReaderOptions) -> xr.Dataset:
    """Observations from a file, or from a folder of Zarr.

    The format is found by the contents, packed ones unpacked; the name decides where the contents do not. NetCDF
    that is packed is read into memory; what is not packed stays lazy.

    Raises
    ------
    ObservationError
        If it is not there, its format is not known, or it cannot be read as what it seems to be.
    MissingDependency
        If the format needs a package that is not installed.
    """
    path = _resolve_existing(path)
    reader = find_reader(path, _read_head(path), options)
    if reader is None:
        raise ObservationError(
            f"{path} is a folder without the metadata of Zarr (zarr.json, .zgroup). Expected a Zarr store, or a list "
            f"of files: read_observations([*pathlib.Path({str(path)!r}).glob('*.csv')])"
        )
    with (
        nullcontext(path) if reader.reads_packed else decompress_to_file(path) as plain,
        _name_file_in_errors(path, plain),
    ):
        obs = _read(reader, plain, options)
        return obs if plain == path else obs.load()


def _read_head(path: Path) -> bytes:
    """The beginning of a file, unpacked; nothing of a folder."""
    if path.is_dir():
        return b""
    with open_decompressed(path) as file:
        return file.read(HEAD)


def _read(reader: Reader, path: Path, options: ReaderOptions) -> xr.Dataset:
    found = reader.read(path)
    if isinstance(found, pd.DataFrame):
        return read_frame(found, options)
    if isinstance(found, xr.Dataset):
        return found if reader.in_schema else from_dataset(found, options.naming)
    raise ObservationError(
        f"{path}: the reader {type(reader).__name__} returned {type(found).__name__}; expected a DataFrame or a Dataset"
    )


def _resolve_existing(path: Path) -> Path:
    try:
        path = path.expanduser()
        path.exists()
    except (RuntimeError, OSError, ValueError) as error:  # such as names that are too long
        raise ObservationError(f"{str(path)[:80]!r}: {error}. Expected the path of {FORMATS}") from error
    if not path.exists() and _ADDRESS.match(str(path)):
        raise ObservationError(
            f"{str(path)!r} is an address, which is not read. Fetch the file, or open it with xarray or pandas and "
            "give the Dataset or the table"
        )
    if not path.exists():
        raise ObservationError(f"No file or folder {str(path)!r}. Expected the path of {FORMATS}")
    if not path.is_file() and not path.is_dir():  # such as a pipe, at which reading would wait for ever
        raise ObservationError(f"{path} is neither a file nor a folder. Copy what it gives into a file, and read that")
    return path


@contextmanager
def _name_file_in_errors(path: Path, plain: Path) -> Iterator[None]:
    """Errors of libraries, which speak of the unpacked file or of none, as one that names the file."""
    try:
        with translate_read_errors(f"{path}:", "reports", ObservationError, _REMEDY):
            yield
    except XappaError as error:
        text = str(error).replace(str(plain), str(path))
        if text == str(error) and str(path) in text:
            raise
        raise type(error)(text if str(path) in text else f"{path}: {text}") from error


_REMEDY = "Expected a whole file: it is damaged or incomplete, or not what it seems to be. Fetch or write it again"
