"""`read_observations`: reports from anywhere into the one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from xappa.errors import MissingDependency, ObservationError
from xappa.observations.bufr import read_bufr
from xappa.observations.cf import from_dataset
from xappa.observations.derive import derive_wind
from xappa.observations.errors_table import Errors, with_errors
from xappa.observations.form import COORDINATE_ATTRS, concat
from xappa.observations.frames import from_frame
from xappa.observations.names import COORDINATES, Naming
from xappa.observations.quality import check

One = str | Path | pd.DataFrame | xr.Dataset | xr.DataArray
Source = One | Sequence[One] | Mapping[str, One]

_SUFFIXES = ".csv, .parquet, .nc, .zarr or .bufr"


def read_observations(
    source: Source,
    *,
    rename: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    error: Errors | None = None,
    derive: bool = True,
) -> xr.Dataset:
    """Reports from a file, a table or a Dataset, in the one form, checked.

    Parameters
    ----------
    source : path, DataFrame, Dataset, or a list or dict of these
        A file (CSV, Parquet, NetCDF, Zarr, BUFR), a table (tidy: ``time, lat, lon, variable, observation`` and optional
        ``elev, station, level, error, units``; or wide: one column a quantity), or a CF Dataset of points. Of a dict,
        the keys become the coordinate ``source``.
    rename : mapping of str to str, optional
        What a name in the source means, as in ``{"temp": "2m_temperature"}``. Otherwise CF attributes and common
        spellings tell.
    units : mapping of str to str, optional
        Units of a name in the source, as in ``{"temp": "degC"}``. Otherwise attributes or the column ``units`` tell;
        where nothing does, the units of `xappa.vocabulary` are assumed, and the attribute ``units_assumed`` says so.
    error : mapping, str or float, optional
        Error deviations for reports that bring none: see `with_errors`.
    derive : bool, default True
        Whether to derive wind components from speed and direction.

    Returns
    -------
    Dataset
        Dimension ``obs``; coordinates ``time, latitude, longitude`` and, where known, ``level`` (hPa), ``altitude``
        (m), ``station`` and ``source``. For each quantity: its values (NaN where not reported), ``<name>_error``
        (deviation, same units) where known, ``<name>_flag`` (see `Flag`). Attributes say what was left out
        (``unknown_variables``, ``unreadable_values``: JSON of counts). Dask-backed values stay lazy.

    Raises
    ------
    ObservationError
        If the source cannot be read as a whole; single bad reports are flagged instead, see `flag_counts`.
    UnitsError
        If units are unknown or cannot be converted.
    OptionError
        If `rename` or `error` does not make sense.
    MissingDependency
        If the format needs a package that is not installed.

    Examples
    --------
    >>> import pandas as pd
    >>> from xappa.observations import read_observations
    >>> table = pd.DataFrame(
    ...     {"time": ["2024-01-01T12:00"], "lat": [50.8], "lon": [4.4], "temp": [7.0]}
    ... )
    >>> obs = read_observations(table, rename={"temp": "2m_temperature"}, units={"temp": "degC"}, error={"t2m": "1 K"})
    >>> float(obs["2m_temperature"][0])
    280.15
    """
    naming = Naming(rename or {}, units or {})
    obs = _read(source, naming)
    naming.require_used()
    if derive:
        obs = derive_wind(obs)
    if error is not None:
        obs = with_errors(obs, error)
    return check(obs)


def _read(source: Source, naming: Naming) -> xr.Dataset:
    if isinstance(source, str | Path):
        return _read_file(Path(source), naming)
    if isinstance(source, pd.DataFrame):
        return from_frame(source, naming)
    if isinstance(source, xr.DataArray):
        return from_dataset(source.to_dataset(name=source.name or "observation"), naming)
    if isinstance(source, xr.Dataset):
        return from_dataset(source, naming)
    if isinstance(source, Mapping):
        parts = [_labelled(_read(part, naming), str(key)) for key, part in source.items()]
    elif isinstance(source, Sequence):
        parts = [_read(part, naming) for part in source]
    else:
        raise ObservationError(
            f"Observations of the type {type(source).__name__} are not read; expected a path, a pandas DataFrame, "
            "an xarray Dataset, or a list or dict of these"
        )
    if not parts:
        raise ObservationError(f"The {type(source).__name__} of observations is empty. Expected at least one source")
    return concat(parts)


def _labelled(obs: xr.Dataset, key: str) -> xr.Dataset:
    return obs.assign_coords(source=("obs", [key] * obs.sizes["obs"], COORDINATE_ATTRS["source"]))


def _read_file(path: Path, naming: Naming) -> xr.Dataset:
    if not path.exists():
        raise ObservationError(f"No file or folder {str(path)!r}. Expected the path of {_SUFFIXES}")
    name = path.name.casefold()
    if name.endswith((".csv", ".csv.gz")):
        return from_frame(_read_csv(path), naming)
    if name.endswith((".parquet", ".pq")):
        return from_frame(_read_parquet(path), naming)
    if name.endswith(".zarr"):
        return from_dataset(xr.open_dataset(path, engine="zarr", chunks={}), naming)
    if name.endswith((".nc", ".nc4", ".netcdf")):
        return from_dataset(_open_netcdf(path), naming)
    if name.endswith((".bufr", ".bfr")) or _is_bufr(path):
        return read_bufr(path)
    raise ObservationError(
        f"{path}: the format of {path.suffix or 'a name without suffix'!r} is not known. Expected {_SUFFIXES}"
    )


def _is_bufr(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"BUFR" in file.read(512)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        header = pd.read_csv(path, nrows=0)
    except pd.errors.EmptyDataError:
        raise ObservationError(f"{path}: the file is empty. Expected a header and at least one report") from None
    # Station numbers are names: 01001 must keep its zero.
    names = {spelling.casefold() for spelling in COORDINATES["station"]}
    return pd.read_csv(path, dtype={column: str for column in header.columns if column.casefold() in names})


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise MissingDependency(
            f'{path}: reading Parquet needs pyarrow, which is not installed: pip install "xappa[obs]"'
        ) from error


def _open_netcdf(path: Path) -> xr.Dataset:
    try:
        return xr.open_dataset(path, chunks={})
    except (ImportError, OSError, ValueError) as error:
        if isinstance(error, ImportError) or "not be installed" in str(error):
            raise MissingDependency(
                f"{path}: reading NetCDF needs netCDF4 (or h5netcdf and h5py), which are not installed: "
                "pip install netCDF4"
            ) from error
        raise ObservationError(f"{path}: cannot be read as NetCDF: {error}") from error
