r"""DPM-Solver++ of second order: the denoiser's estimate is extrapolated, and the noise integrated exactly.

In :math:`\lambda = -\ln \sigma` the probability-flow equation reads :math:`dx / d\lambda = D(x_\sigma) - x_\sigma`. It
is linear but for the estimate D; where that is constant over a step, the solution is exact however long the step,

.. math:: x_s = \frac{\sigma_s}{\sigma_t} x_t + \left( 1 - \frac{\sigma_s}{\sigma_t} \right) \tilde D.

For the second order :math:`\tilde D` is extrapolated to the middle of the step from the last two estimates: with
:math:`h = \ln (\sigma_t / \sigma_s)` and the step before, :math:`h'`,

.. math:: \tilde D = D_t + \frac{h}{2 h'} (D_t - D_{t'}).

References
----------
.. [1] Lu et al., DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models, 2022,
   https://arxiv.org/abs/2211.01095
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from xappa.diffusion.samplers.base import SAMPLERS, Denoise, Sampler


@SAMPLERS.register("dpm")
@dataclass(frozen=True)
class DPM(Sampler):
    """Deterministic, second order, multi-step: one evaluation a step.

    Parameters
    ----------
    steps : int, default 12
    final : bool, default False
    antithetic : bool, default False
        See `Sampler`.
    spacing : {"schedule", "log"}, default "log"
        See `Sampler`. The extrapolation is in the logarithm of sigma, and does best where steps are even in it.
    """

    steps: int = 12
    spacing: str = field(default="log", kw_only=True)

    def run(self, denoise: Denoise, x: Tensor, noise_levels: Tensor, draws: Iterator[Tensor]) -> Tensor:
        """See `Sampler.run`."""
        level = -noise_levels.double().log()
        before: Tensor | None = None
        for i in range(1, len(noise_levels)):
            estimate = denoise(x, noise_levels[i - 1])
            step = float(level[i] - level[i - 1])
            middle = estimate
            if before is not None:
                middle = estimate + step / float(level[i - 1] - level[i - 2]) / 2 * (estimate - before)
            x, before = x - math.expm1(-step) * (middle - x), estimate
        return x
