"""Cells that reports are binned into: a model's grid, cells of given degrees, or the grid of a Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import xarray as xr

from xappa.binning.cells import BinGrid
from xappa.errors import OptionError, is_number

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike

Step = str | timedelta | np.timedelta64
"""A length of time, such as ``"1h"``."""

HOUR = np.timedelta64(3600, "s")


def build_bin_grid(
    target: str | float | xr.Dataset,
    time: Step | None = None,
    levels: Sequence[float] | None = None,
    model: ModelLike | None = None,
) -> BinGrid:
    """Cells of a target.

    Parameters
    ----------
    target : "model", float or Dataset
        The model's grid; cells of so many degrees; the grid of a Dataset.
    time : str or timedelta, optional
        Length of the intervals of time. Default: the model's step; that of the Dataset's times where it has several;
        otherwise 1 hour.
    levels : sequence of float, optional
        Pressures, hPa. Default: those of the model or the Dataset; for degrees, each level by itself.
    model : str, Path or Prior, optional
        Name or folder of a model. Default: the option ``default_model``.

    Raises
    ------
    OptionError
        If a target or a time is none.
    DatasetError
        If the Dataset has no latitude and longitude.
    """
    step = None if time is None else _parse_seconds(time)
    if levels is not None and not _are_pressures(levels):
        raise OptionError(f"levels={levels!r}: expected pressures in hPa, such as (1000, 850, 500)")
    if isinstance(target, xr.Dataset | xr.DataArray):
        return _build_dataset_bins(
            target if isinstance(target, xr.Dataset) else target.to_dataset(name="field"), step, levels
        )
    if isinstance(target, str):
        if target != "model":
            raise OptionError(f"target={target!r}: expected 'model', a Dataset, or degrees above 0 and up to 90")
        from xappa.model.registry import load

        spec = load(model).spec
        own = spec.levels if levels is None else levels
        return BinGrid.from_grid(spec.latitude, spec.longitude, step or spec.step.astype("timedelta64[s]"), own)
    if not (is_number(target) or isinstance(target, float)):
        raise OptionError(f"target={target!r}: expected 'model', a Dataset, or degrees above 0 and up to 90")
    return BinGrid.from_degrees(float(target), step or HOUR, levels or ())


def _are_pressures(levels: object) -> bool:
    if isinstance(levels, str) or not isinstance(levels, Sequence | np.ndarray):
        return False
    return all(is_number(level) and level > 0 for level in levels)


def _build_dataset_bins(ds: xr.Dataset, step: np.timedelta64 | None, levels: Sequence[float] | None) -> BinGrid:
    from xappa.grids.axes import recognise
    from xappa.grids.conventions import decode_conventions

    ds = decode_conventions(ds)
    layout = recognise(ds, need=("latitude", "longitude"))
    if step is None and layout.time is not None and ds[layout.time].size > 1:
        gaps = np.diff(ds[layout.time].values).astype("timedelta64[s]")
        step = cast(np.timedelta64, gaps.min())
    own = layout.hectopascals if levels is None else levels
    return BinGrid.from_grid(layout.latitudes, layout.longitudes, step or HOUR, tuple(own))


def _parse_seconds(time: Step) -> np.timedelta64:
    try:
        length = pd.Timedelta(time).to_timedelta64().astype("timedelta64[s]")
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise OptionError(f"time={time!r} is no length of time ({error}); expected one such as '1h'") from error
    if not length > np.timedelta64(0, "s"):
        raise OptionError(f"time={time!r}: expected a length of time of at least 1 s, such as '1h'")
    return length
