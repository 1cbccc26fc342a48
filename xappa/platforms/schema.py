"""Networks in the schema of observations: 0 where something is to be observed, missing elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.observations import with_errors
from xappa.observations.errors.tables import Errors
from xappa.observations.schema import build_observations
from xappa.platforms.domain import split_by_level

Block = Mapping[str, Any]


def build_network(
    columns: Block, variables: Sequence[str], errors: Errors | None, attrs: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """A network from the columns of its rows, each of which observes all `variables`.

    Parameters
    ----------
    columns : mapping of str to array (obs,)
        Coordinates.
    variables : sequence of str
    errors : mapping, str or float, optional
        Deviations of the errors, as `with_errors` takes them.
    attrs : mapping, optional
    """
    size = len(columns["time"])
    obs = build_observations(columns, {name: np.zeros(size) for name in variables}, attrs=attrs)
    return obs if errors is None else with_errors(obs, errors)


def repeat_places(places: Block, times: Array) -> dict[str, Any]:
    """Columns of fixed places (N,) that report at all of `times`: by time, then place."""
    size = len(places["latitude"])
    return {name: np.tile(column, len(times)) for name, column in places.items()} | {"time": np.repeat(times, size)}


def build_soundings(
    places: Block, times: Array, levels: Sequence[float], variables: Sequence[str], errors: Errors | None
) -> xr.Dataset:
    """A network of columns that report at all of `times`: one row for the surface, one a level.

    Order: time, then surface and levels, then place.
    """
    surface, aloft = split_by_level(variables)
    heights = ([np.nan] if surface else []) + ([float(level) for level in levels] if aloft else [])
    one = repeat_places(places, times)
    size, count = len(places["latitude"]), len(times)
    columns = {name: np.repeat(column.reshape(count, 1, size), len(heights), 1).ravel() for name, column in one.items()}
    columns["level"] = np.tile(np.repeat(heights, size), count)
    obs = build_network(columns, (*surface, *aloft), None)
    for name in (*surface, *aloft):
        obs[name] = obs[name].where(np.isnan(columns["level"]) == (name in surface))
    return obs if errors is None else with_errors(obs, errors)
