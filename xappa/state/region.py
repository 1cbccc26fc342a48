"""A region of a grid, as a user names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xappa._typing import Array
from xappa.errors import OptionError
from xappa.grids.axes import Layout

Bounds: TypeAlias = slice | tuple[float, float]
Region: TypeAlias = Mapping[str, Bounds] | tuple[tuple[float, float], tuple[float, float]]

TOLERANCE = 1e-6  # degrees, or a millionth of a level


@dataclass(frozen=True)
class RegionSelection:
    """Part of the axes of a Dataset in a region.

    Parameters
    ----------
    rows, columns, levels : array of int
        Positions along the user's axes, in the order of the result.
    longitudes : tuple of float
        Of the columns; from the western edge eastwards where the region lies across the seam of the user's longitudes.
    """

    rows: Array
    columns: Array
    levels: Array
    longitudes: tuple[float, ...]


def choose_region(region: Region | None, layout: Layout) -> RegionSelection:
    """Rows, columns and levels of a region; both bounds belong to it.

    Parameters
    ----------
    region : mapping or pair, optional
        ``{"latitude": bounds, "longitude": bounds, "level": bounds}``, or the user's names of these axes, each of
        which may be left out; bounds are a slice or a pair. Or a pair ``(latitude bounds, longitude bounds)``.
        Latitudes and levels come in any order, and a slice may be open; longitudes go eastwards from the first to the
        second, in any convention. Degrees; levels in the user's units. Default: everything.
    layout : Layout
        With the axes.

    Raises
    ------
    OptionError
        If it is not such a region, or no point lies in it.
    """
    bounds = _read_bounds(region, layout)
    rows = _select_between("latitude", layout.latitudes, bounds.get("latitude"))
    levels = _select_between("level", layout.levels, bounds.get("level"))
    columns, longitudes = _select_longitudes(np.array(layout.longitudes), bounds.get("longitude"))
    return RegionSelection(rows, columns, levels, longitudes)


def _read_bounds(region: Region | None, layout: Layout) -> dict[str, tuple[float | None, float | None]]:
    expected = (
        "expected {'latitude': slice(30, 60), 'longitude': slice(-10, 40)}, or ((30, 60), (-10, 40)) for latitudes and "
        "longitudes"
    )
    if region is None:
        return {}
    if not isinstance(region, Mapping):
        if not isinstance(region, Sequence) or isinstance(region, str) or len(region) != 2:
            raise OptionError(f"region={region!r}: {expected}")
        region = {"latitude": region[0], "longitude": region[1]}
    axes = {axis: axis for axis in ("latitude", "longitude", "level")}
    axes |= {name: axis for axis in axes if (name := getattr(layout, axis)) is not None}
    found = {}
    for key, value in region.items():
        ends = (value.start, value.stop) if isinstance(value, slice) and value.step is None else value
        if key not in axes or not isinstance(ends, Sequence) or isinstance(ends, str) or len(ends) != 2:
            raise OptionError(f"region={region!r} has {key!r}: {value!r}; {expected}; its keys are {', '.join(axes)}")
        found[axes[key]] = _parse_bounds(key, ends)
    return found


def _parse_bounds(key: str, ends: Sequence[float | None]) -> tuple[float | None, float | None]:
    try:
        first, last = (None if end is None else float(end) for end in ends)
    except (TypeError, ValueError) as error:
        raise OptionError(f"region has {key!r}: {tuple(ends)!r}; expected two numbers") from error
    if any(end is not None and not np.isfinite(end) for end in (first, last)):
        raise OptionError(f"region has {key!r}: {tuple(ends)!r}; expected finite numbers")
    return first, last


def _select_between(axis: str, values: Sequence[float], bounds: tuple[float | None, float | None] | None) -> Array:
    if bounds is None:
        return np.arange(len(values))
    given = [end for end in bounds if end is not None]
    if len(given) == 2:
        lower, upper = min(given), max(given)
    else:
        descending = len(values) > 1 and values[0] > values[-1]
        lower = given[0] if given and (bounds[0] is not None) != descending else -np.inf
        upper = given[0] if given and (bounds[0] is not None) == descending else np.inf
    inside = [lower - TOLERANCE <= value <= upper + TOLERANCE for value in values]
    return _require_some(axis, np.flatnonzero(inside), bounds, values)


def _select_longitudes(
    values: Array, bounds: tuple[float | None, float | None] | None
) -> tuple[Array, tuple[float, ...]]:
    if bounds is None or bounds == (None, None):
        return np.arange(len(values)), tuple(values.tolist())
    west, east = bounds
    if west is None or east is None:
        raise OptionError(f"region has the longitudes {bounds}; expected both ends, since there is no first longitude")
    width = 360.0 if abs(east - west) >= 360 else (east - west) % 360
    # A grid point at the western edge must not be seen as lying 360 degrees to the east of it.
    offset = (values - west + TOLERANCE) % 360 - TOLERANCE
    inside = np.flatnonzero(offset <= width + TOLERANCE)
    inside = _require_some("longitude", inside[np.argsort(offset[inside], kind="stable")], bounds, values)
    own = values[inside]
    shown = own if (np.diff(own) > 0).all() else own + 360 * np.round((west + offset[inside] - own) / 360)
    return inside, tuple(shown.tolist())


def _require_some(axis: str, inside: Array, bounds: tuple, values: Sequence[float] | Array) -> Array:
    if not len(inside):
        raise OptionError(
            f"region holds no {axis}: between {bounds[0]} and {bounds[1]} lies none of {len(values)} "
            f"from {values[0]:g} to {values[-1]:g}; widen it"
        )
    return inside
