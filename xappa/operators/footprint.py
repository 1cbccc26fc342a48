r"""Fields of view: the mean of a field over a circle or an ellipse on the sphere.

The mean of f over an ellipse with semi-axes a and b is taken on rings and rays: with
:math:`x = a \sqrt{s} \cos\theta`, :math:`y = b \sqrt{s} \sin\theta`, equal steps of s and :math:`\theta` are
equal areas, and

.. math:: \bar f = \frac{1}{2\pi} \int_0^{2\pi} \int_0^1 f(s, \theta) \, \mathrm{d}s \, \mathrm{d}\theta

by Gauss-Legendre nodes in s and equidistant rays in :math:`\theta`. Each node lies a great circle away from the
centre, and is read bilinearly.

References
----------
Snyder (1987), Map Projections: A Working Manual, USGS Professional Paper 1395, equations 5-5 and 5-6 (the azimuthal
equidistant projection, inverted, gives the place at a distance and an azimuth).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import ObservationError, OptionError
from xappa.geometry import WGS84_RADIUS
from xappa.grids.bilinear import InterpolationWeights, compute_bilinear_weights
from xappa.model.state import StateSpec
from xappa.operators.base import OPERATORS
from xappa.operators.geometry import Geometry, describe_geometry

BLOCK = 1 << 20  # corners of nodes that are read at once

Size = float | str | Array


@OPERATORS.register("footprint")
@dataclass(frozen=True, repr=False)
class Footprint(Geometry):
    """Mean over a field of view, circular or elliptic.

    Parameters
    ----------
    radius : float, array or str, optional
        Radius of a circle, km: one for all, one an observation (in their order), or the name of a coordinate along
        ``obs`` that holds them.
    axes : pair of these, optional
        Semi-axes of an ellipse instead, km: along and across `azimuth`.
    azimuth : float, array or str, default 0
        Direction of the first axis, degrees clockwise from north.
    lapse_rate, extrapolate
        See `Geometry`; a mean over an area is not brought to a height.

    Examples
    --------
    >>> print(Footprint(radius=12.5))
    mean over a circle of 12.5 km radius
    """

    radius: Size | None = None
    axes: tuple[Size, Size] | None = None
    azimuth: Size = 0.0
    _: KW_ONLY
    lapse_rate: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius is not None and self.axes is not None:
            raise OptionError("Footprint: found both radius and axes; expected one of them: a circle, or an ellipse")
        if self.axes is not None and not (isinstance(self.axes, tuple | list) and len(self.axes) == 2):
            raise OptionError(
                f"Footprint: found axes={self.axes!r}; expected two semi-axes, along and across, such as (30, 15), or "
                "radius= for a circle"
            )

    def places(self, obs: xr.Dataset, spec: StateSpec) -> InterpolationWeights:
        """All grid points that the nodes of a field of view are read from."""
        size = obs.sizes["obs"]
        if self.radius is None and self.axes is None:
            raise OptionError(
                "The operator 'footprint' needs a size: use xappa.operators.Footprint(radius=25) (km), or "
                "Footprint(axes=(30, 15), azimuth=45)"
            )
        along, across = (_expand_sizes(a, obs, size) for a in (self.axes or (self.radius, self.radius)))
        azimuth = _expand_sizes(self.azimuth, obs, size, positive=False)
        latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
        rings = _count_rings(float(max(np.nanmax(along, initial=0), np.nanmax(across, initial=0))), spec)
        nodes, share = _place_nodes(rings)
        # Channels of a pixel share their place.
        sizes = np.stack([latitude, longitude, along, across, azimuth])
        own, index = np.unique(sizes, axis=1, return_inverse=True, equal_nan=False)
        found, step = [], max(1, BLOCK // (4 * len(share)))
        for first in range(0, own.shape[1], step):
            part = own[:, first : first + step]
            found.append(_merge_nodes(part[0], part[1], part[2], part[3], part[4], nodes, share, spec))
        whole, rows = _concatenate_weights(found), index.reshape(-1)
        return InterpolationWeights(whole.cell[rows], whole.weight[rows], whole.crossed[rows], whole.inside[rows])

    def blocks(self, obs: xr.Dataset, spec: StateSpec) -> Iterable[tuple[Footprint, Array | None]]:
        """See `Geometry.blocks`: by latitude, since fields of view near a pole touch many more cells than others."""
        size = obs.sizes["obs"]
        sizes = [
            np.asarray(_expand_sizes(a, obs, size)) for a in (self.axes or (self.radius, self.radius)) if a is not None
        ]
        largest = max((float(np.nanmax(a, initial=0)) for a in sizes), default=0.0)
        step = max(1, BLOCK // (16 * _count_rings(largest, spec) ** 2))
        if size <= step:
            yield self, None
            return
        order = np.argsort(np.abs(np.asarray(obs["latitude"].values, float)), kind="stable")
        for first in range(0, size, step):
            rows = np.sort(order[first : first + step])
            yield self._select(rows, size), rows

    def _select(self, rows: Array, size: int) -> Footprint:
        """The same for some of the reports."""

        def part(value: Any) -> Any:
            each = not isinstance(value, str) and np.shape(value) == (size,)
            return np.asarray(value)[rows] if each else value

        axes = None if self.axes is None else (part(self.axes[0]), part(self.axes[1]))
        return replace(self, radius=part(self.radius), axes=axes, azimuth=part(self.azimuth))

    def describe(self) -> str:
        """What the operator does, in words."""
        if self.axes is not None:
            shape = f"an ellipse of {_format_size(self.axes[0])} by {_format_size(self.axes[1])} km semi-axes"
        else:
            shape = f"a circle of {_format_size(self.radius)} km radius"
        return describe_geometry(self, f"mean over {shape}")


def find_destination(latitude: Array, longitude: Array, distance: Array, azimuth: Array) -> tuple[Array, Array]:
    """Places at a distance (km) in a direction (degrees clockwise from north) along great circles, degrees."""
    phi, arc, bearing = np.deg2rad(latitude), distance / WGS84_RADIUS, np.deg2rad(azimuth)
    sine = np.sin(phi) * np.cos(arc) + np.cos(phi) * np.sin(arc) * np.cos(bearing)
    east = np.sin(bearing) * np.sin(arc) * np.cos(phi)
    north = np.cos(arc) - np.sin(phi) * sine
    return np.rad2deg(np.arcsin(np.clip(sine, -1, 1))), longitude + np.rad2deg(np.arctan2(east, north))


def _format_size(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else repr(value) if isinstance(value, str) else "varying"


def _expand_sizes(value: Any, obs: xr.Dataset, size: int, positive: bool = True) -> Array:
    """One number a report."""
    if isinstance(value, str):
        if value not in obs.variables:
            raise ObservationError(
                f"Footprint: the observations have no {value!r}; found {', '.join(map(str, obs.coords))}"
            )
        value = obs[value].values
    numbers = np.asarray(value, float)
    if numbers.ndim and numbers.shape != (size,):
        raise OptionError(
            f"Footprint: found {numbers.shape} sizes; expected one number, or one for each of {size} reports"
        )
    if positive and not (numbers > 0).all():
        raise OptionError("Footprint: found sizes that are not above 0; expected kilometres")
    return np.broadcast_to(numbers, size)


def _count_rings(largest: float, spec: StateSpec) -> int:
    """Rings of nodes: two a cell, so that every cell inside is met."""
    rows = np.sort(np.array(spec.latitude))
    spacing = np.diff(rows).min() if len(rows) > 1 else 180.0
    return int(np.clip(np.ceil(2 * largest / (np.deg2rad(spacing) * WGS84_RADIUS)) + 1, 3, 24))


def _place_nodes(rings: int) -> tuple[Array, Array]:
    """Nodes (n, 2) in the unit disc, and their shares of its area (n,)."""
    s, weight = np.polynomial.legendre.leggauss(rings)
    rays = 4 * rings
    angle = 2 * np.pi * (np.arange(rays) + 0.5) / rays
    radius = np.sqrt((s + 1) / 2)
    x, y = np.outer(radius, np.cos(angle)), np.outer(radius, np.sin(angle))
    return np.stack([x.ravel(), y.ravel()], axis=1), np.repeat(weight / 2 / rays, rays)


def _merge_nodes(
    latitude: Array,
    longitude: Array,
    along: Array,
    across: Array,
    azimuth: Array,
    nodes: Array,
    share: Array,
    spec: StateSpec,
) -> InterpolationWeights:
    """Points of the nodes of some reports, those that come several times as one."""
    x, y = along[:, None] * nodes[:, 0], across[:, None] * nodes[:, 1]
    distance, turn = np.hypot(x, y), np.rad2deg(np.arctan2(y, x))
    rows, columns = find_destination(latitude[:, None], longitude[:, None], distance, azimuth[:, None] + turn)
    found = compute_bilinear_weights(rows.ravel(), columns.ravel(), spec.latitude, spec.longitude)
    n, width = len(latitude), 4 * len(share)
    cell = 2 * found.cell.reshape(n, width) + found.crossed.reshape(n, width)
    weight = found.weight.reshape(n, len(share), 4) * share[:, None]
    order = np.argsort(cell, axis=1, kind="stable")
    cell, weight = np.take_along_axis(cell, order, 1), np.take_along_axis(weight.reshape(n, width), order, 1)
    new = np.diff(cell, axis=1, prepend=-1) != 0
    slot = np.cumsum(new, axis=1) - 1
    most = int(slot.max(initial=0)) + 1
    flat = (np.arange(n)[:, None] * most + slot).ravel()
    total = np.bincount(flat, weight.ravel(), n * most).reshape(n, most)
    points = np.repeat(cell[:, :1], most, axis=1)
    points.reshape(-1)[flat] = cell.ravel()
    centre = compute_bilinear_weights(latitude, longitude, spec.latitude, spec.longitude).inside
    inside = found.inside.reshape(n, -1).all(axis=1) & centre
    return InterpolationWeights(points // 2, total, (points % 2).astype(bool), inside)


def _concatenate_weights(blocks: list[InterpolationWeights]) -> InterpolationWeights:
    """One set of points of several, filled with entries of weight zero."""
    most = max((block.cell.shape[1] for block in blocks), default=1)

    def joined(name: str) -> Array:
        parts = []
        for block in blocks:
            array = getattr(block, name)
            fill = np.zeros_like(array[:, :1]) if name == "weight" else array[:, :1]
            parts.append(np.concatenate([array, np.repeat(fill, most - array.shape[1], axis=1)], axis=1))
        return np.concatenate(parts) if parts else np.zeros((0, most), int)

    inside = np.concatenate([block.inside for block in blocks]) if blocks else np.zeros(0, bool)
    return InterpolationWeights(joined("cell"), joined("weight"), joined("crossed"), inside)
