r"""Score-based guidance without the denoiser's Jacobian.

The likelihood of score-based data assimilation, differentiated with respect to :math:`\hat x` instead of :math:`x_t`,
with :math:`\partial \hat x / \partial x_t` replaced by that of a prior of unit variance:

.. math::
   \mathbb{E}[x \mid x_t, y] \approx \hat x + \frac{\sigma^2}{1 + \sigma^2} \nabla_{\hat x} \log p(y \mid \hat x).

References
----------
.. [1] Rozet and Louppe, Score-based data assimilation, 2023, https://arxiv.org/abs/2306.10574
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xappa.diffusion.guidance.base import GUIDANCE, Covariance, Denoise, Observation
from xappa.diffusion.guidance.sda import SDA, SDADenoiser


@GUIDANCE.register("w2c")
@dataclass(frozen=True)
class W2C(SDA):
    """As `SDA`, but differentiates the operator alone.

    Parameters
    ----------
    gamma, huber
        See `SDA`: 1.0, None.
    """

    def wrap(self, denoiser: Denoise, observation: Observation, prior_covariance: Covariance | None) -> W2CDenoiser:
        """See `Guidance.wrap`; the prior's covariance is not used."""
        return W2CDenoiser(denoiser, observation, self)


class W2CDenoiser(SDADenoiser):
    """Denoiser guided by `W2C`."""

    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """See `GuidedDenoiser.estimate`."""
        with torch.no_grad():
            x_hat = self.denoiser(x_t, sigma)
        x_hat = x_hat.requires_grad_()
        (gradient,) = torch.autograd.grad(self.compute_log_likelihood(x_hat, sigma), x_hat)
        return x_hat + sigma**2 / (1 + sigma**2) * gradient
