r"""Base class of samplers, which go from noise to data along descending noise levels.

A state at noise level :math:`\sigma` is :math:`x_\sigma = x + \sigma \epsilon`, with
:math:`\epsilon \sim \mathcal{N}(0, I)`. A sampler starts from :math:`x_{\sigma(1)}` and visits
:math:`\sigma(1) > \dots > \sigma(0)`, with the times :math:`t` evenly spaced.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from xappa._typing import Denoise
from xappa.diffusion.options import require_numbers
from xappa.errors import OptionError
from xappa.registry import Registry, subclass_of

Schedule = Callable[[Tensor], Tensor]
"""Times in [0, 1] -> noise levels."""
Noise = Callable[[int], Tensor]
"""Number of the draw, from 0 -> standard normal numbers, like x."""
Progress = Callable[[int, int], None]
"""(evaluations done, evaluations in all)"""


def space_by_schedule(schedule: Schedule, times: Tensor) -> Tensor:
    """Noise levels at times (N + 1,) of the schedule."""
    return schedule(times).flatten()


def space_by_logarithm(schedule: Schedule, times: Tensor) -> Tensor:
    """N + 1 noise levels, evenly spaced in ln sigma between those at the first and the last time."""
    first, last = schedule(times[[0, -1]]).flatten()
    return last * (first / last) ** times


SPACINGS: dict[str, Callable[[Schedule, Tensor], Tensor]] = {"schedule": space_by_schedule, "log": space_by_logarithm}
"""Functions that space the noise levels, by name."""


MOST_STEPS = 100_000
"""Steps beyond which the noise levels of a schedule are no longer told apart in float32."""


@dataclass(frozen=True)
class Sampler(ABC):
    """Options of a sampler; calling it samples.

    Parameters
    ----------
    steps : int
        Number N of steps.
    final : bool
        Return the denoiser's estimate at the last noise level (one more evaluation) instead of the state there, which
        still carries noise of sigma(0). Default False, the official behaviour.
    spacing : {"schedule", "log"}
        Where the noise levels between the first and the last lie: at even steps of the schedule's time, or of
        ln sigma. Default "schedule", the official behaviour.
    antithetic : bool
        Members 2k and 2k + 1 are drawn with opposite noise. Each is a sample as before, and much of the noise cancels
        in the mean of both; but they are not independent of each other. Default False.

    References
    ----------
    Hammersley and Morton (1956), A new Monte Carlo technique: antithetic variates, Math. Proc. Camb. Phil. Soc. 52,
    https://doi.org/10.1017/S0305004100031455
    """

    steps: int = 64
    final: bool = field(default=False, kw_only=True)
    spacing: str = field(default="schedule", kw_only=True)
    antithetic: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        require_numbers(self)
        if problems := self.find_problems():
            raise OptionError(f"{type(self).__name__}: {'; '.join(problems)}")

    def find_problems(self) -> list[str]:
        """List problems of the options, one message each."""
        right = 1 <= self.steps <= MOST_STEPS
        found = [] if right else [f"steps={self.steps}, expected at least 1 and at most {MOST_STEPS}"]
        if self.spacing not in SPACINGS:
            found.append(f"spacing={self.spacing!r}, expected one of {', '.join(map(repr, SPACINGS))}")
        return found

    @property
    def evaluations(self) -> int:
        """Number of calls of the denoiser."""
        return self.evaluations_of_steps + self.final

    @property
    def evaluations_of_steps(self) -> int:
        """Number of calls of the denoiser, without the final one."""
        return self.steps

    def compute_noise_levels(self, schedule: Schedule) -> Tensor:
        """Noise levels (N + 1,), float32."""
        # In float32, as the published models were sampled: there a rectified schedule begins at 1000.013, not at 1000.
        return SPACINGS[self.spacing](schedule, torch.linspace(1, 0, self.steps + 1))

    @abstractmethod
    def run(self, denoise: Denoise, x: Tensor, noise_levels: Tensor, draws: Iterator[Tensor]) -> Tensor:
        """Take all steps.

        Parameters
        ----------
        denoise : callable
            ``denoise(x_t, sigma) -> estimate of x``, both like `x`; `sigma` is a scalar.
        x : Tensor, shape (B, ...)
            State at ``noise_levels[0]``.
        noise_levels : Tensor, shape (N + 1,)
            Descending, float32 on the CPU.
        draws : iterator of Tensor
            Standard normal numbers like `x`; every call of ``next(draws)`` gives new ones.

        Returns
        -------
        Tensor, shape (B, ...)
            State at ``noise_levels[-1]``.
        """

    @torch.no_grad()
    def __call__(
        self, denoiser: Denoise, x: Tensor, noise: Noise, schedule: Schedule, progress: Progress | None = None
    ) -> Tensor:
        """Sample.

        Parameters
        ----------
        denoiser : callable
            ``denoiser(x_t, sigma) -> estimate of x``; dates and observations are already bound.
        x : Tensor, shape (B, ...)
            Start: ``sigma(1)`` times standard normal noise.
        noise : callable
            ``noise(k)``: standard normal numbers like `x`, for the k-th draw.
        schedule : callable
            ``schedule(t) -> sigma``.
        progress : callable, optional
            ``progress(done, total)``, called after every evaluation of the denoiser.

        Returns
        -------
        Tensor
            Like `x`.
        """
        done = itertools.count(1)

        def denoise(x_t: Tensor, sigma: Tensor) -> Tensor:
            estimate = denoiser(x_t, sigma.to(x_t))
            if progress is not None:
                progress(next(done), self.evaluations)
            return estimate

        noise_levels = self.compute_noise_levels(schedule)
        kind = x.dtype  # float16 has no room for the square of a sigma above 255: the state is float32 on its way
        x = x.to(torch.promote_types(kind, torch.float32))
        draws = (noise(k).to(x) for k in itertools.count())
        x = self.run(denoise, x, noise_levels, draws)
        return (denoise(x, noise_levels[-1]) if self.final else x).to(kind)


SAMPLERS: Registry[type[Sampler]] = Registry("sampler", "xappa.samplers", subclass_of(Sampler))
"""Names that choose a sampler; each is registered in its own file."""
