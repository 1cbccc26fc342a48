"""Files of reports: which format it is, and its reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import xarray as xr

from xappa.errors import MissingDependency, ObservationError, XappaError, translate_read_errors
from xappa.observations.assumptions import with_assumption
from xappa.observations.names import NameMap, find_coordinate
from xappa.observations.readers.archives import find_line_reader, find_table_reader
from xappa.observations.readers.bufr.reader import read_bufr
from xappa.observations.readers.cf.datasets import from_dataset
from xappa.observations.readers.compressed import decompress_to_file, is_compressed, open_decompressed, strip_suffix
from xappa.observations.readers.formats import FORMATS, TABLES, detect_format, is_zarr
from xappa.observations.readers.isolated import copy_parquet_isolated
from xappa.observations.readers.metar.reader import is_metar, read_metar
from xappa.observations.readers.netcdf import read_netcdf
from xappa.observations.readers.registry import Reader, reader_of
from xappa.observations.readers.station_tables import fill_places
from xappa.observations.readers.tables.delimited import TableLayout, find_layout, read_table
from xappa.observations.readers.tables.frames import flatten_index, from_frame
from xappa.observations.readers.text_files import HEAD, TextFile, inspect_text_file
from xappa.options import get_options
from xappa.sizes import require_size
from xappa.zarr_codecs import require_safe_codecs

# A path has one slash where an address had two.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}[^/]", re.IGNORECASE)


@dataclass(frozen=True)
class ReaderOptions:
    """What the caller says beside names and units.

    Parameters
    ----------
    naming : NameMap
    stations : DataFrame or None
        Places of stations by name, from `read_station_table`.
    date : str or None
        Date near which reports were made that do not give their month.
    """

    naming: NameMap
    stations: pd.DataFrame | None = None
    date: str | None = None


def read_frame(frame: pd.DataFrame, aids: ReaderOptions) -> xr.Dataset:
    """Observations from a table: of an archive by its columns, else tidy or wide."""
    frame = flatten_index(frame)
    names = [*map(str, frame.columns)]
    archive = None if set(aids.naming.rename) & set(names) else find_table_reader(names)
    if archive is not None:
        aids.naming.record_names(names)
        return archive(frame, aids.naming, aids.stations)
    return from_frame(fill_places(frame, aids.naming, aids.stations), aids.naming)


def read_file(path: Path, aids: ReaderOptions) -> xr.Dataset:
    """Observations from a file.

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
    if path.is_dir():
        return _read_folder(path, aids)
    with open_decompressed(path) as file:
        head = file.read(HEAD)
    own = reader_of(path, strip_suffix(path), head)
    if own is not None:
        with decompress_to_file(path) as plain, _name_file_in_errors(path, plain):
            return _read_own(own, plain, aids)
    kind = detect_format(path, strip_suffix(path), head)
    if kind == "text":
        with _name_file_in_errors(path, path):
            return _read_text(inspect_text_file(path), aids)
    with decompress_to_file(path) as plain, _name_file_in_errors(path, plain):
        return _BINARY[kind](plain, aids, plain != path)


def _read_own(reader: Reader, path: Path, aids: ReaderOptions) -> xr.Dataset:
    found = reader.read(path)
    if isinstance(found, pd.DataFrame):
        return read_frame(found, aids)
    if isinstance(found, xr.Dataset):
        return from_dataset(found, aids.naming)
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


def _read_folder(path: Path, aids: ReaderOptions) -> xr.Dataset:
    if not is_zarr(path):
        raise ObservationError(
            f"{path} is a folder without the metadata of Zarr (zarr.json, .zgroup). Expected a Zarr store, or a list "
            f"of files: read_observations([*pathlib.Path({str(path)!r}).glob('*.csv')])"
        )
    require_safe_codecs(path, ObservationError)
    with _name_file_in_errors(path, path):
        return read_netcdf(path, aids.naming)


def _read_netcdf(path: Path, aids: ReaderOptions, packed: bool) -> xr.Dataset:
    obs = read_netcdf(path, aids.naming)
    return obs.load() if packed else obs


def _read_zarr(path: Path, aids: ReaderOptions, packed: bool) -> xr.Dataset:
    raise ObservationError(f"{path}: a file, although its name is that of a Zarr store. Expected a folder")


_BINARY: dict[str, Callable[[Path, ReaderOptions, bool], xr.Dataset]] = {
    "netcdf": _read_netcdf,
    "zarr": _read_zarr,
    "parquet": lambda path, aids, packed: read_frame(_read_parquet(path), aids),
    "bufr": lambda path, aids, packed: aids.naming.record_quantities(read_bufr(path)),
}


def _read_text(text: TextFile, aids: ReaderOptions) -> xr.Dataset:
    _require_text_name(text.path)
    of_archive = find_line_reader(text.head)
    if of_archive is not None:
        return aids.naming.record_quantities(of_archive(text, aids.stations))
    # A bulletin has no line of names, though words of it may look like one.
    layout = find_layout(text, aids.naming, least=3 if is_metar(text.head) else 1)
    if layout is not None and _is_table(text.path, layout):
        return _add_assumption(read_frame(*_read_table(text, layout, aids)), text)
    if is_metar(text.head):
        with decompress_to_file(text.path) as plain, _name_file_in_errors(text.path, plain):
            return aids.naming.record_quantities(read_metar(plain, aids.stations, aids.date))
    raise ObservationError(_describe_unknown(text))


def _is_table(path: Path, layout: TableLayout) -> bool:
    return layout.known > 1 or Path(strip_suffix(path)).suffix.casefold() in TABLES


def _read_table(text: TextFile, layout: TableLayout, aids: ReaderOptions) -> tuple[pd.DataFrame, ReaderOptions]:
    """The table, and the aids with the units of its row of units."""
    naming = aids.naming.with_declared(layout.units)
    # Station numbers are names: 01001 must keep its zero. Codes are texts too.
    texts = [
        name
        for name in layout.names
        if find_coordinate(naming.parse_heading(name).name) == "station" or name.endswith(("_Code", "_Type", "_ID"))
    ]
    frame = read_table(text, layout, texts)
    if frame.empty:
        raise ObservationError(
            f"{text.path}: the table has no rows (columns: {', '.join(layout.names[:20])}). Expected at least one "
            "report"
        )
    return frame, replace(aids, naming=naming)


def _add_assumption(obs: xr.Dataset, text: TextFile) -> xr.Dataset:
    return obs if text.assumption is None else with_assumption(obs, text.assumption)


def _require_text_name(path: Path) -> None:
    """Complain about a text whose name says that it is packed."""
    if strip_suffix(path) != path.name and not is_compressed(path):
        raise ObservationError(
            f"{path}: not packed, although its name ends with {path.suffix!r}: the file is damaged or misnamed. Fetch "
            "it anew, or rename it"
        )


def _describe_unknown(text: TextFile) -> str:
    """What is said of a text that is neither a table nor a format that is known."""
    suffix = Path(strip_suffix(text.path)).suffix
    if suffix.casefold() not in TABLES:
        return f"{text.path}: the format of {suffix or 'a name without suffix'!r} is not known. Expected {FORMATS}"
    if not text.head.strip():
        return f"{text.path}: the file is empty. Expected a header and at least one report"
    first = next(line for line in text.head.split("\n") if line.strip())
    return (
        f"{text.path}: no line of names that are known, such as time, latitude and longitude; it begins with "
        f"{first[:100]!r}. Expected a table with a line of names: add one, or say what names mean: "
        "rename={'<your name>': 'time'}"
    )


def _read_parquet(path: Path) -> pd.DataFrame:
    if get_options().isolate_readers:
        with copy_parquet_isolated(path) as plain:
            return pd.read_parquet(plain)
    try:
        _require_parquet_size(path)
        return pd.read_parquet(path)
    except ImportError as error:
        raise MissingDependency(
            f'{path}: reading Parquet needs pyarrow, which is not installed: pip install "xappa[obs]"'
        ) from error


def _require_parquet_size(path: Path) -> None:
    import pyarrow.parquet as pq

    about = pq.read_metadata(path)
    require_size(float(about.num_rows) * about.num_columns, f"{path}: its table", ObservationError)
