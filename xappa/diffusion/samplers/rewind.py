r"""Rewind: go down several noise levels, and come back up with new noise.

From :math:`\sigma_i`, denoise to :math:`\sigma_{i+k}` and return to the next noise level,

.. math:: x_{i+1} = x_{i+k} + \sqrt{\sigma_{i+1}^2 - \sigma_{i+k}^2} \, \epsilon.

The new noise repairs what earlier steps got wrong.

References
----------
.. [1] Xu et al., Restart sampling for improving generative processes, 2023, https://arxiv.org/abs/2306.14878
.. [2] Lugmayr et al., RePaint, 2022, https://arxiv.org/abs/2201.09865
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from xappa.diffusion.samplers.base import SAMPLERS, Denoise, Sampler
from xappa.diffusion.samplers.ddim import ddim_step


@SAMPLERS.register("rewind")
@dataclass(frozen=True)
class Rewind(Sampler):
    """Stochastic, one draw of noise a step.

    Parameters
    ----------
    steps : int, default 64
    depth : int, default 16
        Levels k that a step goes down, fewer where fewer are left.
    jump : bool, default True
        Go down in one step, which is of first order and loses the more spread the deeper it goes; otherwise level by
        level.
    final : bool, default False
    spacing : {"schedule", "log"}, default "schedule"
    antithetic : bool, default False
        See `Sampler`.
    """

    depth: int = 16
    jump: bool = True

    def find_problems(self) -> list[str]:
        """List problems of the options, one message each."""
        return super().find_problems() + ([] if self.depth >= 1 else [f"depth={self.depth}, expected at least 1"])

    @property
    def depths(self) -> list[int]:
        """Levels that each step goes down."""
        # in float32 as in the original, where rounding spares a step a level now and then
        left = torch.linspace(1, 1 / self.steps, self.steps) / (1 / self.steps)
        return left.int().clamp(1, self.depth).tolist()

    @property
    def evaluations_of_steps(self) -> int:
        """Number of calls of the denoiser, without the final one."""
        return self.steps if self.jump else sum(self.depths)

    def run(self, denoise: Denoise, x: Tensor, noise_levels: Tensor, draws: Iterator[Tensor]) -> Tensor:
        """See `Sampler.run`."""
        for i, depth in enumerate(self.depths):
            below = noise_levels[i : i + depth + 1]
            if self.jump:
                below = below[[0, -1]]
            for sigma_t, sigma_s in pairwise(below):
                x = ddim_step(denoise, x, sigma_t, sigma_s)
            x = x + (noise_levels[i + 1] ** 2 - below[-1] ** 2).sqrt() * next(draws)
        return x
