r"""The linear system of guidance by moment matching.

If :math:`p(x \mid x_t)` has mean :math:`\hat x` and covariance :math:`C`, and A is nearly linear on its scale, then

.. math::
   \mathbb{E}[x \mid x_t, y] = \hat x + C A^T g, \qquad (R + A C A^T) \, g = y - A(\hat x).

With a Huber norm (see `huber`) :math:`R` becomes :math:`R W^{-1}`, with weights that depend on the solution. The system
is solved as :math:`(R + W A C A^T) \, g = W (y - A(\hat x))`, in which a gross error is no larger than any other.

Few iterations see the largest eigenvalues only. In units of the errors these belong to the most precise observations,
and the others are left unsolved even where the residual is small; in units of the deviation :math:`s_i` that errors and
prior have together, most eigenvalues are near 1,

.. math:: s_i^2 = R_{ii} + \frac{\sigma^2}{1 + \sigma^2} \, (A A^T)_{ii}, \qquad
   (A A^T)_{ii} = \mathbb{E} \, (A z)_i^2, \quad z \sim \mathcal{N}(0, I).

The expectation is a mean over a few draws, the same for every member, at the first call.

References
----------
.. [1] Bekas, Kokiopoulou and Saad, An estimator for the diagonal of a matrix, 2007,
   https://doi.org/10.1016/j.apnum.2007.01.003
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xappa.diffusion.conjugate_gradients import conjugate_gradients
from xappa.diffusion.gmres import Solution, gmres
from xappa.diffusion.guidance import huber
from xappa.diffusion.guidance.base import SCOPES, Denoise, Guidance, GuidedDenoiser, Observation
from xappa.diffusion.guidance.covariance import ErrorCovariance, apply_covariance, extract_variances
from xappa.diffusion.guidance.linearised import LinearMap

REWEIGHTED = 2
"""Times that observations are weighed anew in a call; weights are kept from call to call."""

SOLVERS: dict[str, Callable[..., Solution]] = {"gmres": gmres, "cg": conjugate_gradients}
"""Names that choose a solver."""


@dataclass(frozen=True)
class SolverGuidance(Guidance):
    """Options of the methods that solve a linear system at every call.

    Parameters
    ----------
    iterations : int, default 16
        Steps of the solver; with a tolerance, the most that are made.
    tolerance : float or None, default 0.05
        Relative residual at which a system is solved. None: make all steps.
    warm_start : bool, default True
        Begin with the solution of the last call.
    whiten : bool, default True
        Without `probes`: measure observations in units of their error.
    huber : float or None, default None
        Threshold, in deviations of an observation's error, beyond which its pull grows no more: 2 to 3 leaves sound
        observations as they are. None: errors are Gaussian throughout. Every call then solves 3 systems instead of 1,
        each from the solution before it.
    below : float, default infinity
        Noise level above which observations are left alone, as the noise to come hides what they would change there.
    scope : {"window", "trajectory"}, default "window"
        See `Guidance`.
    solver : {"gmres", "cg"}, default "gmres"
        Generalised minimal residuals, or conjugate gradients: fewer vectors to keep, for systems that are symmetric, as
        is the case for an exact denoiser and Gaussian errors. A network's Jacobian is symmetric only nearly so.
    probes : int, default 16
        Measure observations in units of the deviation that their errors and the prior have together; so many draws
        estimate it, with one product by the operator's derivative each, once a run. In any other units the solver sees
        some observations only, where errors differ much or are correlated: two iterations then do for many. 0: as
        `whiten` says.
    """

    iterations: int = 16
    tolerance: float | None = 0.05
    warm_start: bool = True
    whiten: bool = True
    huber: float | None = None
    solver: str = "gmres"
    below: float = math.inf
    scope: str = "window"
    probes: int = 16

    def problems(self) -> list[str]:
        """What is wrong with the options."""
        found = [] if self.iterations >= 1 else [f"iterations={self.iterations}, expected at least 1"]
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            found.append(f"tolerance={self.tolerance}, expected None or a number between 0 and 1")
        found += huber.find_problems(self.huber)
        if self.probes < 0:
            found.append(f"probes={self.probes}, expected at least 0")
        if not self.below > 0:
            found.append(f"below={self.below}, expected a noise level above 0")
        if self.scope not in SCOPES:
            found.append(f"scope={self.scope!r}, expected one of {', '.join(map(repr, SCOPES))}")
        if self.solver not in SOLVERS:
            found.append(f"solver={self.solver!r}, expected one of {', '.join(map(repr, SOLVERS))}")
        if self.solver == "cg" and self.huber is not None:
            found.append("solver='cg' with huber, whose system is not symmetric; expected solver='gmres'")
        return found


class SolvingDenoiser(GuidedDenoiser):
    """Guided denoiser that solves a linear system, and remembers the solution."""

    def __init__(self, denoiser: Denoise, observation: Observation, options: SolverGuidance) -> None:
        # Single observations can only be weighed where their errors are independent.
        correlated = isinstance(observation.variance, ErrorCovariance) and options.huber is not None
        whiten = options.whiten and not options.probes
        super().__init__(denoiser, observation.whiten() if whiten or correlated else observation)
        self.options = options
        self.power: Tensor | None = None
        self.solution: Tensor | None = None
        self.weights: Tensor | None = None

    def __call__(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """See `GuidedDenoiser`."""
        if float(sigma) <= self.options.below:
            return super().__call__(x_t, sigma)
        self.sigma.append(float(sigma))
        self.residual.append(torch.full((len(x_t),), torch.nan, dtype=torch.float64))
        self.iterations.append(torch.zeros(len(x_t), dtype=torch.int64))
        with torch.no_grad():
            return self.denoiser(x_t, sigma)

    def solve(self, a: LinearMap, x_hat: Tensor, value: Tensor, covariance: Callable[[Tensor], Tensor]) -> Tensor:
        """Solution g (B, M) of the system, for the operator around x_hat, A(x_hat), and the product with C."""
        departure = self.observation.y - value.to(self.observation.y)
        scale = self.choose_scale(a, x_hat, departure)

        def spread(u: Tensor) -> Tensor:
            return a.forward(covariance(a.adjoint(u)))

        if self.options.huber is None:
            found = self.solve_weighted(spread, departure, None, scale)
        else:
            found = self.solve_robustly(spread, departure, self.options.huber, scale)
        self.residual.append(found.residual.cpu())
        self.iterations.append(found.iterations.cpu())
        return found.x

    def choose_scale(self, a: LinearMap, like: Tensor, departure: Tensor) -> Tensor | None:
        """Units s (B, M) of the system, for a map of tensors `like` this one; None: as they are."""
        if not self.options.probes:
            return None
        if self.power is None or self.power.shape != departure.shape:
            draw = torch.Generator().manual_seed(0)
            total = torch.zeros_like(departure)
            for _ in range(self.options.probes):
                z = torch.randn(like.shape[1:], generator=draw).to(like).expand_as(like)
                total = total + a.forward(z).to(departure) ** 2
            self.power = total / self.options.probes
        isotropic = self.sigma[-1] ** 2 / (1 + self.sigma[-1] ** 2)
        scale = (extract_variances(self.observation.variance) + isotropic * self.power).sqrt()
        return scale.masked_fill(scale == 0, 1.0)

    def solve_weighted(
        self, spread: Callable[[Tensor], Tensor], departure: Tensor, weights: Tensor | None, scale: Tensor | None
    ) -> Solution:
        """Solve with the inverse variances times `weights` (B, M), in units of `scale` (B, M), where there are any."""
        variance, unit = self.observation.variance, 1.0 if scale is None else scale
        guess = self.choose_start(departure)

        def matvec(u: Tensor) -> Tensor:
            u = u / unit
            return (apply_covariance(variance, u) + (spread(u) if weights is None else weights * spread(u))) / unit

        found = SOLVERS[self.options.solver](
            matvec,
            (departure if weights is None else weights * departure) / unit,
            None if guess is None else guess * unit,
            iterations=self.options.iterations,
            tolerance=self.options.tolerance,
        )
        self.solution = found.x / unit
        return replace(found, x=self.solution)

    def solve_robustly(
        self, spread: Callable[[Tensor], Tensor], departure: Tensor, threshold: float, scale: Tensor | None
    ) -> Solution:
        """Solve, weigh observations by what is left of their departures, and solve again."""
        variance = extract_variances(self.observation.variance)
        if self.weights is None or self.weights.shape != departure.shape:
            self.weights = huber.compute_first_weights(departure, variance, threshold)
        iterations = torch.zeros((), dtype=torch.int64, device=departure.device)
        for _ in range(REWEIGHTED):
            found = self.solve_weighted(spread, departure, self.weights, scale)
            iterations = iterations + found.iterations
            left = huber.normalise_residuals(departure - spread(found.x), variance)
            self.weights = huber.weights(left, threshold)
        found = self.solve_weighted(spread, departure, self.weights, scale)
        return Solution(found.x, found.residual, iterations + found.iterations)

    def choose_start(self, value: Tensor) -> Tensor | None:
        """Solution of the last call, if it is wanted and fits."""
        fits = self.solution is not None and self.solution.shape == value.shape
        return self.solution if self.options.warm_start and fits else None
