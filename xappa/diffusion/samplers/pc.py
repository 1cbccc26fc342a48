r"""Predictor-corrector: Langevin steps at every noise level, then a deterministic step to the next.

With the score :math:`(D(x) - x) / \sigma^2`, a Langevin step of relative size :math:`\delta` is

.. math:: x \leftarrow x + \delta \, (D(x) - x) + \sqrt{2 \delta} \, \sigma \, \epsilon.

References
----------
.. [1] Song et al., Score-based generative modeling through stochastic differential equations, 2021,
   https://arxiv.org/abs/2011.13456
.. [2] Rozet and Louppe, Score-based data assimilation, 2023, https://arxiv.org/abs/2306.10574
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from xappa.diffusion.samplers.base import SAMPLERS, Denoise, Sampler
from xappa.diffusion.samplers.ddim import ddim_step


@SAMPLERS.register("pc")
@dataclass(frozen=True)
class PC(Sampler):
    """Predictor-corrector; the defaults are those of Appa's assimilation.

    Parameters
    ----------
    steps : int, default 32
    corrections : int, default 2
        Langevin steps at every noise level.
    delta : float, default 0.1
        Their size.
    final : bool, default False
    spacing : {"schedule", "log"}, default "schedule"
    antithetic : bool, default False
        See `Sampler`.
    """

    steps: int = 32
    corrections: int = 2
    delta: float = 0.1

    def find_problems(self) -> list[str]:
        """List problems of the options, one message each."""
        found = super().find_problems()
        if self.corrections < 0:
            found.append(f"corrections={self.corrections}, expected at least 0")
        if not 0 < self.delta < 2:
            found.append(f"delta={self.delta}, expected above 0 and below 2, where the correction diverges")
        return found

    @property
    def evaluations_of_steps(self) -> int:
        """Number of calls of the denoiser, without the final one."""
        return self.steps * (1 + self.corrections)

    def run(self, denoise: Denoise, x: Tensor, noise_levels: Tensor, draws: Iterator[Tensor]) -> Tensor:
        """See `Sampler.run`."""
        for sigma_t, sigma_s in pairwise(noise_levels):
            for _ in range(self.corrections):
                x = x + self.delta * (denoise(x, sigma_t) - x) + math.sqrt(2 * self.delta) * sigma_t * next(draws)
            x = ddim_step(denoise, x, sigma_t, sigma_s)
        return x
