"""Innovations: observations minus background, by quantity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.errors_table import Errors, with_errors
from xappa.observations.flags import Flag, flags_of
from xappa.observations.form import quantities
from xappa.tasks.observe import observe
from xappa.tasks.quality import DEFAULT_ERRORS, quality_control

if TYPE_CHECKING:
    from xappa.observations.quality import Quality
    from xappa.observations.read import Source
    from xappa.operators.sources import Choice


def innovations(
    background: xr.Dataset,
    obs: Source,
    operator: Choice | Mapping[str, Choice] | None = None,
    *,
    error: Errors | None = None,
    quality: str | Quality = "standard",
    model: str | Path | None = None,
) -> xr.Dataset:
    """Statistics of observation minus background, by quantity.

    Parameters
    ----------
    background : Dataset
        Fields, with or without members.
    obs : Dataset or DataFrame
    operator, error, quality, model
        As for `assimilate`.

    Returns
    -------
    Dataset
        By ``variable``: ``count``; ``mean`` and ``deviation`` of observation minus the mean of the background's
        members, in the quantity's units; ``spread`` and ``error``, root mean squares of the members' deviation and of
        the reports' errors; ``chi_squared``, mean of (observation minus mean)² over (M + 1) / M spread² + error², which
        is 1 if both are right.
    """
    table = DEFAULT_ERRORS if error is None else error
    reports = with_errors(quality_control(obs, quality, model=model, error=table), table)
    rows: dict[str, list[float]] = {
        name: [] for name in ("count", "mean", "deviation", "spread", "error", "chi_squared")
    }
    names = []
    try:
        seen = observe(background, reports, operator or "interpolate")
    except ObservationError:
        return xr.Dataset()
    for name in quantities(reports):
        if name not in seen:
            continue
        values = np.asarray(seen[name].values, float)
        values = values[None] if values.ndim == 1 else values
        good = (np.asarray(flags_of(reports, name)) == Flag.GOOD) & np.isfinite(values).all(0)
        good &= np.isfinite(np.asarray(reports[name].values, float))
        if not good.any():
            continue
        _append(rows, values[:, good], reports[name].values[good], reports[f"{name}_error"].values[good])
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
