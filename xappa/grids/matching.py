"""Whether the axes of a Dataset are those of a state, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xappa._typing import Array
from xappa.grids.axes import Layout
from xappa.model.state import StateSpec


def find_positions(
    values: Sequence[float] | Array, nodes: Sequence[float] | Array, period: float | None = None
) -> Array | None:
    """Index in `nodes` of each of `values`, to within a hundredth of the nodes' distance; None if any is not there.

    Parameters
    ----------
    values : sequence of float, (N,)
    nodes : sequence of float, (K,)
    period : float, optional
        360 for longitudes.

    Returns
    -------
    array of int, (N,), or None
    """
    found = find_nearest_positions(values, nodes, period)
    return found if found.size and (found >= 0).all() else None


def find_nearest_positions(
    values: Sequence[float] | Array, nodes: Sequence[float] | Array, period: float | None = None
) -> Array:
    """As `find_positions`, with -1 for the values that are not there; empty if there are no values or nodes."""
    x, y = np.asarray(values, float), np.asarray(nodes, float)
    if not x.size or not y.size:
        return np.zeros(0, int)
    tolerance = 0.01 * np.abs(np.diff(np.sort(y))).min() if y.size > 1 else 1e-3
    # The nearest is among a few on either side in a sorted list, which for long axes is far less than all pairs.
    along, wanted = (y, x) if period is None else (y % period, x % period)
    order = np.argsort(along, kind="stable")
    place = np.searchsorted(along[order], wanted)[:, None] + np.arange(-2, 2)
    place = np.clip(place, 0, y.size - 1) if period is None else place % y.size
    near = np.sort(order[place], axis=1)
    away = np.abs(x[:, None] - y[near])
    if period is not None:
        away = np.minimum(away % period, -away % period)
    nearest = away.argmin(axis=1)[:, None]
    found = np.take_along_axis(near, nearest, axis=1)[:, 0]
    return np.where(np.take_along_axis(away, nearest, axis=1)[:, 0] <= tolerance, found, -1)


def order_output_rows(layout: Layout | None, spec: StateSpec) -> tuple[Array, tuple[float, ...]]:
    """Order of the state's rows that suits the user, and their latitudes.

    On a grid that is the state's own the user's very numbers are kept, so that results align with the user's data.
    """
    latitudes = np.array(spec.latitude)
    if layout is None or not layout.latitudes:
        return np.arange(len(latitudes)), spec.latitude
    own = _check_permutation(find_positions(layout.latitudes, spec.latitude), len(latitudes))
    if own is not None:
        return own, layout.latitudes
    order = np.argsort(-latitudes if layout.north_first else latitudes)
    return order, tuple(latitudes[order].tolist())


def order_output_columns(layout: Layout | None, spec: StateSpec) -> tuple[Array, tuple[float, ...]]:
    """Order of the state's columns that suits the user, and their longitudes."""
    longitudes = np.array(spec.longitude)
    if layout is None or not layout.longitudes:
        return np.arange(len(longitudes)), spec.longitude
    own = _check_permutation(find_positions(layout.longitudes, spec.longitude, 360), len(longitudes))
    if own is not None:
        return own, layout.longitudes
    west = -180 if layout.longitude_convention == "-180..180" else 0
    wrapped = (longitudes - west) % 360 + west
    order = np.argsort(wrapped)
    return order, tuple(wrapped[order].tolist())


def order_output_levels(layout: Layout | None, levels: Sequence[int]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Levels (hPa) in the order that suits the user, and their values in the user's units."""
    if layout is None or not layout.levels:
        return tuple(levels), tuple(levels)
    ordered = tuple(sorted(levels, reverse=layout.level_descending))
    own = {round(p, 3): value for p, value in zip(layout.hectopascals, layout.levels, strict=True)}
    return ordered, tuple(own.get(round(level, 3), round(level / layout.hectopascal, 9)) for level in ordered)


def find_grid_problems(layout: Layout, spec: StateSpec) -> list[str]:
    """Differences of a Dataset's grid from the state's; empty if there are none, in any order and convention."""
    problems = []
    for axis, found, expected, period in (
        ("latitudes", layout.latitudes, spec.latitude, None),
        ("longitudes", layout.longitudes, spec.longitude, 360.0),
    ):
        if found and (
            find_positions(expected, found, period) is None or find_positions(found, expected, period) is None
        ):
            problems.append(
                f"{axis}: found {describe_values(found)}; expected {describe_values(expected)}: "
                "regrid first, with ds.appa.regrid or another tool"
            )
    return problems


def _check_permutation(index: Array | None, length: int) -> Array | None:
    return index if index is not None and len(np.unique(index)) == len(index) == length else None


def describe_values(values: Sequence[float]) -> str:
    """Values of an axis in words."""
    if len(values) == 1:
        return f"one value, {values[0]:g}"
    return f"{len(values)} values from {values[0]:g} to {values[-1]:g}"
