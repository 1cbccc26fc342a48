r"""The linear system of guidance by moment matching.

If :math:`p(x \mid x_t)` has mean :math:`\hat x` and covariance :math:`C`, and A is nearly linear on its scale, then

.. math::
   \mathbb{E}[x \mid x_t, y] = \hat x + C A^T g, \qquad (R + A C A^T) \, g = y - A(\hat x).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xappa.diffusion.gmres import gmres
from xappa.diffusion.guidance.base import Denoise, Guidance, GuidedDenoiser, Observation
from xappa.diffusion.guidance.linearised import Linearised


@dataclass(frozen=True)
class SolverGuidance(Guidance):
    """Options of the methods that solve a linear system at every call.

    Parameters
    ----------
    iterations : int, default 16
        Steps of GMRES; with a tolerance, the most that are made.
    tolerance : float or None, default 0.05
        Relative residual at which a system is solved. None: make all steps.
    warm_start : bool, default True
        Begin with the solution of the last call.
    whiten : bool, default True
        Measure observations in units of their error, so that the solver does not see the most precise ones only.
    """

    iterations: int = 16
    tolerance: float | None = 0.05
    warm_start: bool = True
    whiten: bool = True

    def problems(self) -> list[str]:
        """What is wrong with the options."""
        found = [] if self.iterations >= 1 else [f"iterations={self.iterations}, expected at least 1"]
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            found.append(f"tolerance={self.tolerance}, expected None or a number between 0 and 1")
        return found


class SolvingDenoiser(GuidedDenoiser):
    """Guided denoiser that solves a linear system, and remembers the solution."""

    def __init__(self, denoiser: Denoise, observation: Observation, options: SolverGuidance) -> None:
        super().__init__(denoiser, observation.whitened() if options.whiten else observation)
        self.options = options
        self.solution: Tensor | None = None
        self.tangent: Linearised | None = None

    def linearise(self, x_hat: Tensor) -> tuple[Linearised, Tensor]:
        """The operator's derivative at x_hat, or the linear map that stands in for it, and A(x_hat)."""
        if self.observation.tangent is None:
            a = Linearised(self.observation.operator, x_hat)
            return a, a.value
        if self.tangent is None:
            self.tangent = Linearised(self.observation.tangent, torch.zeros_like(x_hat))
        with torch.no_grad():
            return self.tangent, self.observation.operator(x_hat)

    def solve(self, a: Linearised, value: Tensor, covariance: Callable[[Tensor], Tensor]) -> Tensor:
        """Solution g (B, M) of the system, for the operator around x_hat, A(x_hat), and the product with C."""
        y, variance = self.observation.y, self.observation.variance
        found = gmres(
            lambda u: variance * u + a.forward(covariance(a.adjoint(u))),
            y - value.to(y),
            self.start(value),
            iterations=self.options.iterations,
            tolerance=self.options.tolerance,
        )
        self.solution = found.x
        self.residual.append(found.residual.cpu())
        self.iterations.append(found.iterations.cpu())
        return found.x

    def start(self, value: Tensor) -> Tensor | None:
        """Solution of the last call, if it is wanted and fits."""
        fits = self.solution is not None and self.solution.shape == value.shape
        return self.solution if self.options.warm_start and fits else None
