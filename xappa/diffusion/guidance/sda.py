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

from xappa.diffusion.guidance import huber
from xappa.diffusion.guidance.base import GUIDANCE, Covariance, Denoise, Guidance, GuidedDenoiser, Observation
from xappa.diffusion.guidance.covariance import ErrorCovariance, extract_variances
from xappa.errors import OptionError


@GUIDANCE.register("sda")
@dataclass(frozen=True)
class SDA(Guidance):
    """Isotropic inflation of R; differentiates denoiser and operator, once a call.

    Parameters
    ----------
    gamma : float, default 1.0
        Variance of the observed estimate where sigma is large.
    huber : float or None, default None
        Threshold, in deviations, beyond which the pull of an observation grows no more (see `huber`).
    """

    gamma: float = 1.0
    huber: float | None = None

    def problems(self) -> list[str]:
        """What is wrong with the options."""
        found = [] if self.gamma >= 0 else [f"gamma={self.gamma}, expected at least 0"]
        return found + huber.find_problems(self.huber)

    def wrap(self, denoiser: Denoise, observation: Observation, prior_covariance: Covariance | None) -> SDADenoiser:
        """See `Guidance.wrap`; the prior's covariance is not used."""
        return SDADenoiser(denoiser, observation, self)


class SDADenoiser(GuidedDenoiser):
    """Denoiser guided by `SDA`."""

    def __init__(self, denoiser: Denoise, observation: Observation, options: SDA) -> None:
        if isinstance(observation.variance, ErrorCovariance):
            raise OptionError(
                "Guidance 'sda' and 'w2c' take errors as independent, and these are correlated. Expected a diagonal "
                "covariance: use guidance='mmps' or 'jacobian-free', or leave the correlation out"
            )
        super().__init__(denoiser, observation)
        self.options = options

    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """See `GuidedDenoiser.estimate`."""
        x_t = x_t.requires_grad_()
        x_hat = self.denoiser(x_t, sigma)
        (gradient,) = torch.autograd.grad(self.compute_log_likelihood(x_hat, sigma), x_t)
        return x_hat + sigma**2 * gradient

    def compute_log_likelihood(self, x_hat: Tensor, sigma: Tensor) -> Tensor:
        """Logarithm of p(y | x_t), summed over the batch, without its constant."""
        y = self.observation.y
        variance = extract_variances(self.observation.variance) + self.options.gamma * sigma**2 / (1 + sigma**2)
        difference = y - self.observation.operator(x_hat).to(y)
        if self.options.huber is None:
            return -(difference**2 / variance).sum() / 2
        return -huber.penalty(difference / variance.sqrt(), self.options.huber).sum()
