r"""Conjugate gradients, for batches of independent systems with symmetric positive definite matrices.

From :math:`x_0`, with :math:`r_0 = p_0 = b - A x_0`, each step minimises the error in the norm of A along a direction
that is conjugate to those before it,

.. math::
   \alpha = \frac{r^T r}{p^T A p}, \quad x \leftarrow x + \alpha p, \quad r' = r - \alpha A p, \quad
   p \leftarrow r' + \frac{r'^T r'}{r^T r} p.

Unlike `gmres`, it keeps four vectors whatever the number of steps.

References
----------
.. [1] Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems, 1952,
   https://doi.org/10.6028/jres.049.044
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xappa.diffusion.gmres import TINY, Solution, dot, initialise_solution, norm


def conjugate_gradients(
    matvec: Callable[[Tensor], Tensor],
    b: Tensor,
    x0: Tensor | None = None,
    *,
    iterations: int,
    tolerance: float | None = None,
) -> Solution:
    """Solve `A x = b` for every system of a batch, none of which has a say in another's solution.

    Parameters are those of `gmres`, and so is what is returned. A system in which a direction without positive
    curvature turns up (A is not positive definite, or rounding has made it so) is left as it is then.

    Parameters
    ----------
    matvec : callable
        `A`: maps a tensor like `b` to another, system by system.
    b : Tensor, shape (..., M)
        Right-hand sides; leading dimensions are independent systems.
    x0 : Tensor, shape (..., M), optional
        First guess (default: zero). With a tolerance, first scaled to where its residual is smallest.
    iterations : int
        Steps; with a tolerance, the most that are made.
    tolerance : float, optional
        Relative residual at which a system is solved and changes no more. Default: make all steps.

    Returns
    -------
    Solution
    """
    scale = norm(b.double()).clamp(min=TINY)
    x, r = (torch.zeros_like(b).double(), b.double()) if x0 is None else initialise_solution(matvec, b, x0, tolerance)
    p, rr = r, dot(r, r)
    used = torch.zeros_like(rr, dtype=torch.int64)
    active = rr > (0.0 if tolerance is None else (tolerance * scale) ** 2)

    for _ in range(iterations):
        if not active.any():
            break
        image = matvec(p.to(b.dtype)).double()
        curvature = dot(p, image)
        active = active & (curvature > 0)
        step = torch.where(active, rr / curvature.clamp(min=TINY), 0.0)[..., None]
        x, r = x + step * p, r - step * image
        new = dot(r, r)
        p = r + torch.where(active, new / rr.clamp(min=TINY), 0.0)[..., None] * p
        rr = torch.where(active, new, rr)
        used = used + active
        active = active & (rr > (0.0 if tolerance is None else (tolerance * scale) ** 2))
    return Solution(x.to(b.dtype), rr.sqrt() / scale, used)
