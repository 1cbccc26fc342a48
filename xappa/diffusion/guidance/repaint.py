r"""RePaint: what is observed is painted over the estimate, and the prior fills in the rest.

Of the directions that observations see, the prior's opinion is dropped: there the estimate is the mean of a Gaussian
that knows of :math:`y` and of the noisy state itself, and of nothing else. Elsewhere it is the denoiser's. For A
linear, with :math:`S = A A^T`, the estimate that is nearest to :math:`\hat x = D(x_t)` and has that property is

.. math::
   \hat x_y = \hat x + A^T w, \qquad
   w = (R + \sigma^2 S)^{-1} \sigma^2 (y - A \hat x) + S^{-1} R \, (R + \sigma^2 S)^{-1} A (x_t - \hat x).

Where single numbers of the state are observed with variances :math:`r_i`, those become
:math:`(\sigma^2 y_i + r_i x_{t,i}) / (\sigma^2 + r_i)`, which is :math:`y_i` for exact observations: noised again by
the sampler, the observed part of the state is a draw of :math:`\mathcal{N}(y, r + \sigma^2)` at every level, as
in [1]_.
Other operators are linearised around :math:`\hat x`; fields are then painted by the smallest change of the latents
that does it.

The noisy observed part tells the rest of the state less than the observations would, and most of it comes too late.
Going up and down again between levels, as the sampler ``"rewind"`` does, makes up for some of it [1]_. It suits
gridded observations that are better than the prior; where they are not, the result is worse than the prior.

References
----------
.. [1] Lugmayr et al., RePaint, 2022, https://arxiv.org/abs/2201.09865
.. [2] Huang et al., DiffDA, 2024, https://arxiv.org/abs/2401.05932
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xappa.diffusion.conjugate_gradients import conjugate_gradients
from xappa.diffusion.guidance.base import GUIDANCE, Covariance, Denoise, Guidance, GuidedDenoiser, Observation
from xappa.diffusion.guidance.covariance import apply_covariance


@GUIDANCE.register("repaint")
@dataclass(frozen=True)
class RePaint(Guidance):
    """Replacement of what is observed; differentiates the operator alone.

    Parameters
    ----------
    iterations : int, default 32
        The most steps of conjugate gradients in each of the three systems of a call. Observations of single numbers
        take as many as there are different errors.
    tolerance : float, default 1e-3
        Relative residual at which a system is solved.
    huber : None
        Not to be had: an observation is painted over the estimate, however far it is from it.
    """

    iterations: int = 32
    tolerance: float = 1e-3
    huber: None = None

    def find_problems(self) -> list[str]:
        """List problems of the options, one message each."""
        found = [] if self.iterations >= 1 else [f"iterations={self.iterations}, expected at least 1"]
        if not 0 < self.tolerance < 1:
            found.append(f"tolerance={self.tolerance}, expected a number between 0 and 1")
        if self.huber is not None:
            found.append(
                f"huber={self.huber}, and what is observed is painted over the estimate however far it is from it; "
                "expected None: use another guidance, or reject gross errors with quality='standard'"
            )
        return found

    def wrap(self, denoiser: Denoise, observation: Observation, prior_covariance: Covariance | None) -> RePaintDenoiser:
        """See `Guidance.wrap`; the prior's covariance is not used."""
        return RePaintDenoiser(denoiser, observation, self)


class RePaintDenoiser(GuidedDenoiser):
    """Denoiser guided by `RePaint`."""

    def __init__(self, denoiser: Denoise, observation: Observation, options: RePaint) -> None:
        super().__init__(denoiser, observation)
        self.options = options

    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """See `GuidedDenoiser.estimate`."""
        with torch.no_grad():
            x_hat = self.denoiser(x_t, sigma)
        a, value = self.linearise(x_hat)
        y, variance = self.observation.y, self.observation.variance

        def gram(u: Tensor) -> Tensor:
            return a.forward(a.adjoint(u)).to(u)

        def both(u: Tensor) -> Tensor:
            return apply_covariance(variance, u) + sigma.to(u) ** 2 * gram(u)

        with torch.no_grad():
            departure = y - value.to(y)
            known = self.solve(both, sigma.to(y) ** 2 * departure)
            own = self.solve(both, a.forward(x_t - x_hat).to(y).expand_as(departure))
            weights = known + self.solve(gram, apply_covariance(variance, own))
            return x_hat + a.adjoint(weights).to(x_hat)

    def solve(self, matvec: Callable[[Tensor], Tensor], b: Tensor) -> Tensor:
        """Solution of one of the systems."""
        return conjugate_gradients(matvec, b, iterations=self.options.iterations, tolerance=self.options.tolerance).x
