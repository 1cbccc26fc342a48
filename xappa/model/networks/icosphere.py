"""Spheres of triangles, and who is whose neighbour on them.

Numbers are made in float32 where official ones are: neighbours at equal distances differ by rounding there, so
that other bits would give other graphs.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

_CORNERS = 12  # of the icosahedron: the nodes with five neighbours, first in the order of any icosphere
_FACES = (
    *((0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11)),
    *((1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6), (7, 1, 8)),
    *((3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9)),
    *((4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)),
)
Face = tuple[int, int, int]


def build_icosphere(divisions: int) -> Tensor:
    """Nodes of an icosahedron whose faces are divided in four, `divisions` times.

    Parameters
    ----------
    divisions : int

    Returns
    -------
    Tensor (10 * 4**divisions + 2, 2), float32
        Latitude (degrees north) and longitude (degrees east, -180 to 180). Nodes of fewer divisions come first.

    References
    ----------
    Sadourny, Arakawa, Mintz (1968), Integration of the nondivergent barotropic vorticity equation with an
    icosahedral-hexagonal grid for the sphere, https://doi.org/10.1175/1520-0493(1968)096<0351:IOTNBV>2.0.CO;2
    """
    x, y, z = torch.from_numpy(_build_nodes(divisions)).to(torch.float32).unbind(-1)
    return torch.stack((torch.asin(z) * 180 / math.pi, torch.atan2(y, x) * 180 / math.pi), -1)


def to_unit_vectors(nodes: Tensor) -> Tensor:
    """Points on the unit sphere (N, 3) at latitudes and longitudes (N, 2), degrees."""
    colatitude, longitude = math.pi / 2 - torch.deg2rad(nodes[:, 0]), torch.deg2rad(nodes[:, 1])
    radius = torch.sin(colatitude)
    return torch.stack((radius * torch.cos(longitude), radius * torch.sin(longitude), torch.cos(colatitude)), -1)


def find_hop_edges(nodes: Tensor, hops: int) -> Tensor:
    """Pairs of nodes of an icosphere within the distance of the farthest that `hops` steps lead to, itself included.

    Parameters
    ----------
    nodes : Tensor (N, 2)
        As `build_icosphere` gives them.
    hops : int

    Returns
    -------
    int64 Tensor (E, 2)
        Node and neighbour, by node, then by neighbour.
    """
    points = to_unit_vectors(nodes).numpy()
    tree = KDTree(points)
    # A node with n neighbours has n h of them h steps away.
    neighbours, others = (6, points[_CORNERS:]) if len(points) > _CORNERS else (5, points)
    within = min(1 + neighbours * hops * (hops + 1) // 2, len(points))
    reach = float(tree.query(others, k=within)[0].max())
    # The tree squares distances: rounding must not lose the farthest one.
    near = tree.query_ball_point(points, reach * (1 + 1e-12), return_sorted=True)
    pairs = [np.stack((np.full(len(found), node), found), -1) for node, found in enumerate(near)]
    return torch.from_numpy(np.concatenate(pairs).astype(np.int64))


@lru_cache(maxsize=8)
def _build_nodes(divisions: int) -> np.ndarray:
    """Unit vectors (N, 3), float64."""
    golden = (1 + math.sqrt(5)) / 2
    plane = [(-1.0, golden, 0.0), (1.0, golden, 0.0), (-1.0, -golden, 0.0), (1.0, -golden, 0.0)]
    points = [_normalise(np.roll(corner, shift)) for shift in range(3) for corner in plane]
    faces: list[Face] = list(_FACES)
    for _ in range(divisions):
        faces = _divide_faces(points, faces)
    return np.array(points)


def _divide_faces(points: list[np.ndarray], faces: list[Face]) -> list[Face]:
    """Four faces for each; the middles of edges are appended to `points`, in the order in which they are met."""
    middle: dict[tuple[int, int], int] = {}

    def between(a: int, b: int) -> int:
        edge = (min(a, b), max(a, b))
        if edge not in middle:
            middle[edge] = len(points)
            points.append(_normalise(points[a] + points[b]))
        return middle[edge]

    smaller: list[Face] = []
    for a, b, c in faces:
        ab, bc, ca = between(a, b), between(b, c), between(c, a)
        smaller += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return smaller


def _normalise(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector) / np.linalg.norm(vector)
