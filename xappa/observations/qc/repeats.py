"""Several reports of one station (or place), time, level, period and channel: repeats, or a contradiction.

Values that agree, to the steps in which they are written or within the deviations of their errors, are one report that
came several times. Those that do not agree contradict each other, whatever their number: the same wrong report may have
come twice. What is decided depends on what reports say, never on the order in which they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa._typing import Array
from xappa.observations.flags import Flag, flags_of, set_flag
from xappa.observations.qc.agreement import AgreeingValues, compare_repeats
from xappa.observations.qc.windows import KINDS, list_component_pairs
from xappa.observations.schema import quantities

PLACE_STEP = 1e-3
"""Degrees within which two unnamed reports are of the same place (about 100 m)."""

NAMED_PLACE_STEP = 1.0
"""Degrees within which two reports under one station name are of one station (names such as SHIP are shared)."""

_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, of no pattern

LEVEL_STEP = 1e-3
"""hPa within which two reports are on the same level."""


@dataclass(frozen=True)
class RepeatedReports:
    """Reports that share station or place, time, level, period and channel with others.

    Parameters
    ----------
    rows : array of int, (R,)
        Their positions.
    group : array of int, (R,)
        The same number where they are of one station and time.
    order : array of int, (R,)
        Which comes first where values are the same: by height, place and source, so that a choice is always the same.
    """

    rows: Array
    group: Array
    order: Array

    def to_columns(self, size: int) -> dict[str, Array]:
        """Group and order of each of `size` reports, -1 for those that share it with none."""
        columns = {name: np.full(size, -1, np.int32) for name in ("group", "tie")}
        columns["group"][self.rows], columns["tie"][self.rows] = self.group, self.order
        return columns


def find_repeats(obs: xr.Dataset, station: Array) -> RepeatedReports | None:
    """Reports of the same station or place, time, level, period and channel as another; None if there are none.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.
    station : array of int, (obs,)
        Of the names of stations.
    """
    mixed = np.zeros(obs.sizes["obs"], np.uint64)
    for key in _generate_keys(obs, station):
        mixed *= _MIXER
        mixed += pd.util.hash_array(key, categorize=False)
    # Equal hashes find those that may be the same; among these few, the keys themselves decide.
    ordered = np.sort(mixed)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return None
    maybe = np.flatnonzero(pd.Series(mixed).isin(again).to_numpy())
    table = pd.DataFrame({str(i): key for i, key in enumerate(_generate_keys(obs.isel(obs=maybe), station[maybe]))})
    number = table.groupby(list(table.columns), dropna=False, sort=False).ngroup().to_numpy()
    shared = np.bincount(number)[number] > 1
    if not shared.any():
        return None
    rows = maybe[shared]
    return RepeatedReports(rows, np.unique(number[shared], return_inverse=True)[1], _rank_reports(obs, rows))


def _generate_keys(obs: xr.Dataset, station: Array) -> Iterator[Array]:
    """What reports of one station and time have in common, as arrays of numbers (obs,), one at a time."""
    yield np.ascontiguousarray(station, np.int64)
    step = PLACE_STEP if (station < 0).all() else np.where(station < 0, PLACE_STEP, NAMED_PLACE_STEP)
    # Zeros are added so that none is negative, which would have another hash.
    yield np.round(np.asarray(obs["latitude"].values, float) / step) + 0.0
    longitude = np.asarray(obs["longitude"].values, float)
    longitude = np.where(np.isfinite(longitude), longitude, np.nan) % 360.0
    yield np.round(longitude / step) % np.round(360.0 / step) + 0.0
    yield np.asarray(obs["time"].values).astype("datetime64[us]").view(np.int64)
    if "level" in obs.coords:
        yield np.round(np.asarray(obs["level"].values, float) / LEVEL_STEP) + 0.0
    for name in KINDS:
        if name in obs.coords:
            values = np.asarray(obs[name].values)
            yield values.view(np.int64) if values.dtype.kind == "m" else values.astype(float)


def _rank_reports(obs: xr.Dataset, rows: Array) -> Array:
    """Places of `rows` in an order that their coordinates alone decide; those without a height come last."""
    keys = [np.asarray(obs[name].values, float)[rows] for name in ("longitude", "latitude")]
    if "source" in obs.coords:
        keys.insert(0, np.unique(np.asarray(obs["source"].values)[rows].astype(str), return_inverse=True)[1])
    if "altitude" in obs.coords:
        keys.append(np.asarray(obs["altitude"].values, float)[rows])
    place = np.empty(len(rows), np.int64)
    place[np.lexsort(keys)] = np.arange(len(rows))
    return place


def flag_repeats(obs: xr.Dataset, repeats: RepeatedReports | None) -> xr.Dataset:
    """Flag what comes several times, and what contradicts another, among good values.

    Of values that agree one stays good: that with the smallest error, then that which is written in the finest steps;
    the others are flagged ``duplicate``. Values that differ are flagged ``contradictory``, all of them.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema, flagged for all else.
    repeats : RepeatedReports or None
        Of `find_repeats`.

    Returns
    -------
    Dataset
        The same with flags; lazy where the values are.
    """
    return obs if repeats is None else _apply_to_flags(obs, repeats, _flag_group)


def reset_contradictory(obs: xr.Dataset, repeats: RepeatedReports | None) -> xr.Dataset:
    """Take contradictory values for good again, so that they can be judged, where none of their group is good."""
    return obs if repeats is None else _apply_to_flags(obs, repeats, _reset_group)


def _apply_to_flags(obs: xr.Dataset, repeats: RepeatedReports, function: Callable[..., Any]) -> xr.Dataset:
    for names in group_quantities(obs):
        count = len(names)
        unknown = xr.DataArray(np.broadcast_to(np.nan, obs.sizes["obs"]), dims="obs")
        errors = [obs.get(f"{name}_error", unknown) for name in names]
        arrays = [*(obs[name] for name in names), *errors, *(flags_of(obs, name) for name in names)]
        flags = xr.apply_ufunc(
            function,
            *(array.reset_coords(drop=True) for array in arrays),
            kwargs={"names": names, "repeats": repeats},
            input_core_dims=[["obs"]] * 3 * count,
            output_core_dims=[["obs"]] * count,
            dask="parallelized",
            dask_gufunc_kwargs={"allow_rechunk": True},
            output_dtypes=["int8"] * count,
        )
        for name, flag in zip(names, flags if count > 1 else [flags], strict=True):
            obs = set_flag(obs, name, flag)
    return obs


def group_quantities(obs: xr.Dataset) -> list[tuple[str, ...]]:
    """Quantities that are used or rejected together: components of a wind, all others alone."""
    pairs = list_component_pairs(obs)
    paired = {name for pair in pairs for name in pair}
    return [*pairs, *((name,) for name in quantities(obs) if name not in paired)]


def _build_parts(arrays: Sequence[Array], names: Sequence[str], rows: Array) -> list[AgreeingValues]:
    count = len(names)
    values, errors, flags = ([array[rows] for array in arrays[i * count : (i + 1) * count]] for i in range(3))
    return [
        AgreeingValues(name, value.astype(float), error.astype(float), (flag == Flag.GOOD) & np.isfinite(value))
        for name, value, error, flag in zip(names, values, errors, flags, strict=True)
    ]


def _flag_group(*arrays: Array, names: Sequence[str], repeats: RepeatedReports) -> tuple[Array, ...] | Array:
    parts = _build_parts(arrays, names, repeats.rows)
    duplicate, contested = compare_repeats(parts, repeats.group, repeats.order)
    found = []
    for flag, part, twice in zip(arrays[2 * len(names) :], parts, duplicate, strict=True):
        new = flag.copy()
        new[repeats.rows[twice]] = Flag.DUPLICATE
        new[repeats.rows[contested & part.good & ~twice]] = Flag.CONTRADICTORY
        found.append(new)
    return tuple(found) if len(found) > 1 else found[0]


def _reset_group(*arrays: Array, names: Sequence[str], repeats: RepeatedReports) -> tuple[Array, ...] | Array:
    flags = arrays[2 * len(names) :]
    parts = _build_parts(arrays, names, repeats.rows)
    good = np.logical_or.reduce([part.good for part in parts])
    decided = (np.bincount(repeats.group, good) > 0)[repeats.group]
    found = []
    for flag in flags:
        again = (flag[repeats.rows] == Flag.CONTRADICTORY) & ~decided
        new = flag.copy()
        new[repeats.rows[again]] = Flag.GOOD
        found.append(new)
    return tuple(found) if len(found) > 1 else found[0]
