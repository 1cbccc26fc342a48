r"""Denoising diffusion implicit model: Euler's method for the probability-flow equation.

With :math:`dx / d\sigma = (x_\sigma - D(x_\sigma)) / \sigma`, a step from :math:`\sigma_t` to :math:`\sigma_s` is

.. math:: x_s = D(x_t) + \frac{\sigma_s}{\sigma_t} (x_t - D(x_t)).

References
----------
.. [1] Song, Meng and Ermon, Denoising diffusion implicit models, 2021, https://arxiv.org/abs/2010.02502
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from xappa.diffusion.samplers.base import SAMPLERS, Denoise, Sampler


def ddim_step(denoise: Denoise, x_t: Tensor, sigma_t: Tensor, sigma_s: Tensor) -> Tensor:
    """State at `sigma_s` from the state at `sigma_t`, without noise."""
    return x_t - (1 - sigma_s / sigma_t) * (x_t - denoise(x_t, sigma_t))


@SAMPLERS.register("ddim")
@dataclass(frozen=True)
class DDIM(Sampler):
    """Deterministic, first order.

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
            x = ddim_step(denoise, x, sigma_t, sigma_s)
        return x
