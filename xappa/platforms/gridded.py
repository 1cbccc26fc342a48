"""Networks of grid points: random columns, and random single values."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.argument_types import check_arguments
from xappa.errors import OptionError
from xappa.grids import flatten_valid_time
from xappa.grids.axes import recognise
from xappa.model.state import StateSpec
from xappa.observations import with_errors
from xappa.observations.errors.tables import Errors
from xappa.observations.schema import build_observations
from xappa.platforms import random_places
from xappa.platforms.domain import NetworkDomain
from xappa.platforms.schema import build_soundings
from xappa.state import to_array
from xappa.state.fields import derive_spec


@check_arguments
def columns(
    ds: xr.Dataset,
    fraction: float = 0.01,
    *,
    variables: Iterable[str] | None = None,
    every: float | None = None,
    errors: Errors | None = None,
    seed: int | np.random.Generator = 0,
) -> xr.Dataset:
    """Whole columns at random grid points, uniform on the sphere, the same at all times.

    Parameters
    ----------
    ds : Dataset
        Gives times, grid and levels. Its values aren't read.
    fraction : float, default 0.01
        Share of the columns of the grid; at least one.
    variables : iterable of str, optional
        What is observed; default all that `ds` holds.
    every : float, optional
        Hours between observations, counted from 00 UTC. Default: at all times of `ds`.
    errors, seed
        See `stations`.

    Returns
    -------
    Dataset
        Observations in the schema, one row a level and one for the surface: 0 where something is to be observed.

    Raises
    ------
    OptionError
        If `fraction` is not above 0 and at most 1, or a variable is unknown.
    """
    ground, rng = NetworkDomain.from_dataset(ds), np.random.default_rng(seed)
    _require_fraction(fraction)
    count = max(1, round(fraction * ground.area.size))
    cell = np.sort(random_places.draw_cells(ground.area, count, rng))
    row, column = np.divmod(cell, len(ground.longitude))
    where = {"latitude": ground.latitude[row], "longitude": ground.longitude[column], "station": name_cells(cell)}
    return build_soundings(where, ground.select_times(every), ground.levels, ground.select_variables(variables), errors)


@check_arguments
def values(
    ds: xr.Dataset,
    fraction: float = 0.01,
    *,
    variables: Iterable[str] | None = None,
    every: float | None = None,
    errors: Errors | None = None,
    seed: int | np.random.Generator = 0,
) -> xr.Dataset:
    """Random single values of the state, each by itself and anew at each time.

    Parameters
    ----------
    ds : Dataset
        Gives times, grid and levels, and, by what is missing at its first time, where its fields have values.
    fraction : float, default 0.01
        Share of all values of all variables and levels.
    variables, every, errors, seed
        See `columns`.

    Returns
    -------
    Dataset
        Observations in the schema: 0 where something is to be observed.

    Raises
    ------
    OptionError
        As `columns`.
    """
    ds = flatten_valid_time(ds)
    ground, layout, rng = NetworkDomain.from_dataset(ds), recognise(ds), np.random.default_rng(seed)
    _require_fraction(fraction)
    spec, when = derive_spec(ds, layout, ground.select_variables(variables)), ground.select_times(every)
    first = ds.isel({ds[layout.time].dims[0]: [0]}) if ds[layout.time].ndim else ds
    if layout.member is not None:
        first = first.isel({layout.member: [0]})
    mask = np.isfinite(to_array(first, spec, layout)[0])
    network = build_single_values(spec, when, *random_places.draw_values(mask, fraction, len(when), rng))
    return network if errors is None else with_errors(network, errors)


def build_single_values(
    spec: StateSpec, times: Array, time: Array, channel: Array, cell: Array, reported: Array | None = None
) -> xr.Dataset:
    """Observations of single numbers of a trajectory; one row a time, place and level.

    Parameters
    ----------
    spec : StateSpec
    times : array of datetime64 (T,)
    time, channel, cell : int array (M,)
        Numbers of the time, of the channel, and of the cell (row * columns + column).
    reported : array (M,), optional
        Values; 0 unless told.
    """
    level = np.array([np.nan if lev is None else lev for _, lev in spec.channels], float)
    keys = np.stack([time, cell, np.nan_to_num(level[channel], nan=-1)], 1)
    rows, row = np.unique(keys, axis=0, return_inverse=True)
    row, at, where = row.reshape(-1), rows[:, 0].astype(int), rows[:, 1].astype(int)
    y, x = np.divmod(where, len(spec.longitude))
    found = {
        "time": np.asarray(times)[at],
        "latitude": np.array(spec.latitude)[y],
        "longitude": np.array(spec.longitude)[x],
        "station": name_cells(where),
    }
    if any(lev is not None for _, lev in spec.channels):
        found["level"] = np.where(rows[:, 2] < 0, np.nan, rows[:, 2])
    numbers = {}
    for name in spec.variables:
        of = np.isin(channel, spec.of(name))
        if of.any():
            numbers[name] = np.full(len(rows), np.nan)
            numbers[name][row[of]] = 0.0 if reported is None else reported[of]
    return build_observations(found, numbers)


def name_cells(cell: Array) -> Array:
    """Stations' names of cells."""
    return np.char.add("cell-", cell.astype(str))


def _require_fraction(fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise OptionError(f"fraction={fraction!r}; expected a number above 0 and at most 1")
