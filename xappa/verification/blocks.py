"""Withholding reports of swaths: by blocks of the globe, so that none that is used lies beside one that is withheld."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.binning.cells import BinAxis
from xappa.errors import OptionError
from xappa.verification.stations import NAMELESS, withhold

BLOCK = 4.0  # degrees


def find_grid_boxes(obs: xr.Dataset, latitudes: Sequence[float] | Array, longitudes: Sequence[float] | Array) -> Array:
    """Row and column of the grid point in whose box each report lies.

    Parameters
    ----------
    obs : Dataset
        Observations in the one CF form.
    latitudes, longitudes : sequence of float
        Rows and columns of a grid. Boxes end halfway between its points.

    Returns
    -------
    array of int, (2, obs)
        Numbers from south to north and from west to east; -1 outside the grid.
    """
    rows = BinAxis.from_centres(latitudes, -90.0, 90.0)
    columns = BinAxis.from_longitudes(longitudes)
    latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
    turned = np.where(np.isfinite(longitude), columns.unroll(np.nan_to_num(longitude)), np.nan)
    return np.stack([rows.find_intervals(latitude), columns.find_intervals(turned)])


def number_blocks(
    obs: xr.Dataset,
    degrees: float = BLOCK,
    latitudes: Sequence[float] | Array | None = None,
    longitudes: Sequence[float] | Array | None = None,
) -> Array:
    """Number of the block of every report: boxes of a grid belong to the block that their middle lies in.

    Parameters
    ----------
    obs : Dataset
        Observations in the one CF form.
    degrees : float, default 4
        Side of a block, in latitude and in longitude.
    latitudes, longitudes : sequence of float, optional
        Rows and columns of a grid, whose boxes are not cut by blocks. Without them blocks are squares of `degrees`.

    Returns
    -------
    array of int, (obs,)
    """
    if not 0 < degrees <= 90:
        raise OptionError(f"Found degrees={degrees!r}; expected the side of blocks, above 0 and up to 90")
    latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
    if latitudes is not None and longitudes is not None:
        row, column = find_grid_boxes(obs, latitudes, longitudes)
        rows, columns = BinAxis.from_centres(latitudes, -90.0, 90.0), BinAxis.from_longitudes(longitudes)
        latitude, longitude = _compute_midpoints(rows)[row], _compute_midpoints(columns)[column]
    across = int(np.ceil(360 / degrees - 1e-9))
    north = np.floor((np.nan_to_num(latitude) + 90) / degrees).astype(int)
    return north * across + np.floor(np.nan_to_num(longitude) % 360 / degrees).astype(int)


def withhold_blocks(
    obs: xr.Dataset,
    fraction: float = 0.15,
    seed: int = 0,
    *,
    degrees: float = BLOCK,
    latitudes: Sequence[float] | Array | None = None,
    longitudes: Sequence[float] | Array | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Part blocks of the globe at random into those whose reports are used and those to verify with.

    Parameters
    ----------
    obs : Dataset
        Observations in the one CF form.
    fraction : float, default 0.15
        Share of the blocks that have reports, 0 <= fraction < 1.
    seed : int, default 0
        The choice depends on it and on the set of blocks, not on the order of the reports.
    degrees, latitudes, longitudes
        See `number_blocks`. With the grid of a model no box of it has reports of both kinds.

    Returns
    -------
    used, withheld : Dataset
    """
    _require(fraction)
    blocks, index = np.unique(number_blocks(obs, degrees, latitudes, longitudes), return_inverse=True)
    chosen = np.random.default_rng(seed).permutation(len(blocks))[: round(fraction * len(blocks))]
    out = np.isin(index, chosen)
    return obs.isel(obs=~out), obs.isel(obs=out)


def withhold_reports(
    obs: xr.Dataset,
    fraction: float = 0.15,
    seed: int = 0,
    *,
    latitudes: Sequence[float] | Array | None = None,
    longitudes: Sequence[float] | Array | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Withhold stations as a whole, and of sources that name no station (swaths) whole blocks.

    Parameters
    ----------
    obs : Dataset
        Observations in the observation schema; sources are distinguished by the coordinate ``source``, if there is one.
    fraction : float, default 0.15
        Share of the stations, and of the blocks.
    seed : int, default 0
    latitudes, longitudes : sequence of float, optional
        See `number_blocks`.

    Returns
    -------
    used, withheld : Dataset
        In the order of `obs`.
    """
    _require(fraction)
    swath = is_from_swath(obs)
    number = np.arange(obs.sizes["obs"])
    out = np.zeros(len(number), bool)
    by_block = partial(withhold_blocks, latitudes=latitudes, longitudes=longitudes)
    for rows, part in ((number[~swath], withhold), (number[swath], by_block)):
        if len(rows):
            some = obs.isel(obs=rows).assign_coords(_row=("obs", rows))
            out[part(some, fraction, seed)[1]["_row"].values] = True
    return obs.isel(obs=~out), obs.isel(obs=out)


def is_from_swath(obs: xr.Dataset) -> Array:
    """Whether each report comes from a source that names no station, (obs,)."""
    size = obs.sizes["obs"]
    if "station" not in obs.coords:
        return np.ones(size, bool)
    named = ~np.isin(np.asarray(obs["station"].values).astype(str), NAMELESS)
    if "source" not in obs.coords:
        return np.full(size, not named.any())
    sources, index = np.unique(np.asarray(obs["source"].values).astype(str), return_inverse=True)
    return (np.bincount(index, named, len(sources)) == 0)[index]


def _require(fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise OptionError(f"Found fraction={fraction}; expected the share of reports to withhold, 0 <= fraction < 1.")


def _compute_midpoints(axis: BinAxis) -> Array:
    edges = np.asarray(axis.edges)
    return np.append((edges[1:] + edges[:-1]) / 2, np.nan)
