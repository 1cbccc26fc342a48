r"""Generalised minimal residual method, for batches of independent systems.

After `k` steps from :math:`x_0`, with :math:`r_0 = b - A x_0`, the solution is the element of
:math:`x_0 + \mathrm{span}(r_0, A r_0, \dots, A^{k-1} r_0)` whose residual :math:`\|b - A x\|` is smallest. Arnoldi's
process (modified Gram-Schmidt) builds an orthonormal basis :math:`V_k` of that space with
:math:`A V_k = V_{k+1} H_k`; Givens rotations make the Hessenberg matrix :math:`H_k` triangular, and hand out the norm
of the residual at every step for nothing.

References
----------
.. [1] Saad and Schultz, GMRES: a generalized minimal residual algorithm for solving nonsymmetric linear systems, 1986,
   https://doi.org/10.1137/0907058
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TINY = torch.finfo(torch.float64).tiny
BLOCK = 1 << 14


@dataclass(frozen=True)
class Solution:
    """Solution: `x` like b, `residual` (relative, float64) and `iterations` (int64) of each system."""

    x: Tensor
    residual: Tensor
    iterations: Tensor


def gmres(
    matvec: Callable[[Tensor], Tensor],
    b: Tensor,
    x0: Tensor | None = None,
    *,
    iterations: int,
    tolerance: float | None = None,
) -> Solution:
    """Solve `A x = b` for every system of a batch, none of which has a say in another's solution.

    The work is done in float64; `matvec` sees the dtype of `b`, and so does the caller.

    Parameters
    ----------
    matvec : callable
        `A`: maps a tensor like `b` to another, system by system.
    b : Tensor, shape (..., M)
        Right-hand sides; leading dimensions are independent systems.
    x0 : Tensor, shape (..., M), optional
        First guess (default: zero). Taken as it is without a tolerance; with one, first scaled to where its residual is
        smallest, so that a bad guess is no worse than none.
    iterations : int
        Steps; with a tolerance, the most that are made.
    tolerance : float, optional
        Relative residual at which a system is solved and changes no more. Default: make all steps.

    Returns
    -------
    Solution
        The relative residual ‖b - Ax‖/‖b‖ is the recursion's, not measured again; it is 0 where b and x are 0.
    """
    scale = norm(b.double()).clamp(min=TINY)
    guess, remainder = (
        (torch.zeros_like(b).double(), b.double()) if x0 is None else initialise_solution(matvec, b, x0, tolerance)
    )

    beta = norm(remainder)
    rhs, basis = [beta], [divide(remainder, beta)]
    columns: list[list[Tensor]] = []
    rotations: list[tuple[Tensor, Tensor]] = []
    residual, used = beta / scale, torch.zeros_like(beta, dtype=torch.int64)
    active = torch.ones_like(beta, dtype=torch.bool) if tolerance is None else residual > tolerance

    for k in range(iterations):
        if tolerance is not None and not active.any():
            break
        column, vector = arnoldi(matvec, basis, b.dtype)
        column, rotation = apply_rotations(column, rotations)
        basis.append(vector)
        columns.append(column)
        rotations.append(rotation)
        cosine, sine = rotation
        rhs[k:] = [cosine * rhs[k], -sine * rhs[k]]
        residual = torch.where(active, rhs[k + 1].abs() / scale, residual)
        used = used + active
        if tolerance is not None:
            active = active & (residual > tolerance)

    for weight, vector in zip(back_substitute(columns, rhs, used), basis, strict=False):
        guess = guess + weight[..., None] * vector
    return Solution(guess.to(b.dtype), residual, used)


def initialise_solution(
    matvec: Callable[[Tensor], Tensor], b: Tensor, x0: Tensor, tolerance: float | None
) -> tuple[Tensor, Tensor]:
    """First guess and its residual, both float64."""
    guess, image = x0.double(), matvec(x0.to(b.dtype)).double()
    if tolerance is not None:
        best = (dot(image, b.double()) / dot(image, image).clamp(min=TINY))[..., None]
        guess, image = best * guess, best * image
    return guess, b.double() - image


def arnoldi(matvec: Callable[[Tensor], Tensor], basis: list[Tensor], dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Next column of the Hessenberg matrix, and next basis vector."""
    vector = matvec(basis[-1].to(dtype)).double()
    column = []
    for other in basis:
        column.append(dot(vector, other))
        vector = vector - column[-1][..., None] * other
    column.append(norm(vector))
    return column, divide(vector, column[-1])


def apply_rotations(
    column: list[Tensor], rotations: list[tuple[Tensor, Tensor]]
) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
    """Apply the earlier rotations to a column, and find the one that makes its last entry vanish."""
    column = list(column)
    for i, (cosine, sine) in enumerate(rotations):
        above, below = column[i : i + 2]
        column[i : i + 2] = [cosine * above + sine * below, cosine * below - sine * above]
    *head, last, below = column
    length = torch.hypot(last, below)
    return [*head, length], (last / (length + TINY), below / (length + TINY))


def back_substitute(columns: list[list[Tensor]], rhs: list[Tensor], used: Tensor) -> list[Tensor]:
    """Weights of the basis vectors; zero for those that came after a system was solved."""
    weights: list[Tensor] = []
    for i in reversed(range(len(columns))):
        value = rhs[i]
        # nearest column last, so that the zeros of a system that stopped early come first and change no bit
        for j, weight in zip(range(len(columns) - 1, i, -1), weights, strict=True):
            value = value - columns[j][i] * weight
        weights.append(torch.where(i < used, value / (columns[i][i] + TINY), 0.0))
    return weights[::-1]


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Inner product along the last dimension, added in an order that does not depend on how many rows there are."""
    product = u * v
    if (length := product.shape[-1]) > BLOCK:
        product = torch.nn.functional.pad(product, (0, -length % BLOCK)).unflatten(-1, (-1, BLOCK)).sum(-1)
    return product.sum(-1)


def norm(v: Tensor) -> Tensor:
    """Euclidean norm along the last dimension."""
    return dot(v, v).sqrt()


def divide(v: Tensor, length: Tensor) -> Tensor:
    """`v / length`, with 0/0 = 0."""
    return v / (length + TINY)[..., None]
