"""Thinning: of the reports of a cell one is used, and the others are marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.binning.cells import BinGrid, number_groups
from xappa.binning.superob import _number_kinds
from xappa.binning.targets import Step, build_bin_grid
from xappa.errors import OptionError, choose
from xappa.geometry import to_unit_vectors
from xappa.observations.flags import Flag, flags_of, with_flag
from xappa.observations.read import Source, read_observations
from xappa.observations.schema import is_one_form, quantities

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike


@check_arguments
@with_xarray_defaults
def thin(
    obs: Source,
    target: str | float | xr.Dataset = "model",
    time: Step | None = None,
    *,
    keep: str = "nearest",
    levels: Sequence[float] | None = None,
    model: ModelLike | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Keep one report a cell and quantity; the others are flagged ``thinned``.

    Where errors of neighbouring reports are correlated, and the correlation is not known, few reports are better used
    than many. `superob` averages instead.

    Parameters
    ----------
    obs : Dataset, DataFrame, path, or a list or dict of these
        Reports, as `read_observations` takes them.
    target, time, levels, model
        The cells, as for `superob`.
    keep : str, default "nearest"
        Which report: ``"nearest"`` to the cell's middle (in time first, then in space), ``"precise"`` (smallest error,
        then nearest), ``"first"``, or ``"random"``.
    levels : sequence of float, optional
    model : str, Path or Prior, optional
    seed : int, default 0
        Of ``"random"``.

    Returns
    -------
    Dataset
        The observations with flags. Coordinates, and which reports are good, are computed; lazy values stay so.

    Raises
    ------
    OptionError
        If an option is not valid.

    References
    ----------
    Liu and Rabier (2002), The interaction between model resolution, observation resolution and observation density in
    data assimilation, Q. J. R. Meteorol. Soc. 128, 1367-1386.

    Examples
    --------
    >>> import xappa
    >>> few = xappa.thin(obs, 2.5, "3h")  # doctest: +SKIP
    """
    order_of = choose("keep", keep, KEEP)
    if seed < 0:
        raise OptionError(f"seed={seed!r}: expected a whole number, 0 or more")
    cells = build_bin_grid(target, time, levels, model)
    reports = obs if isinstance(obs, xr.Dataset) and is_one_form(obs) else read_observations(obs)
    if not reports.sizes["obs"]:
        return reports
    row = cells.latitude.find_intervals(np.asarray(reports["latitude"].values, float))
    longitude = cells.longitude.unroll(np.asarray(reports["longitude"].values, float))
    column = cells.longitude.find_intervals(longitude)
    stamp = np.asarray(reports["time"].values)
    inside = np.flatnonzero((row >= 0) & (column >= 0) & ~np.isnat(stamp))
    moment, seconds = cells.find_time_intervals(stamp[inside])
    layer = np.full(len(inside), -1)
    if "level" in reports.coords:
        layer = cells.find_layers(np.asarray(reports["level"].values, float)[inside])
    kinds = _number_kinds(reports).codes
    kind = kinds[inside] if len(kinds) else np.zeros(len(inside), np.int64)
    cell = row[inside] * len(cells.longitude) + column[inside]
    group, unique = number_groups([kind, moment, layer, cell])
    away = _compute_distances(cells, cell, np.asarray(reports["latitude"].values, float)[inside], longitude[inside])
    for name in quantities(reports):
        good = (reports[name].notnull() & (flags_of(reports, name) == Flag.GOOD)).values[inside]
        keys = order_of(reports, name, inside, np.abs(seconds), away, seed)
        chosen = _select_first(group, [*keys, ~good], unique.shape[1])
        dropped = np.zeros(reports.sizes["obs"], bool)
        dropped[inside] = good
        dropped[inside[chosen]] = False
        reports = with_flag(reports, name, dropped, Flag.THINNED)
    return reports


def _select_first(group: Array, keys: Sequence[Array], size: int) -> Array:
    """Row of each group that comes first by the last key, then the one before it, and so on."""
    order = np.lexsort((*keys, group))
    return order[np.searchsorted(group[order], np.arange(size))]


def _compute_distances(cells: BinGrid, cell: Array, latitude: Array, longitude: Array) -> Array:
    """Chord from the middle of each report's cell."""
    south, west = np.asarray(cells.latitude.edges), np.asarray(cells.longitude.edges)
    row, column = np.divmod(cell, len(cells.longitude))
    middle = to_unit_vectors((south[row] + south[row + 1]) / 2, (west[column] + west[column + 1]) / 2)
    return np.linalg.norm(to_unit_vectors(latitude, longitude) - middle, axis=1)


_Order = Callable[[xr.Dataset, str, Array, Array, Array, int], list[Array]]


def _rank_by_distance(obs: xr.Dataset, name: str, rows: Array, seconds: Array, away: Array, seed: int) -> list[Array]:
    return [away, seconds]


def _rank_by_error(obs: xr.Dataset, name: str, rows: Array, seconds: Array, away: Array, seed: int) -> list[Array]:
    if f"{name}_error" not in obs:
        return [away, seconds]
    error = np.asarray(obs[f"{name}_error"].values, float)[rows]
    return [away, seconds, np.where(np.isfinite(error), error, np.inf)]


def _rank_by_input_order(
    obs: xr.Dataset, name: str, rows: Array, seconds: Array, away: Array, seed: int
) -> list[Array]:
    return [rows]


def _rank_at_random(obs: xr.Dataset, name: str, rows: Array, seconds: Array, away: Array, seed: int) -> list[Array]:
    # One draw for all quantities, so that both components of a wind are of one report.
    return [np.random.default_rng(seed).permutation(obs.sizes["obs"])[rows]]


KEEP: dict[str, _Order] = {
    "nearest": _rank_by_distance,
    "precise": _rank_by_error,
    "first": _rank_by_input_order,
    "random": _rank_at_random,
}
"""Names that choose which report of a cell is kept."""
