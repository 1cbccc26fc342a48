"""Forecasts along one axis of valid times."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xappa.grids.conventions import decode_conventions
from xappa.grids.forecast_time import LEAD, START, TIME, ForecastTimes, find_forecast_times

VALID_TIME = "valid_time"
"""Name of valid times that a Dataset does not have itself."""


def flatten_valid_time(ds: xr.Dataset) -> xr.Dataset:
    """The same fields along one axis of valid times, where they lie along starts and leads of forecasts.

    Valid times that a Dataset does not give are added (``valid_time``), and start, lead and valid time get their CF
    standard names. Where every valid time occurs once, fields along starts *and* leads are put in the order of valid
    time. Forecasts that overlap keep their dimensions. A Dataset without forecasts, or whose times are ambiguous, is
    returned as it is. Before that, numbers become what their attributes say (`decode_conventions`). Nothing is
    computed.

    Parameters
    ----------
    ds : Dataset

    Returns
    -------
    Dataset
    """
    ds = decode_conventions(ds)
    times, problems = find_forecast_times(ds)
    if times is None or problems:
        return ds
    marked, name = with_valid_time(ds, times)
    dims = times.valid.dims
    if times.valid.ndim != 2:
        return marked
    in_both = [set(dims) <= set(field.dims) for field in ds.data_vars.values() if set(dims) & set(field.dims)]
    values = times.valid.values.ravel()
    if len(np.unique(values)) < len(values) or not all(in_both) or np.isnat(values).any():
        return marked
    attrs = marked[name].attrs
    stacked = marked.drop_vars(name).stack({"_valid": dims}, create_index=False)
    stacked = stacked.rename({"_valid": name}).assign_coords({name: (name, values, attrs)})
    order = np.argsort(values)
    if np.array_equal(order, np.arange(len(values))):
        return stacked.transpose(name, ...)
    return stacked.isel({name: order}).transpose(name, ...)


def with_valid_time(ds: xr.Dataset, times: ForecastTimes) -> tuple[xr.Dataset, str]:
    """A Dataset whose start, lead and valid time say so by their standard names, and the name of the valid time.

    Parameters
    ----------
    ds : Dataset
    times : ForecastTimes
        Of `ds`.
    """
    start, lead, valid = times.names
    for name, standard in ((start, START), (lead, LEAD)):
        if name is not None and ds[name].attrs.get("standard_name") != standard:
            ds = ds.assign_coords({name: ds[name].assign_attrs(standard_name=standard)})
    if valid is None:
        valid = VALID_TIME
        ds = ds.drop_vars(VALID_TIME, errors="ignore")
        ds = ds.assign_coords({VALID_TIME: (times.valid.dims, times.valid.values, {"standard_name": TIME})})
    elif ds[valid].attrs.get("standard_name") != TIME:
        ds = ds.assign_coords({valid: ds[valid].assign_attrs(standard_name=TIME)})
    return ds, valid
