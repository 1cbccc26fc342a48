r"""Linear multi-step: Adams-Bashforth for the probability-flow equation.

The derivative :math:`z = dx / d\sigma = (x_\sigma - D(x_\sigma)) / \sigma` of the last steps is extrapolated over the
next,

.. math:: x_i = x_{i-1} + \sum_k c_k z_k,

so that order costs no evaluation.

References
----------
.. [1] Zhang and Chen, Fast sampling of diffusion models with exponential integrator, 2022, https://arxiv.org/abs/2204.13902
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from xappa.diffusion.adams_bashforth import adams_bashforth
from xappa.diffusion.samplers.base import SAMPLERS, Denoise, Sampler


@SAMPLERS.register("lms")
@dataclass(frozen=True)
class LMS(Sampler):
    """Deterministic, of higher order; the sampler that needs the fewest evaluations.

    Parameters
    ----------
    steps : int, default 12
    order : int, default 3
        Derivatives that are remembered; 1 is `DDIM`.
    final : bool, default False
    spacing : {"schedule", "log"}, default "schedule"
    antithetic : bool, default False
        See `Sampler`.
    """

    steps: int = 12
    order: int = 3

    def find_problems(self) -> list[str]:
        """List problems of the options, one message each."""
        return super().find_problems() + ([] if self.order >= 1 else [f"order={self.order}, expected at least 1"])

    def run(self, denoise: Denoise, x: Tensor, noise_levels: Tensor, draws: Iterator[Tensor]) -> Tensor:
        """See `Sampler.run`."""
        derivatives: deque[Tensor] = deque(maxlen=self.order)
        for i in range(1, len(noise_levels)):
            derivatives.append((x - denoise(x, noise_levels[i - 1])) / noise_levels[i - 1])
            weights = adams_bashforth(noise_levels, i, self.order)
            x = x + sum(weight * z for weight, z in zip(weights, derivatives, strict=True))
        return x
