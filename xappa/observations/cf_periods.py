"""Periods of CF variables: cell methods and time bounds.

References
----------
CF conventions 1.11, chapter 7 (Data Representative of Cells), sections 7.1 (bounds) and 7.3 (cell methods).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xappa.observations.names import QUANTITIES
from xappa.observations.periods import own_period
from xappa.observations.times import decoded

_OVER_PERIOD = ("sum", "mean", "maximum", "minimum")


def bounds_of(ds: xr.Dataset, time: str) -> xr.DataArray | None:
    """Bounds (..., 2) of the time coordinate, as times; None if there are none."""
    name = ds[time].attrs.get("bounds", ds[time].encoding.get("bounds"))
    if name not in ds or ds[name].ndim != ds[time].ndim + 1 or ds[name].shape[-1] != 2:
        return None
    return _decoded(ds[name], ds[time])


def is_over_period(meaning: str, attrs: Mapping[str, Any]) -> bool:
    """Whether values of a variable with these attributes are over a period, not of an instant."""
    usual = QUANTITIES[meaning].cell_methods if meaning in QUANTITIES else ""
    methods = str(attrs.get("cell_methods", usual))
    return any(f"time: {method}" in methods for method in _OVER_PERIOD)


def periods_of(
    bounds: xr.DataArray, names: Iterable[str], rows: Callable[[xr.Variable], xr.Variable]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Lengths of the periods of quantities, and the times at which they end.

    Parameters
    ----------
    bounds : DataArray, shape (..., 2)
    names : iterable of str
        Quantities over a period.
    rows : callable
        Brings a variable of the Dataset onto ``obs``.

    Returns
    -------
    periods : dict of str to array of timedelta64[s], shape (obs,)
        Without those whose period is the one that their definition has.
    ends : array of datetime64, shape (obs,)
    """
    begin, end = (rows(bounds.variable[..., i]).to_numpy() for i in (0, 1))
    length = (end - begin).astype("timedelta64[s]")
    return {name: length for name in names if not (own_period(name) == length).all()}, end


def _decoded(bounds: xr.DataArray, time: xr.DataArray) -> xr.DataArray:
    """Bounds as times; those that were never decoded have the units of the time."""
    if np.issubdtype(bounds.dtype, np.datetime64):
        return bounds
    units = {key: time.encoding.get(key, time.attrs.get(key)) for key in ("units", "calendar")}
    attrs = {key: text for key, text in units.items() if text} | dict(bounds.attrs)
    return decoded(bounds.assign_attrs(attrs))
