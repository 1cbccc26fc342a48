r"""Overlaps of cells whose edges are great circles, in three dimensions: no pole and no date line.

A great circle is the cut of the sphere with a plane through its centre. One cell is clipped by the planes of the
other's edges, one after the other (Sutherland and Hodgman), and what is left is measured by its spherical excess. Cells
of rows and columns keep their parallels by points along them.

References
----------
Sutherland, I. E., and G. W. Hodgman, 1974: Reentrant polygon clipping. Communications of the ACM 17, 32-42.
van Oosterom, A., and J. Strackee, 1983: The solid angle of a plane triangle. IEEE Transactions on Biomedical
Engineering 30, 125-126.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from xappa._typing import Array
from xappa.errors import DatasetError
from xappa.geometry import to_unit_vectors
from xappa.grids.regrid.grid import CURVILINEAR, RECTILINEAR, REDUCED, Grid
from xappa.grids.regrid.rows import build_matrix, compute_latitude_edges, compute_longitude_edges, split_rows
from xappa.grids.regrid.sphere import build_quads

# Longest stretch of a parallel that is drawn as one great circle, degrees.
STRETCH = 0.2
PAIRS = 200_000


def compute_overlap_weights(source: Grid, target: Grid) -> csr_array:
    """Share of each target cell that each source cell covers, (targets, sources).

    Parameters
    ----------
    source, target : Grid
        At most one of them of rows.

    Returns
    -------
    csr_array

    Raises
    ------
    DatasetError
        If the cells of one are not known.
    """
    ours, theirs = _orient_anticlockwise(build_cells(source)), _orient_anticlockwise(build_cells(target))
    # The polygons that clip have to be convex: cells with points along their parallels are not.
    swap = source.kind not in (RECTILINEAR, REDUCED)
    subject, clip = (theirs, ours) if swap else (ours, theirs)
    rows, columns, areas = [], [], []
    for first, second in _find_candidate_pairs(subject, clip):
        area = _compute_area(_clip(subject[first], clip[second]))
        rows.append(first if swap else second)
        columns.append(second if swap else first)
        areas.append(area)
    row, column, area = np.concatenate(rows), np.concatenate(columns), np.concatenate(areas)
    own = _compute_area(theirs)
    share = np.divide(area, own[row], out=np.zeros_like(area), where=own[row] > 0)
    share[share < 1e-12] = 0
    made = build_matrix(row, column, share, (target.size, source.size))
    # A cell that is covered is covered wholly: what rounding and parallels leave over is no gap.
    total = made.sum(axis=1)
    near = np.abs(total - 1) < 1e-3
    made.data /= np.repeat(np.where(near, total, 1.0), np.diff(made.indptr))
    return made


def build_cells(grid: Grid) -> Array:
    """Corners of each cell as unit vectors, (cells, vertices, 3); NaN where a cell is not known.

    Raises
    ------
    DatasetError
        If the grid is a list of points without bounds.
    """
    if grid.kind == RECTILINEAR:
        south, north = compute_latitude_edges(grid.latitude, grid.latitude_bounds)
        west, east, _ = compute_longitude_edges(grid.longitude, grid.longitude_bounds)
        return _build_boxes(*(a.ravel() for a in np.broadcast_arrays(south[:, None], north[:, None], west, east)))
    if grid.latitude_bounds is not None and grid.longitude_bounds is not None:
        return to_unit_vectors(grid.latitude_bounds, grid.longitude_bounds)
    if grid.kind == REDUCED:
        rows = split_rows(grid.latitude, grid.longitude) or []
        south, north = compute_latitude_edges(np.array([row.latitude for row in rows]))
        sizes = [len(row.longitude) for row in rows]
        meridians = [compute_longitude_edges(row.longitude)[:2] for row in rows]
        west, east = (np.concatenate(parts) for parts in zip(*meridians, strict=True))
        return _build_boxes(np.repeat(south, sizes), np.repeat(north, sizes), west, east)
    if grid.kind == CURVILINEAR:
        return build_quads(to_unit_vectors(grid.latitude, grid.longitude))
    raise DatasetError(
        f"Conservative weights need the edges of cells: found a list of {grid.size} places without bounds; expected "
        "latitude and longitude bounds (CF attribute 'bounds', one row of vertices a cell): add them, or use "
        "method='nearest'"
    )


def _build_boxes(south: Array, north: Array, west: Array, east: Array) -> Array:
    steps = max(1, int(np.ceil((east - west).max() / STRETCH)))
    along = np.linspace(0, 1, steps + 1)
    longitude = west[:, None] + (east - west)[:, None] * along
    edges = np.stack([south, north], axis=1)
    edges = edges - _bulge((east - west) / steps)[:, None] * np.sin(np.radians(2 * edges))
    latitude = np.repeat(edges, steps + 1, axis=1)
    return to_unit_vectors(latitude, np.concatenate([longitude, longitude[:, ::-1]], axis=1))


def _bulge(width: Array) -> Array:
    r"""How far, in degrees and over :math:`\sin 2\phi`, a great circle between points of a parallel runs poleward."""
    return np.radians(width) * width / 24


def _orient_anticlockwise(polygons: Array) -> Array:
    """The same polygons, all anticlockwise seen from outside."""
    area = _compute_area(polygons, signed=True)
    return np.where((area < 0)[:, None, None], polygons[:, ::-1], polygons)


def _find_candidate_pairs(subject: Array, clip: Array) -> list[tuple[Array, Array]]:
    """Cells of both that may overlap, in lists of bounded length."""
    centres, radii = zip(*(_compute_bounding_balls(polygons) for polygons in (subject, clip)), strict=True)
    known = [np.flatnonzero(np.isfinite(radius)) for radius in radii]
    tree = cKDTree(centres[1][known[1]])
    reach = radii[1][known[1]].max(initial=0)
    found: list[tuple[Array, Array]] = []
    step = 20_000
    for start in range(0, len(known[0]), step):
        part = known[0][start : start + step]
        near = tree.query_ball_point(centres[0][part], radii[0][part] + reach)
        count = np.array([len(members) for members in near], int)
        if not count.sum():
            continue
        first, second = np.repeat(part, count), known[1][np.concatenate(near).astype(int)]
        apart = np.linalg.norm(centres[0][first] - centres[1][second], axis=1)
        close = apart <= radii[0][first] + radii[1][second]
        first, second = first[close], second[close]
        cut = range(PAIRS, len(first), PAIRS)
        found += zip(np.split(first, cut), np.split(second, cut), strict=True)
    return found


def _compute_bounding_balls(polygons: Array) -> tuple[Array, Array]:
    """Centres and radii (chords) of balls round the cells."""
    centre = polygons.mean(axis=1)
    return centre, np.linalg.norm(polygons - centre[:, None], axis=2).max(axis=1) * (1 + 1e-9)


def _clip(subject: Array, clip: Array) -> Array:
    """Polygons (P, V + K, 3) common to polygons (P, V, 3) and convex polygons (P, K, 3); repeated points fill up."""
    for k in range(clip.shape[1]):
        normal = np.cross(clip[:, k], clip[:, (k + 1) % clip.shape[1]])
        subject = _clip_to_half_space(subject, normal)
    return subject


def _clip_to_half_space(polygon: Array, normal: Array) -> Array:
    """Part of each polygon to the left of a plane; at most one point more."""
    height = np.einsum("pvc,pc->pv", polygon, normal)
    height = np.where(np.abs(height) < 1e-15, 0.0, height)
    following, after = np.roll(polygon, -1, axis=1), np.roll(height, -1, axis=1)
    crossing = (height * after) < 0
    keep = height >= 0
    cut = following * np.abs(height)[..., None] + polygon * np.abs(after)[..., None]
    length = np.linalg.norm(cut, axis=2, keepdims=True)
    cut = np.divide(cut, length, out=np.zeros_like(cut), where=length > 0)
    # Each edge leaves its first point, where that is kept, and the crossing, where there is one.
    points = np.stack([polygon, cut], axis=2).reshape(len(polygon), -1, 3)
    kept = np.stack([keep, crossing], axis=2).reshape(len(polygon), -1)
    count = kept.sum(axis=1)
    width = max(int(count.max(initial=0)), 1)
    order = np.argsort(~kept, axis=1, kind="stable")[:, :width]
    order = np.where(np.arange(width) < count[:, None], order, order[:, :1])
    out = np.take_along_axis(points, order[..., None], axis=1)
    out[count == 0] = 0.0
    return out


def _compute_area(polygons: Array, signed: bool = False) -> Array:
    """Areas on the unit sphere, (P,): a fan of triangles."""
    first = polygons[:, :1]
    second, third = polygons[:, 1:-1], polygons[:, 2:]
    # Differences keep the digits that small triangles lose in the triple product of their corners.
    volume = np.einsum("pvc,pvc->pv", np.broadcast_to(first, second.shape), np.cross(second - first, third - first))
    dots = (
        1
        + np.einsum("pvc,pvc->pv", np.broadcast_to(first, second.shape), second)
        + np.einsum("pvc,pvc->pv", second, third)
        + np.einsum("pvc,pvc->pv", third, np.broadcast_to(first, third.shape))
    )
    area = 2 * np.arctan2(volume, dots).sum(axis=1)
    return area if signed else np.abs(area)
