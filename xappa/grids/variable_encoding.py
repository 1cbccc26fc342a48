"""Encoding of a variable in a Dataset: units, storage type and accumulation period."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xappa.grids.aliases import ERA5_RATES, GEOPOTENTIAL_HEIGHTS
from xappa.grids.statistics import Statistic, infer_statistic

PRECIPITATION = {"total_precipitation": 1.0, "total_precipitation_6hr": 6.0}
"""Accumulated quantities of the vocabulary, and their periods (h)."""

_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600, "d": 86400}
_INTERVAL = re.compile(r"time:\s*(?:sum|mean)\s*\(\s*(?:interval:)?\s*([\d.]+)\s*([a-z]+?)s?\s*\)")


@dataclass(frozen=True)
class VariableEncoding:
    """Units, storage type and accumulation period of a variable.

    Parameters
    ----------
    units : str or None
        Units of the numbers; None if they have none.
    dtype : str
        Type of the user's values, ``"float32"`` or ``"float64"``.
    accumulation_hours : float or None
        Length of the accumulation or averaging period, h; 0 for an instantaneous value; None if unknown.
    since_forecast_start : bool
        Whether it is accumulated since the start of the forecast, not since the time before.
    attrs : tuple of (str, str)
        CF attributes of the quantity: standard name, long name and cell methods.
    statistic : Statistic or None
        Statistic over a period, such as a mean; None for instantaneous values and sums of precipitation.
    """

    units: str | None = None
    dtype: str = "float32"
    accumulation_hours: float | None = None
    since_forecast_start: bool = False
    attrs: tuple[tuple[str, str], ...] = ()
    statistic: Statistic | None = None


def infer_encoding(field: xr.DataArray, variable: str, time: str | None, ds: xr.Dataset) -> VariableEncoding:
    """Infer the encoding of a field of the quantity `variable`.

    Parameters
    ----------
    field : DataArray
    variable : str
        WeatherBench name.
    time : str, optional
        Name of the time coordinate.
    ds : Dataset
        Dataset with the field and the bounds of its times.

    Returns
    -------
    VariableEncoding
    """
    units = field.attrs.get("units")
    if units is None and {str(field.name), field.attrs.get("standard_name")} & GEOPOTENTIAL_HEIGHTS:
        units = "m"
    kept = tuple((k, str(field.attrs[k])) for k in ("standard_name", "long_name", "cell_methods") if k in field.attrs)
    written = VariableEncoding(units, "float64" if field.dtype == np.float64 else "float32", attrs=kept)
    if variable not in PRECIPITATION:
        return replace(written, statistic=infer_statistic(field, time, ds))
    if (forecast := _infer_forecast_hours(field, time)) is not None:
        hours, whole = forecast
        return VariableEncoding(written.units, written.dtype, hours, whole, kept)
    return VariableEncoding(written.units, written.dtype, infer_summed_hours(field, variable, time, ds), attrs=kept)


def infer_summed_hours(field: xr.DataArray, variable: str, time: str | None, ds: xr.Dataset) -> float | None:
    """Hours over which precipitation is summed or averaged: by cell methods, bounds, its name, the step of time."""
    methods = str(field.attrs.get("cell_methods", ""))
    if re.search(r"time:\s*point", methods):
        return 0.0
    if (found := parse_interval(methods)) is not None:
        return found
    if (found := _infer_bounds_hours(time, ds)) is not None:
        return found
    named = {str(field.name), field.attrs.get("GRIB_shortName"), field.attrs.get("short_name")}
    if named & {variable, "tp", "tp06", "total_precipitation_1hr"}:
        return PRECIPITATION[variable]
    return 1.0 if named & ERA5_RATES else _infer_step_hours(time, ds)


def parse_interval(cell_methods: str) -> float | None:
    """Hours of ``time: sum (interval: 6 hours)``, or of ``mean``; None where no interval is given."""
    found = _INTERVAL.search(cell_methods)
    if found is None or found[2] not in _SECONDS:
        return None
    return float(found[1]) * _SECONDS[found[2]] / 3600


def _infer_bounds_hours(time: str | None, ds: xr.Dataset) -> float | None:
    """Usual length of the intervals that bound the times."""
    if time is None:
        return None
    name = ds[time].attrs.get("bounds", ds[time].encoding.get("bounds"))
    if name not in ds.variables or ds[name].dtype.kind != "M" or ds[name].shape[-1:] != (2,) or not ds[name].size:
        return None
    bounds = ds[name].values
    return float(np.median((bounds[..., 1] - bounds[..., 0]) / np.timedelta64(1, "h")))


def _infer_step_hours(time: str | None, ds: xr.Dataset) -> float | None:
    if time is None or ds[time].dtype.kind != "M" or ds[time].size < 2:
        return None
    return float(np.median(np.diff(ds[time].values.ravel()) / np.timedelta64(1, "h")))


def _infer_forecast_hours(field: xr.DataArray, time: str | None) -> tuple[float | None, bool] | None:
    """Hours of a sum that GRIB marks as accumulated in a forecast, and whether since its start."""
    if (
        field.attrs.get("GRIB_stepType") != "accum"
        or "step" not in field.coords
        or parse_interval(_read_cell_methods(field))
    ):
        return None
    steps = np.unique(np.atleast_1d(field["step"].values) / np.timedelta64(1, "h"))
    starts = {_get_hour(value) for value in _get_reference_times(field.coords, time)}
    # The forecasts that ERA5 takes precipitation from start at 06 and 18 UTC, and its sums are those of each hour.
    if starts and starts <= {6, 18} and steps.max() <= 12:
        return 1.0, False
    if steps.max() == 0:
        return None
    return (float(steps[0]), False) if len(steps) == 1 else (None, True)


def _read_cell_methods(field: xr.DataArray) -> str:
    return str(field.attrs.get("cell_methods", ""))


def _get_reference_times(coords: Mapping[Hashable, Any], time: str | None) -> np.ndarray:
    for name, coord in coords.items():
        if name != time and coord.attrs.get("standard_name") == "forecast_reference_time":
            return np.atleast_1d(coord.values).ravel()
    return np.array([], "M8[s]")


def _get_hour(time: np.datetime64) -> int:
    """Hour of a time, UTC."""
    return int((time - time.astype("M8[D]")) / np.timedelta64(1, "h"))
