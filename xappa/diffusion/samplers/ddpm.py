r"""Denoising diffusion probabilistic model: the ancestral sampler.

Given :math:`x_t` and an estimate of :math:`x`, the state at the lower level :math:`\sigma_s` is Gaussian. With
:math:`\tau = 1 - \sigma_s^2 / \sigma_t^2`,

.. math:: x_s = x_t - \tau (x_t - D(x_t)) + \sigma_s \sqrt{\tau} \, \epsilon.

References
----------
.. [1] Ho, Jain and Abbeel, Denoising diffusion probabilistic models, 2020, https://arxiv.org/abs/2006.11239
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from xappa.diffusion.samplers.base import SAMPLERS, Denoise, Sampler


@SAMPLERS.register("ddpm")
@dataclass(frozen=True)
class DDPM(Sampler):
    """Stochastic, one draw of noise a step.

    Parameters
    ----------
    steps : int, default 64
    final : bool, default False
    spacing : {"schedule", "log"}, default "schedule"
    antithetic : bool, default False
        See `Sampler`.
    """

    def run(self, denoise: Denoise, x: Tensor, noise_levels: Tensor, draws: Iterator[Tensor]) -> Tensor:
        """See `Sampler.run`."""
        for sigma_t, sigma_s in pairwise(noise_levels):
            tau = 1 - (sigma_s / sigma_t) ** 2
            x = x - tau * (x - denoise(x, sigma_t)) + sigma_s * tau.sqrt() * next(draws)
        return x
