r"""Moment matching with the covariance of a static prior.

As in moment-matching posterior sampling, but :math:`C = \mathrm{Cov}[x \mid x_t]` is that of a Gaussian prior
:math:`\mathcal{N}(0, P)`, for which it does not depend on :math:`x_t`, instead of the denoiser's Jacobian:

.. math::
   \mathbb{E}[x \mid x_t, y] = \hat x + C A^T g, \qquad (R + A C A^T) \, g = y - A(\hat x),
   \qquad C = \sigma^2 P (P + \sigma^2)^{-1}.

The denoiser is evaluated once a call and never differentiated.

References
----------
.. [1] Rozet et al., Learning diffusion priors from observations by expectation maximization, 2024,
   https://arxiv.org/abs/2405.13712
.. [2] Song et al., Pseudoinverse-guided diffusion models for inverse problems, 2023,
   https://openreview.net/forum?id=9_gsMA8MRKQ
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xappa.diffusion.guidance.base import GUIDANCE, Covariance, Denoise, Observation
from xappa.diffusion.guidance.solver import SolverGuidance, SolvingDenoiser
from xappa.errors import OptionError


@GUIDANCE.register("jacobian-free")
@dataclass(frozen=True)
class JacobianFree(SolverGuidance):
    """Moment matching with a static covariance; differentiates the operator alone.

    Parameters
    ----------
    iterations, tolerance, warm_start, whiten, huber, solver, below, scope, probes
        See `SolverGuidance`: 16, 0.05, True, True, None, "gmres", infinity, "window", 16.
    """

    def wrap(
        self, denoiser: Denoise, observation: Observation, prior_covariance: Covariance | None
    ) -> JacobianFreeDenoiser:
        """See `Guidance.wrap`.

        Raises
        ------
        OptionError
            If there is no covariance.
        """
        if prior_covariance is None:
            raise OptionError(
                "Guidance 'jacobian-free' needs the covariance of a static prior, and this model has none; use 'mmps'"
            )
        return JacobianFreeDenoiser(denoiser, observation, self, prior_covariance)


class JacobianFreeDenoiser(SolvingDenoiser):
    """Denoiser guided by `JacobianFree`."""

    def __init__(
        self, denoiser: Denoise, observation: Observation, options: JacobianFree, covariance: Covariance
    ) -> None:
        super().__init__(denoiser, observation, options)
        self.covariance = covariance

    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """See `GuidedDenoiser.estimate`."""
        with torch.no_grad():
            x_hat = self.denoiser(x_t, sigma)
        a, value = self.linearise(x_hat)
        with torch.no_grad():
            g = self.solve(a, x_hat, value, lambda v: self.covariance(v, sigma))
            return x_hat + self.covariance(a.adjoint(g), sigma)
