"""`read_observations`: reports from anywhere into the schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xappa.argument_types import check_arguments, format_value
from xappa.errors import ObservationError, OptionError
from xappa.observations import convert
from xappa.observations.assumptions import AssumptionLog
from xappa.observations.convert import DerivedReports, flag_derived
from xappa.observations.derive import derive_wind
from xappa.observations.errors.attributes import label_sources, require_correlation_stated
from xappa.observations.errors.tables import Errors, with_errors
from xappa.observations.names import NameMap
from xappa.observations.qc import check
from xappa.observations.qc.gross_checks import ignore_levels_near_ground
from xappa.observations.readers.cf.datasets import from_dataset
from xappa.observations.readers.files import read_file
from xappa.observations.readers.geopotential import refuse_heights
from xappa.observations.readers.registry import ReaderOptions
from xappa.observations.readers.station_tables import Table, read_station_table
from xappa.observations.readers.tables.reader import read_frame
from xappa.observations.rejections import warn_of_rejections
from xappa.observations.schema import COORDINATE_ATTRS, concat, quantities
from xappa.observations.user_variables import convert_to_common_units, user_defined_names

One = str | Path | pd.DataFrame | xr.Dataset | xr.DataArray
Source = One | Sequence[One] | Mapping[str, One]


@check_arguments
def read_observations(
    source: Source,
    *,
    rename: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    error: Errors | None = None,
    derive: bool = True,
    stations: Table | Sequence[Table] | None = None,
    date: str | None = None,
    unknown: str | Collection[str] = "drop",
    strict: bool = False,
    suspect: str = "keep",
    source_quality: str | Mapping[str, str | Mapping[str, str]] | None = None,
) -> xr.Dataset:
    """Reports from a file, a table or a Dataset, in the schema, checked.

    Parameters
    ----------
    source : path, DataFrame, Dataset, or a list or dict of these
        One of:

        - a file: text table, Parquet, NetCDF, Zarr, BUFR, METAR bulletins or an archive, compressed or not;
        - a tidy table, one line per value: columns ``time, lat, lon, variable, observation`` and optionally ``elev,
          station, level, error, units, period``;
        - a wide table, one column per quantity, or a table of an archive, such as GHCNh, ISD or GSOD (see the section
          "Archives" of ``docs/observations.md``);
        - a CF Dataset: points, time series, profiles and trajectories as ragged or multidimensional arrays, swaths,
          gridded products.

        In a dict, the keys become the coordinate ``source``. The parts of a list get such labels only if one of them
        describes correlated errors, which hold within that part.
    rename : mapping of str to str, optional
        What a name in the source means, as in ``{"temp": "2m_temperature"}``. Otherwise CF attributes and common
        spellings tell.
    units : mapping of str to str, optional
        Units of a name in the source, as in ``{"temp": "degC"}``, or scaled, as in ``{"temp": "0.1 degC"}``. Otherwise
        attributes, the column ``units``, names (``temp (degC)``) or a row of units tell; where nothing does, the units
        of `xappa.vocabulary` are assumed, and the attribute ``units_assumed`` says so.
    error : mapping, str or float, optional
        Error deviations for reports that bring none: see `with_errors`.
    derive : bool, default True
        Whether to derive quantities of models from those that are reported: wind components from speed and direction;
        specific humidity from dew point, or from relative humidity and temperature; temperature from potential
        temperature; geopotential from geopotential height; surface pressure from the altimeter setting; and mean
        sea-level pressure from surface pressure, height and temperature of stations up to 750 m. With False, the
        attribute ``derived = "off"`` keeps it off when the result is read again.
    stations : DataFrame, path, or a list of these, optional
        Places and heights of stations, for reports that only name theirs (METAR, ISD-Lite, tables without latitude):
        see `read_station_table`.
    date : str, optional
        Date (ISO 8601) near which METAR reports were made, where the file's name does not tell.
    unknown : {"drop", "keep"} or collection of str, default "drop"
        What becomes of variables that are no known quantity: left out and counted, kept as user-defined quantities (all
        that are numbers along the reports; for a function as operator), or only those with these names kept. Those
        whose units are given in `units` are kept in any case. Their values stay as they are, in their own units.
    strict : bool, default False
        Whether to refuse what would have to be assumed (units that are not given, and whatever else an
        `AssumptionWarning` tells), instead of warning of it.
    suspect : {"keep", "reject"}, default "keep"
        What becomes of values that the source's own quality control calls suspect; those that it rejects are flagged
        ``rejected_by_source`` in any case. Values that are kept are counted in the attribute ``reports_suspect``.
    source_quality : str, or mapping, optional
        Scheme of the source's quality codes (``t2m_qc``, ``quality_code``), where it does not follow from them: its
        name (``"qartod"``, ``"argo"``, ``"ncep"``, ``"madis"``, ``"ghcnh"``, ``"isd"``), or codes to verdicts, as in
        ``{"B": "failed", "D": "suspect"}``; for all columns, or by the column's name.

    Returns
    -------
    Dataset
        Dimension ``obs``; coordinates ``time, latitude, longitude`` and, where known, ``level`` (hPa), ``altitude``
        (m), ``height`` (m above the ground), ``station``, ``period`` (of reports over one: see `periods`), ``channel``
        and ``source``. For each quantity: its values (NaN where not reported), ``<name>_error`` (deviation, same units)
        where known, ``<name>_flag`` (see `Flag`); its attribute ``units_read`` has the units that the source told.
        Attributes of the Dataset say what was left out (``unknown_variables``, ``unreadable_values``,
        ``missing_codes``, ``statistics_left_out``: JSON of counts). Dask-backed values stay lazy.

    Raises
    ------
    ObservationError
        If the source cannot be read as a whole (single bad reports are flagged instead, see `flag_counts`), or if
        something had to be assumed and `strict` is true.
    UnitsError
        If units are unknown or cannot be converted.
    OptionError
        If `rename`, `error`, `suspect` or `source_quality` does not make sense.
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
    naming = NameMap(rename or {}, units or {}, _select_unknown(unknown, error), suspect, source_quality or {})
    aids = ReaderOptions(naming, None if stations is None else read_station_table(stations), date)
    obs, assumed = read_with_assumptions(source, aids, error=error, derive=derive)
    assumed.warn(strict)
    return obs


def _select_unknown(unknown: str | Collection[str], error: Errors | None) -> str | Collection[str]:
    """Unknown variables that are kept: those that the caller names, and those whose errors are given."""
    if not isinstance(unknown, str):
        if not all(isinstance(name, str) for name in unknown):
            raise OptionError(f"unknown={format_value(unknown)}, expected names of variables")
        return {*unknown, *user_defined_names(error)}
    return (user_defined_names(error) or unknown) if unknown == "drop" else unknown


def read_with_assumptions(
    source: Source, aids: ReaderOptions, *, error: Errors | None = None, derive: bool = True
) -> tuple[xr.Dataset, AssumptionLog]:
    """Read as `read_observations` does, and return the assumptions instead of warning of them."""
    assumed = AssumptionLog()
    obs = _read(source, aids, assumed)
    obs = assumed.add(ignore_levels_near_ground(obs), obs)
    aids.naming.require_used()
    refuse_heights(obs)
    require_correlation_stated(obs, quantities(obs))
    derived: list[DerivedReports] = []
    if derive and obs.attrs.get("derived") != "off":
        read = obs
        obs, derived = convert.derive_quantities(derive_wind(obs))
        obs = convert.flag_derived_duplicates(obs, read)
    elif not derive:
        obs = obs.assign_attrs(derived="off")
    if error is not None:
        obs = with_errors(obs, error)
    obs = flag_derived(check(obs), derived)
    warn_of_rejections(obs, source if isinstance(source, xr.Dataset) else None)
    return obs, assumed


def _read(source: Source, aids: ReaderOptions, assumed: AssumptionLog) -> xr.Dataset:
    if isinstance(source, str | Path):
        return assumed.add(read_file(Path(source), aids))
    if isinstance(source, pd.DataFrame):
        return assumed.add(read_frame(source, aids))
    if isinstance(source, xr.DataArray):
        return assumed.add(from_dataset(source.to_dataset(name=source.name or "observation"), aids.naming))
    if isinstance(source, xr.Dataset):
        return assumed.add(from_dataset(source, aids.naming), source)
    if isinstance(source, Mapping):
        parts = [_label_source(_read(part, aids, assumed), str(key)) for key, part in source.items()]
    elif isinstance(source, Sequence):
        parts = label_sources([_read(part, aids, assumed) for part in source])
    else:
        raise ObservationError(
            f"Observations of the type {type(source).__name__} are not read; expected a path, a pandas DataFrame, "
            "an xarray Dataset, or a list or dict of these"
        )
    if not parts:
        raise ObservationError(f"The {type(source).__name__} of observations is empty. Expected at least one source")
    return concat(convert_to_common_units(parts))


def _label_source(obs: xr.Dataset, key: str) -> xr.Dataset:
    return obs.assign_coords(source=("obs", np.full(obs.sizes["obs"], key), COORDINATE_ATTRS["source"]))
