r"""Score-based data assimilation.

The likelihood of :math:`x_t` is taken as Gaussian around the observed estimate :math:`\hat x = D(x_t)`, and what the
prior leaves uncertain there as isotropic,

.. math:: p(y \mid x_t) \approx \mathcal{N} \left( y \mid A(\hat x), R + \gamma \frac{\sigma^2}{1 + \sigma^2} I \right).

With :math:`\gamma = 0` this is diffusion posterior sampling [2]_.

References
----------
.. [1] Rozet and Louppe, Score-based data assimilation, 2023, https://arxiv.org/abs/2306.10574
.. [2] Chung et al., Diffusion posterior sampling for general noisy inverse problems, 2023,
   https://arxiv.org/abs/2209.14687
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xappa.diffusion.guidance.base import Covariance, Denoise, Guidance, GuidedDenoiser, Observation


@dataclass(frozen=True)
class SDA(Guidance):
    """Isotropic inflation of R; differentiates denoiser and operator, once a call.

    Parameters
    ----------
    gamma : float, default 1.0
        Variance of the observed estimate where sigma is large.
    """

    gamma: float = 1.0

    def problems(self) -> list[str]:
        """What is wrong with the options."""
        return [] if self.gamma >= 0 else [f"gamma={self.gamma}, expected at least 0"]

    def wrap(self, denoiser: Denoise, observation: Observation, prior_covariance: Covariance | None) -> SDADenoiser:
        """See `Guidance.wrap`; the prior's covariance is not used."""
        return SDADenoiser(denoiser, observation, self.gamma)


class SDADenoiser(GuidedDenoiser):
    """Denoiser guided by `SDA`."""

    def __init__(self, denoiser: Denoise, observation: Observation, gamma: float) -> None:
        super().__init__(denoiser, observation)
        self.gamma = gamma

    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """See `GuidedDenoiser.estimate`."""
        x_t = x_t.requires_grad_()
        x_hat = self.denoiser(x_t, sigma)
        (gradient,) = torch.autograd.grad(self.log_likelihood(x_hat, sigma), x_t)
        return x_hat + sigma**2 * gradient

    def log_likelihood(self, x_hat: Tensor, sigma: Tensor) -> Tensor:
        """Logarithm of p(y | x_t), summed over the batch, without its constant."""
        y = self.observation.y
        variance = self.observation.variance + self.gamma * sigma**2 / (1 + sigma**2)
        return -((y - self.observation.operator(x_hat).to(y)) ** 2 / variance).sum() / 2
