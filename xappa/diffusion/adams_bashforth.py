r"""Adams-Bashforth coefficients on a variable grid.

The derivative :math:`z(\sigma)` is known at the nodes :math:`\sigma_{i-o}, \dots, \sigma_{i-1}`. Integrating the
polynomial through those values over the next step gives

.. math::
   x_i = x_{i-1} + \sum_k c_k z_k, \qquad
   c_k = \int_{\sigma_{i-1}}^{\sigma_i} \prod_{j \neq k} \frac{\sigma - \sigma_j}{\sigma_k - \sigma_j} \, d\sigma.

References
----------
.. [1] Hairer, Nørsett and Wanner, Solving ordinary differential equations I, chapter III.1 and III.5,
   https://doi.org/10.1007/978-3-540-78862-1
.. [2] Zhang and Chen, Fast sampling of diffusion models with exponential integrator, 2022, https://arxiv.org/abs/2204.13902
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def adams_bashforth(grid: Tensor, i: int, order: int) -> Tensor:
    """Weights of the last derivatives in the step from `grid[i - 1]` to `grid[i]`.

    Parameters
    ----------
    grid : Tensor, shape (N + 1,)
        Nodes, in the order in which they are visited.
    i : int
        Number of the step, from 1.
    order : int
        Number of derivatives; the first steps, which have fewer, use all there are.

    Returns
    -------
    Tensor, shape (min(order, i),), float64
        Ordered from the oldest derivative to the newest.
    """
    order = min(order, i)
    nodes = grid[i - order : i].double().cpu()
    start, stop = (float(grid[j]) for j in (i - 1, i))
    # degree order - 1: exact with order // 2 + 1 points
    points, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(order // 2 + 1))
    half = (stop - start) / 2
    return lagrange(nodes, (start + stop) / 2 + half * points) @ weights * half


def lagrange(nodes: Tensor, points: Tensor) -> Tensor:
    """Basis polynomials of `nodes` (o,) at `points` (p,): shape (o, p)."""
    away = points[None, None, :] - nodes[None, :, None]
    span = nodes[:, None] - nodes[None, :]
    same = torch.eye(len(nodes), dtype=torch.bool)
    factors = away / span.masked_fill(same, 1.0)[..., None]
    return factors.masked_fill(same[..., None], 1.0).prod(1)
