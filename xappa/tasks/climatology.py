"""The mean state for the day and hour: what a model knows before any observation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.grids import flatten_valid_time
from xappa.grids.axes import recognise
from xappa.model.registry import load
from xappa.state import find_model_times, to_dataset

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike


def climatology(ds: xr.Dataset, *, model: ModelLike | None = None) -> xr.Dataset:
    """Climatology of a model at the times of a Dataset: the baseline that any analysis has to beat.

    Parameters
    ----------
    ds : Dataset
        Gives the times.
    model : str, Path or Prior, optional
        Default: the option ``default_model``.

    Returns
    -------
    Dataset
        (time, level, latitude, longitude), on the model's grid.
    """
    prior = load(model)
    ds = flatten_valid_time(ds)
    recognise(ds, need=("time",))
    trajectory, selection = find_model_times(ds, prior.spec)
    times = trajectory[selection]
    mean = np.where(prior.mask, prior.climatology(times.astype("datetime64[s]")), np.float32(np.nan))
    attrs = {"title": f"Climatology of the model {prior.name}"}
    return to_dataset(mean[None], prior.spec, times, np.array([0]), attrs=attrs).isel(member=0, drop=True)
