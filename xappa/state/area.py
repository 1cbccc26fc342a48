"""The part of a model's grid that a user's Dataset covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xappa._typing import Array
from xappa.grids.axes import Layout
from xappa.grids.bilinear import CyclicColumns
from xappa.grids.matching import describe_values, find_positions, order_output_columns, order_output_rows
from xappa.grids.regrid.rows import compute_latitude_edges
from xappa.model.state import StateSpec

TOLERANCE = 1e-6  # degrees


@dataclass(frozen=True)
class GridSubset:
    """Rows and columns of a model's grid.

    Parameters
    ----------
    rows, columns : array of int
        Positions in the state, in the order of the result.
    latitudes, longitudes : tuple of float
        Their values, in the user's convention.
    """

    rows: Array
    columns: Array
    latitudes: tuple[float, ...]
    longitudes: tuple[float, ...]

    @staticmethod
    def whole(layout: Layout | None, spec: StateSpec) -> GridSubset:
        """The whole grid, in the user's order."""
        (rows, latitudes), (columns, longitudes) = order_output_rows(layout, spec), order_output_columns(layout, spec)
        return GridSubset(rows, columns, latitudes, longitudes)

    @staticmethod
    def covering(layout: Layout, spec: StateSpec) -> GridSubset:
        """The smallest part of the grid that covers the user's: its own points, if these are the model's.

        Of a global grid it is the whole. Of another, the points beside and beyond its edges belong to it, so that
        fields can be read at its points.
        """
        whole = GridSubset.whole(layout, spec)
        if not layout.latitudes or not layout.longitudes:
            return whole
        rows = _select_rows(layout.latitudes, whole, spec)
        columns = _select_columns(layout.longitudes, whole, spec)
        return GridSubset(rows[0], columns[0], rows[1], columns[1])


def describe_grid_subset(layout: Layout, spec: StateSpec) -> list[str]:
    """What becomes of a region, and of an orientation that is not the model's, in words."""
    if not layout.latitudes or not layout.longitudes:
        return []
    notes = []
    area, whole = GridSubset.covering(layout, spec), GridSubset.whole(layout, spec)
    if (len(area.rows), len(area.columns)) != (len(whole.rows), len(whole.columns)):
        notes.append(
            f"region: results are cut to the {len(area.rows)} x {len(area.columns)} points of the model that cover it, "
            f"latitudes {describe_values(area.latitudes)}, longitudes {describe_values(area.longitudes)}"
        )
    rows = len(layout.latitudes) > 1 and layout.north_first != (spec.latitude[0] > spec.latitude[-1])
    columns = layout.longitude_convention != ("-180..180" if min(spec.longitude) < 0 else "0..360")
    found = [f"rows from {'north to south' if layout.north_first else 'south to north'}"] if rows else []
    found += [f"longitudes {layout.longitude_convention}"] if columns else []
    if found:
        notes.append(f"orientation: {' and '.join(found)}, which results keep; the model's are others")
    repeated = len(layout.longitudes) - len(CyclicColumns(np.array(layout.longitudes)).nodes)
    if repeated:
        notes.append(f"longitudes: {repeated} meridian is there twice; it counts once")
    return notes


def _select_rows(latitudes: tuple[float, ...], whole: GridSubset, spec: StateSpec) -> tuple[Array, tuple[float, ...]]:
    own = find_positions(latitudes, spec.latitude)
    if own is not None and _are_adjacent(own, len(spec.latitude), closed=False):
        return own, latitudes
    south, north = min(latitudes), max(latitudes)
    if len(latitudes) > 1:  # a grid that ends within a row of a pole goes to it
        lower, upper = compute_latitude_edges(np.array(latitudes))
        south, north = (-90.0 if lower.min() <= -90 else south), (90.0 if upper.max() >= 90 else north)
    values = np.array(whole.latitudes)
    lowest = values[values <= south + TOLERANCE].max(initial=values.min())
    highest = values[values >= north - TOLERANCE].min(initial=values.max())
    kept = (values >= lowest) & (values <= highest)
    return whole.rows[kept], tuple(values[kept].tolist())


def _select_columns(
    longitudes: tuple[float, ...], whole: GridSubset, spec: StateSpec
) -> tuple[Array, tuple[float, ...]]:
    circle = CyclicColumns(np.array(longitudes))
    if circle.closed:
        return whole.columns, whole.longitudes
    own = find_positions(longitudes, spec.longitude, 360)
    if own is not None and _are_adjacent(own, len(spec.longitude), CyclicColumns(np.array(spec.longitude)).closed):
        return own, longitudes
    # The region begins east of the widest gap.
    first = (int(circle.gaps.argmax()) + 1) % len(circle.nodes)
    west = longitudes[circle.order[first]]
    width = (circle.nodes[first - 1] - circle.nodes[first]) % 360
    values = np.array(whole.longitudes)
    east = (values - west + TOLERANCE) % 360 - TOLERANCE
    order = np.argsort(east)
    inside = int((east <= width + TOLERANCE).sum())
    beyond = 0 if inside and east[order[inside - 1]] >= width - TOLERANCE else 1
    before = 0 if inside and east[order[0]] <= TOLERANCE else 1
    if inside + beyond + before >= len(values):
        return whole.columns, whole.longitudes
    kept = np.concatenate([order[len(order) - before :], order[: inside + beyond]])
    shown = west + east[kept]
    shown[:before] -= 360
    return whole.columns[kept], tuple(np.round(shown, 9).tolist())


def _are_adjacent(index: Array, length: int, closed: bool) -> bool:
    """Whether positions are those of neighbours, each once."""
    if len(np.unique(index)) < len(index):
        return False
    there = np.zeros(length, bool)
    there[index] = True
    starts = int((there & ~np.roll(there, 1)).sum())
    return starts <= 1 and bool(closed or not (there[0] and there[-1]) or there.all())
