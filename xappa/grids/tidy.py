"""Forecasts, as GRIB readers give them, along one axis of times."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xappa.grids.conventions import conventional


def tidy(ds: xr.Dataset) -> xr.Dataset:
    """The same fields along one time axis, where they lie along starts and steps of forecasts.

    Of a Dataset whose valid time has two dimensions, such as ``time`` and ``step`` of cfgrib, with every valid time
    once, the fields are put in the order of valid time. Any other Dataset is returned as it is. Nothing is computed.
    Before that, numbers become what their attributes say (`conventional`).

    Parameters
    ----------
    ds : Dataset

    Returns
    -------
    Dataset
    """
    ds = conventional(ds)
    found = [
        name
        for name, coord in ds.coords.items()
        if coord.ndim == 2 and coord.dtype.kind == "M" and _is_time(str(name), coord)
    ]
    if len(found) != 1:
        return ds
    name, dims = str(found[0]), ds[found[0]].dims
    times = ds[name].values.ravel()
    in_both = [set(dims) <= set(field.dims) for field in ds.data_vars.values() if set(dims) & set(field.dims)]
    if len(np.unique(times)) < len(times) or not all(in_both) or np.isnat(times).any():
        return ds
    attrs = ds[name].attrs
    stacked = ds.stack({"_valid": dims}, create_index=False)
    stacked = stacked.drop_vars(name).rename({"_valid": name}).assign_coords({name: (name, times, attrs)})
    order = np.argsort(times)
    if np.array_equal(order, np.arange(len(times))):
        return stacked.transpose(name, ...)
    return stacked.isel({name: order}).transpose(name, ...)


def _is_time(name: str, coord: xr.DataArray) -> bool:
    return coord.attrs.get("standard_name") == "time" or (name == "valid_time" and "standard_name" not in coord.attrs)
