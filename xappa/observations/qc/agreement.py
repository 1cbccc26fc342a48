"""Agreement of the values of one station and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xappa._typing import Array
from xappa.observations.names import QUANTITIES

WRITTEN = {"K": 1.0, "Pa": 100.0, "m2 s-2": 98.0665, "m": 1e-3, "degree": 10.0, "1": 0.05, "kg m-2": 1.0, "m s-1": 1.0}
"""Coarsest steps in which reports are written (WMO-No. 306: whole degrees, hPa, mm; tens of degrees of direction)."""

_THICKNESS = 10.0  # m, of heights of pressure levels
_TURN = np.deg2rad(WRITTEN["degree"] / 2)
_HUMIDITY = 0.1  # of specific humidity, by a dew point in whole degrees
_ROUNDING = 1e-6  # relative, of values kept in 32 bits


@dataclass(frozen=True)
class AgreeingValues:
    """One quantity of reports: values and errors (NaN where unknown), and which are good, each (R,)."""

    name: str
    value: Array
    error: Array
    good: Array


def compare_repeats(parts: Sequence[AgreeingValues], group: Array, order: Array) -> tuple[list[Array], Array]:
    """Compare the values of each group.

    Parameters
    ----------
    parts : sequence of Part
        Quantities that are judged together.
    group : array of int, (R,)
    order : array of int, (R,)
        Which comes first where values are the same.

    Returns
    -------
    duplicate : list of arrays of bool, (R,)
        By part: good values of which another, that agrees, is kept.
    contested : array of bool, (R,)
        Reports of groups with values that do not agree.
    """
    size = len(group)
    duplicate, contested = [np.zeros(size, bool) for _ in parts], np.zeros(size, bool)
    good = np.logical_or.reduce([part.good for part in parts])
    rows = np.flatnonzero(good & (np.bincount(group, good)[group] > 1))
    if not len(rows):
        return duplicate, contested
    cut = [AgreeingValues(part.name, *(array[rows] for array in (part.value, part.error, part.good))) for part in parts]
    cluster = _cluster_values(cut, group[rows])
    rank = _rank_reports(cut, cluster, order[rows])
    for mask, part in zip(duplicate, cut, strict=True):
        candidates = rank[part.good[rank]]
        first = np.unique(cluster[candidates], return_index=True)[1]
        twice = np.delete(candidates, first)
        mask[rows[twice]] = True
    number = np.unique(group[rows], return_inverse=True)[1]
    pairs = np.unique(np.stack([number, cluster]), axis=1)
    contested[rows] = (np.bincount(pairs[0]) > 1)[number]
    return duplicate, contested


def _cluster_values(parts: Sequence[AgreeingValues], group: Array) -> Array:
    """Numbers of the sets of reports that agree: in each coordinate no gap between neighbours is too wide."""
    axes = [axis for part in parts for axis in _build_axes(part, parts)]
    cluster, number = np.unique(group, return_inverse=True)[1], 0
    while (made := int(cluster.max()) + 1) > number:
        number = made
        for value, near, error in axes:
            by_value = np.lexsort((value, cluster))
            v, c, e, w = value[by_value], cluster[by_value], error[by_value], near[by_value]
            allowed = np.fmax(np.fmax(w[1:], w[:-1]), np.hypot(e[1:], e[:-1]))
            # A part that is missing (NaN) is no gap.
            apart = (np.diff(c) != 0) | (np.diff(v) > allowed)
            cluster = np.empty_like(cluster)
            cluster[by_value] = np.concatenate([[0], np.cumsum(apart)])
    return cluster


def _build_axes(part: AgreeingValues, parts: Sequence[AgreeingValues]) -> list[tuple[Array, Array, Array]]:
    """Coordinates in which values of a part are compared: with what may be between them, and deviations of errors."""
    known = QUANTITIES.get(part.name)
    value = np.where(part.good, part.value, np.nan)
    error = np.where(np.isfinite(part.error), part.error, 0.0)
    rounded = _ROUNDING * np.abs(value)
    if known is None:
        return [(value, rounded, error)]
    if known.units == "degree":
        angle, near = np.deg2rad(value), np.full(value.shape, 2 * np.sin(_TURN))
        return [(np.cos(angle), near, np.deg2rad(error)), (np.sin(angle), near, np.deg2rad(error))]
    if known.units == "kg kg-1":
        return [(value, _HUMIDITY * np.abs(value), error)]
    if known.units == "m s-1":
        # Directions are rounded too, which turns components.
        speed = np.sqrt(np.sum([np.where(p.good, p.value, 0.0) ** 2 for p in parts], axis=0))
        turn = _TURN * speed if len(parts) > 1 else 0.0 * speed
        return [(value, rounded + WRITTEN["m s-1"] + turn, error)]
    step = _THICKNESS if part.name in ("geopotential_height", "thickness") else WRITTEN[known.units]
    return [(value, rounded + step, error)]


def _rank_reports(parts: Sequence[AgreeingValues], cluster: Array, order: Array) -> Array:
    """Positions, cluster by cluster, the best report first: complete, exact, finely written; then by its values."""
    keys = [order]
    for part in parts:
        keys += [np.where(part.good, part.value, np.nan), _compute_coarseness(part)]
    keys += [np.where(np.isfinite(part.error) & part.good, part.error, np.inf) for part in parts]
    keys.append(np.sum([~part.good for part in parts], axis=0))
    return np.lexsort([*keys, cluster])


def _compute_coarseness(part: AgreeingValues) -> Array:
    """Minus the number of decimals in which a value is written, in units in which such values are written."""
    known = QUANTITIES.get(part.name)
    scale = 0.01 if known is not None and known.units == "Pa" else 1.0
    shifts = (0.0, 273.15) if known is not None and known.units == "K" else (0.0,)
    value = np.where(part.good, part.value, 0.0)
    decimals = np.full(value.shape, 4)
    for shift in shifts:
        written = np.full(value.shape, 4)
        for n in range(3, -1, -1):
            scaled = (value - shift) * scale * 10.0**n
            written = np.where(np.abs(scaled - np.round(scaled)) < 1e-3, n, written)
        decimals = np.minimum(decimals, written)
    return -decimals
