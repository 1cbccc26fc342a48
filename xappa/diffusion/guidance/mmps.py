r"""Moment-matching posterior sampling.

Tweedie's formulas give the mean :math:`\hat x = D(x_t)` of :math:`p(x \mid x_t)` and its covariance
:math:`C = \sigma^2 \, (\partial \hat x / \partial x_t)^T`. With a Gaussian of these moments,

.. math::
   \mathbb{E}[x \mid x_t, y] = \hat x + \sigma^2 \left( \frac{\partial \hat x}{\partial x_t} \right)^T A^T g,
   \qquad (R + A C A^T) \, g = y - A(\hat x).

Where a linear map is known that is near the derivative of A and cheaper, it stands in for it within the linear system,
which takes many products. Observations are compared with A itself, and its own derivative brings the solution back to
the state, once a call.

References
----------
.. [1] Rozet et al., Learning diffusion priors from observations by expectation maximization, 2024,
   https://arxiv.org/abs/2405.13712
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xappa.diffusion.guidance.base import GUIDANCE, Covariance, Denoise, Observation
from xappa.diffusion.guidance.linearised import Linearised
from xappa.diffusion.guidance.solver import SolverGuidance, SolvingDenoiser


@GUIDANCE.register("mmps")
@dataclass(frozen=True)
class MMPS(SolverGuidance):
    """Moment matching; differentiates the denoiser, and the operator where nothing stands in for its derivative.

    Parameters
    ----------
    iterations, tolerance, warm_start, whiten, huber, solver, below, scope, probes
        See `SolverGuidance`: 16, 0.05, True, True, None, "gmres", infinity, "window", 16.
    tweedie : bool, default True
        Covariance by Tweedie's formula; otherwise isotropic, ``sigma^2 / (1 + sigma^2)``, in the linear system.
    tangent : bool, default True
        Let the model's linear map stand in for its decoder's derivative within the linear system, where it has one;
        otherwise the decoder is differentiated there too.
    """

    tweedie: bool = True
    tangent: bool = True

    @classmethod
    def official(cls) -> MMPS:
        """As in Appa's assimilation: two cold iterations, observations as they are."""
        return cls(iterations=2, tolerance=None, warm_start=False, whiten=False, probes=0, tangent=False)

    def wrap(self, denoiser: Denoise, observation: Observation, prior_covariance: Covariance | None) -> MMPSDenoiser:
        """See `Guidance.wrap`; the prior's covariance is not used."""
        return MMPSDenoiser(denoiser, observation, self)


class MMPSDenoiser(SolvingDenoiser):
    """Denoiser guided by `MMPS`."""

    options: MMPS

    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """See `GuidedDenoiser.estimate`."""
        x_t = x_t.requires_grad_()
        x_hat = self.denoiser(x_t, sigma)
        a = Linearised(self.observation.operator, x_hat.detach())
        near = self.get_tangent(a.point.detach()) if self.options.tangent else None

        def tweedie(v: Tensor) -> Tensor:
            return sigma**2 * torch.autograd.grad(x_hat, x_t, v, retain_graph=True)[0]

        def isotropic(v: Tensor) -> Tensor:
            return sigma**2 / (1 + sigma**2) * v

        g = self.solve(near or a, x_hat, a.value, tweedie if self.options.tweedie else isotropic)
        return x_hat + tweedie(a.adjoint(g))
