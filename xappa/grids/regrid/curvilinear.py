r"""Bilinear and nearest weights from curvilinear grids and lists of places, in three dimensions.

A place :math:`p` lies in the cell of four points :math:`v_{ij}` where :math:`t p = \sum_{ij} w_{ij}(\xi, \eta) v_{ij}`
with :math:`\xi, \eta` between 0 and 1: its direction meets the bilinear patch that they span. Poles and the date line
need nothing of their own. Between the same points ESMF interpolates so; along parallels the weights differ, in second
order of the spacing, from those that are linear in longitude and latitude.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from xappa._typing import Array
from xappa.errors import DatasetError
from xappa.geometry import to_unit_vectors
from xappa.grids.regrid.grid import CURVILINEAR, REDUCED, Grid
from xappa.grids.regrid.rows import build_matrix, compute_latitude_edges, split_rows
from xappa.grids.regrid.sphere import is_closed
from xappa.grids.regrid.weights import Weights

EDGE = 1e-9
NEIGHBOURS = 16
BLOCK = 50_000


def compute_patch_weights(source: Grid, target: Grid) -> Weights:
    """Bilinear weights from a curvilinear grid.

    Parameters
    ----------
    source : Grid
        Curvilinear; columns that close round the globe are found by themselves. Points without coordinates are left
        out.
    target : Grid
        Any.

    Returns
    -------
    Weights
        Places that lie in no cell have none.

    Raises
    ------
    DatasetError
        If `source` is a list of places.
    """
    if source.kind != CURVILINEAR:
        raise DatasetError(
            f"Bilinear weights need neighbours along two axes: found a list of {source.size} places; expected rows and "
            "columns, rows of a reduced Gaussian grid, or 2-D latitude and longitude: use method='nearest'"
        )
    corner = _build_patches(to_unit_vectors(source.latitude, source.longitude))
    vertices = to_unit_vectors(*source.points)
    place = to_unit_vectors(*target.points)
    full = _locate_places(vertices, corner, place)
    return Weights(source.shape, target.shape, full=build_matrix(*full, (target.size, source.size)))


def compute_nearest_place_weights(source: Grid, target: Grid) -> Weights:
    """The nearest place on the sphere; none where that is further away than the source's places are from each other.

    Parameters
    ----------
    source, target : Grid
        Any.

    Returns
    -------
    Weights
    """
    points, places = to_unit_vectors(*source.points), to_unit_vectors(*target.points)
    known, asked = (np.flatnonzero(np.isfinite(p).all(axis=1)) for p in (points, places))
    tree = cKDTree(points[known])
    distance, index = tree.query(places[asked])
    if source.kind == REDUCED:
        south, north = compute_latitude_edges(np.array([row.latitude for row in split_rows(*source.points) or []]))
        inside = np.abs(target.points[0][asked] - (south.min() + north.max()) / 2) <= np.ptp([south, north]) / 2 + 1e-6
    else:
        inside = distance <= _compute_cell_radii(source, points, known, tree)[index]
    full = build_matrix(asked[inside], known[index[inside]], np.ones(int(inside.sum())), (target.size, source.size))
    return Weights(source.shape, target.shape, full=full)


def _compute_cell_radii(source: Grid, points: Array, known: Array, tree: cKDTree) -> Array:
    """How far (chords) the cell of each known point goes: half the diagonal to its neighbours, where it has them."""
    if source.kind != CURVILINEAR:
        count = min(9, len(known))
        return 0.6 * tree.query(points[known], k=[count])[0][:, 0] if count > 1 else np.full(len(known), 2.0)
    shaped = points.reshape(*source.shape, 3)
    reach = np.zeros(source.shape)
    for axis in (0, 1):
        step = np.nan_to_num(np.linalg.norm(np.diff(shaped, axis=axis), axis=2))
        low, high = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
        low[axis], high[axis] = (1, 0), (0, 1)
        reach += np.maximum(np.pad(step, low), np.pad(step, high)) ** 2
    return 0.5 * np.sqrt(reach).ravel()[known] * (1 + 1e-6)


def _build_patches(points: Array) -> Array:
    """Flat indices (cells, 4) of the corners of all cells with four known corners, in order round each."""
    number = np.arange(points.shape[0] * points.shape[1]).reshape(points.shape[:2])
    if is_closed(points):
        number = np.concatenate([number, number[:, :1]], axis=1)
    around = (number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1])
    corner = np.stack([c.ravel() for c in around], axis=1)
    return corner[np.isfinite(points.reshape(-1, 3)).all(axis=1)[corner].all(axis=1)]


def _locate_places(vertices: Array, corner: Array, place: Array) -> tuple[Array, Array, Array]:
    """Entries (target, source, weight) of the places that lie in a cell."""
    rows, columns, weights = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
    if not len(corner):
        return rows[0], columns[0], weights[0]
    # A cell that is long and thin may have its middle further away than others': so many are tried.
    centre = vertices[corner].mean(axis=1)
    tree = cKDTree(centre)
    radius = 1.01 * np.linalg.norm(vertices[corner] - centre[:, None], axis=2).max(axis=1) + 1e-9
    places = np.flatnonzero(np.isfinite(place).all(axis=1))
    for start in range(0, len(places), BLOCK):
        left = places[start : start + BLOCK]
        count = min(NEIGHBOURS, len(corner))
        distance, near = tree.query(place[left], k=np.arange(1, count + 1), distance_upper_bound=radius.max())
        for attempt in range(count):
            # Where no more cells are so near the tree gives infinity.
            reached = np.isfinite(distance[:, attempt])
            left, near, distance = left[reached], near[reached], distance[reached]
            tried = np.flatnonzero(distance[:, attempt] <= radius[near[:, attempt]])
            cell = near[tried, attempt]
            xi, eta, inside = _invert_bilinear(vertices[corner[cell]], place[left[tried]])
            xi, eta = np.clip(xi[inside], 0, 1), np.clip(eta[inside], 0, 1)
            share = np.stack([(1 - xi) * (1 - eta), xi * (1 - eta), xi * eta, (1 - xi) * eta], axis=1)
            share[share < EDGE] = 0
            rows.append(np.repeat(left[tried[inside]], 4))
            columns.append(corner[cell[inside]].ravel())
            weights.append((share / share.sum(axis=1, keepdims=True)).ravel())
            unfound = np.ones(len(left), bool)
            unfound[tried[inside]] = False
            left, near, distance = left[unfound], near[unfound], distance[unfound]
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)


def _invert_bilinear(corner: Array, place: Array) -> tuple[Array, Array, Array]:
    """Where in its cell (N, 4, 3) each place (N, 3) lies, and whether it does, by Newton's method."""
    a, b, d = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 3] - corner[:, 0]
    c = corner[:, 2] - corner[:, 1] - d
    xi, eta, t = np.full(len(place), 0.5), np.full(len(place), 0.5), np.ones(len(place))
    with np.errstate(all="ignore"):
        for _ in range(12):
            residual = a + b * xi[:, None] + d * eta[:, None] + c * (xi * eta)[:, None] - place * t[:, None]
            along, across = b + c * eta[:, None], d + c * xi[:, None]
            # Cramer's rule for three unknowns; a cell without area gives no number, and is not taken.
            normal = np.cross(along, across)
            volume = -np.einsum("nc,nc->n", normal, place)
            xi = xi - np.einsum("nc,nc->n", np.cross(residual, across), -place) / volume
            eta = eta - np.einsum("nc,nc->n", np.cross(along, residual), -place) / volume
            t = t - np.einsum("nc,nc->n", normal, residual) / volume
        inside = (np.abs(xi - 0.5) <= 0.5 + EDGE) & (np.abs(eta - 0.5) <= 0.5 + EDGE) & (t > 0)
    return xi, eta, inside
