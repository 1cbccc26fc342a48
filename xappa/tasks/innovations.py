"""Innovations: observations minus background, by quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.model.state import StateSpec
from xappa.state import to_array

if TYPE_CHECKING:
    from xappa.operators import CompositeOperator, SparseOperator


def compute_innovations(
    background: xr.Dataset, reading: SparseOperator | CompositeOperator, spec: StateSpec
) -> xr.Dataset:
    """Statistics of observation minus background, by quantity.

    Parameters
    ----------
    background : Dataset
        Members of states of the model, at the times that `reading` indexes.
    reading : SparseOperator or CompositeOperator
        Reports, and how they are read off a trajectory: as the analysis reads them.
    spec : StateSpec
        Specification of the model.

    Returns
    -------
    Dataset
        By ``variable``: ``count``; ``mean`` and ``deviation`` of observation minus the mean of the background's
        members, in the quantity's units; ``spread`` and ``error``, root mean squares of the members' deviation and of
        the reports' errors; ``chi_squared``, mean of (observation minus mean)² over (M + 1) / M spread² + error², which
        is 1 if both are right.
    """
    rows: dict[str, list[float]] = {
        name: [] for name in ("count", "mean", "deviation", "spread", "error", "chi_squared")
    }
    names, frames = [], reading.frames
    fields, here = background.isel(time=frames), reading.reindex_times(frames)
    members = range(background.sizes["member"])
    values = np.stack([here.apply(to_array(fields.isel(member=k), spec)) for k in members])
    for code, name in enumerate(reading.names):
        used = (reading.variable == code) & np.isfinite(values).all(0)
        if not used.any():
            continue
        _append(rows, values[:, used], reading.value[used], reading.error[used])
        names.append(name)
    about = {name: ("variable", np.array(column)) for name, column in rows.items()}
    return xr.Dataset(about, {"variable": np.array(names, object)})


def _append(rows: dict[str, list[float]], values: np.ndarray, observed: np.ndarray, error: np.ndarray) -> None:
    members = len(values)
    departure = observed - values.mean(0)
    variance = values.var(0, ddof=1) if members > 1 else np.zeros(values.shape[1])
    expected = (1 + 1 / members) * variance + error**2
    found = {
        "count": float(len(departure)),
        "mean": departure.mean(),
        "deviation": departure.std(),
        "spread": np.sqrt(variance.mean()),
        "error": np.sqrt(np.square(error).mean()),
        "chi_squared": (departure**2 / expected).mean(),
    }
    for name, value in found.items():
        rows[name].append(float(value))
