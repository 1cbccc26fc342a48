r"""Diffusion posterior sampling.

The likelihood of :math:`x_t` is taken as that of its estimate, :math:`p(y \mid x_t) \approx p(y \mid \hat x)` with
:math:`\hat x = D(x_t)`: what the prior leaves uncertain is forgotten, and the gradient is far too long where
:math:`\sigma` is large. So its direction is kept and its length chosen otherwise. With
:math:`r = R^{-1/2} (y - A(\hat x))`,

.. math:: \hat x_y = \hat x - \zeta \, \nabla_{x_t} \| r \|

for a number :math:`\zeta`, as published: a DDPM step with :math:`\tau` moves by :math:`\tau \zeta`, whatever the
misfit. Without one, the length is Polyak's [2]_ for reaching a misfit :math:`f = \| r \|^2 / 2` of half the number M of
observations, which is what their errors explain,

.. math::
   \hat x_y = \hat x - \kappa \, \nabla_{x_t} f, \qquad
   \kappa = \frac{\max(0, f - M / 2)}{\nabla_{\hat x} f \cdot \nabla_{x_t} f}.

Where the denominator is not positive, observations have no say: a network's Jacobian need not be symmetric, and is
hardly that of any estimate where :math:`\sigma` is large. Where both gradients are nearly orthogonal, it is bounded
below.

References
----------
.. [1] Chung et al., Diffusion posterior sampling for general noisy inverse problems, 2023,
   https://arxiv.org/abs/2209.14687
.. [2] Polyak, Minimization of unsmooth functionals, 1969, https://doi.org/10.1016/0041-5553(69)90061-5
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xappa.diffusion.gmres import TINY
from xappa.diffusion.guidance import huber
from xappa.diffusion.guidance.base import (
    GUIDANCE,
    Covariance,
    Denoise,
    Guidance,
    GuidedDenoiser,
    Observation,
    whiten_observation,
)

LEAST_COSINE = 0.05


@GUIDANCE.register("dps")
@dataclass(frozen=True)
class DPS(Guidance):
    """Gradient of the misfit with a chosen length; differentiates denoiser and operator, once a call.

    Parameters
    ----------
    zeta : float or None, default None
        Length of the gradient of the norm of the misfit; to be tuned for every problem. None: as far as it takes to fit
        the observations to their errors.
    huber : float or None, default None
        Threshold, in deviations, beyond which the pull of an observation grows no more (see `huber`). While the
        estimate is far from most observations, in units of their usual departure.
    """

    zeta: float | None = None
    huber: float | None = None

    def problems(self) -> list[str]:
        """What is wrong with the options."""
        wrong = self.zeta is not None and not self.zeta > 0
        found = [f"zeta={self.zeta}, expected None or a number above 0"] if wrong else []
        # at 1, what `explained` counts is what their errors explain
        return found + huber.find_problems(self.huber, 1.0 if self.zeta is None else 0.0)

    def wrap(self, denoiser: Denoise, observation: Observation, prior_covariance: Covariance | None) -> DPSDenoiser:
        """See `Guidance.wrap`; the prior's covariance is not used."""
        return DPSDenoiser(denoiser, whiten_observation(observation, "dps"), self)


class DPSDenoiser(GuidedDenoiser):
    """Denoiser guided by `DPS`."""

    def __init__(self, denoiser: Denoise, observation: Observation, options: DPS) -> None:
        super().__init__(denoiser, observation)
        self.options = options

    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """See `GuidedDenoiser.estimate`."""
        x_t = x_t.requires_grad_()
        x_hat = self.denoiser(x_t, sigma)
        residual = self.observation.y - self.observation.operator(x_hat).to(self.observation.y)
        misfit, reach = self.compute_misfit(residual)
        if self.options.zeta is not None:
            norm = (2 * reach).sqrt().clamp(min=TINY)
            (direction,) = torch.autograd.grad((misfit / norm).sum(), x_t)
            return x_hat - self.options.zeta * direction
        (steepest,) = torch.autograd.grad(misfit.sum(), x_hat, retain_graph=True)
        (direction,) = torch.autograd.grad(x_hat, x_t, steepest)
        # of length 1: where sigma is large, the derivative of a denoiser may be too small for single precision
        size, steepest_size = (v.double().flatten(1).norm(dim=1).clamp(min=TINY) for v in (direction, steepest))
        unit = (direction.double() / size.view(-1, *[1] * (x_hat.ndim - 1))).to(x_hat)
        slope = (steepest.double() * unit.double()).flatten(1).sum(1)
        excess = (reach - residual.shape[-1] / 2).double().clamp(min=0)
        length = torch.where(slope > 0, excess / slope.clamp(min=LEAST_COSINE * steepest_size), 0.0)
        return x_hat - length.to(x_hat).view(-1, *[1] * (x_hat.ndim - 1)) * unit

    def compute_misfit(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Misfit (B,) of residuals (B, M), and the part of it that a fit can take away, without a graph."""
        if self.options.huber is None:
            misfit = (residual**2).sum(-1) / 2
            return misfit, misfit.detach()
        usual = huber.estimate_scale(residual.detach())
        relative, square = residual / usual, usual[..., 0] ** 2
        misfit = square * huber.penalty(relative, self.options.huber).sum(-1)
        return misfit, square * huber.compute_bounded_misfit(relative.detach(), self.options.huber)
