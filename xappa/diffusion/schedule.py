"""Noise schedules: the deviation sigma of the noise as a function of diffusion time t in [0, 1].

References
----------
Andry et al. (2025), Appa: Bending Weather Dynamics with Latent Diffusion Models for Global Data Assimilation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from xappa.errors import OptionError


class NoiseLevels(Protocol):
    """Noise levels that samplers can follow: every `Schedule`, and any function of t that tells its ends."""

    @property
    def sigma_min(self) -> float:
        """Deviation at t = 0, in units of the latents'."""

    @property
    def sigma_max(self) -> float:
        """Deviation at t = 1."""

    def __call__(self, t: Tensor) -> Tensor:
        """Deviations at times t in [0, 1], ascending with t."""


@dataclass(frozen=True)
class Schedule(ABC):
    """A monotonic function from t in [0, 1] to sigma; t = 1 is noisiest.

    Parameters
    ----------
    sigma_min : float, default 1e-3
        Deviation at t = 0, in units of the data's.
    sigma_max : float, default 1e3
        Deviation at t = 1.
    bfloat16 : bool, default False
        Begin sampling at t = 1 - 1/256, the time before 1 that bfloat16 can tell from it, instead of 1.

    Raises
    ------
    OptionError
        Unless 0 < sigma_min < sigma_max.
    """

    sigma_min: float = 1e-3
    sigma_max: float = 1e3
    bfloat16: bool = False

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise OptionError(
                f"sigma_min is {self.sigma_min} and sigma_max {self.sigma_max}; expected 0 < sigma_min < sigma_max"
            )

    @property
    def t_max(self) -> float:
        """Time at which sampling begins."""
        return 1 - 1 / 256 if self.bfloat16 else 1.0

    def __call__(self, t: Tensor | float) -> Tensor:
        """Deviation sigma at times `t`: same shape, and same dtype for tensors (float32 for floats)."""
        return self.sigma(t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float32))

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Deviation at times `t`."""


class Rectified(Schedule):
    """sigma = (t + (1 - t) sigma_min) / (1 - t + t / sigma_max)."""

    def sigma(self, t: Tensor) -> Tensor:
        """Deviation at times `t`."""
        return (t + (1 - t) * self.sigma_min) / (t * (1 / self.sigma_max - 1) + 1)


class LogLinear(Schedule):
    """ln sigma is linear in t."""

    def sigma(self, t: Tensor) -> Tensor:
        """Deviation at times `t`."""
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return torch.exp(low + (high - low) * t)


@dataclass(frozen=True)
class LogLogit(Schedule):
    """ln sigma is a logit of t: times gather in the middle.

    With e = (sigma_min / sigma_max)^(1 / (2 spread))::

        ln sigma = spread logit(t (1 - 2 e) + e) + ln(sigma_min sigma_max) / 2

    Parameters
    ----------
    spread : float, default 2
        Smaller values gather more of the times around the middle.
    """

    spread: float = 2.0

    def sigma(self, t: Tensor) -> Tensor:
        """Deviation at times `t`."""
        e = math.sqrt(self.sigma_min / self.sigma_max) ** (1 / self.spread)
        middle = math.log(self.sigma_min * self.sigma_max) / 2
        return torch.exp(self.spread * torch.logit(t * (1 - 2 * e) + e) + middle)


@dataclass(frozen=True)
class Truncated:
    """The part of a schedule from time 0 to `t_max`, with times counted anew from 0 to 1.

    Parameters
    ----------
    schedule : NoiseLevels
    t_max : float
        Time of the original schedule that becomes 1.
    """

    schedule: NoiseLevels
    t_max: float

    @classmethod
    def below(cls, schedule: NoiseLevels, sigma: float) -> Truncated:
        """The part below noise level `sigma`.

        Raises
        ------
        OptionError
            If the schedule does not reach that level.
        """
        low, high = 0.0, 1.0
        if not schedule.sigma_min < sigma <= schedule.sigma_max:
            raise OptionError(
                f"sigma={sigma:g}; expected a noise level above {schedule.sigma_min:g} and up to {schedule.sigma_max:g}"
            )
        for _ in range(50):
            middle = (low + high) / 2
            below = float(schedule(torch.tensor(middle, dtype=torch.float64))) < sigma
            low, high = (middle, high) if below else (low, middle)
        return cls(schedule, high)

    def __call__(self, t: Tensor | float) -> Tensor:
        """Deviation at times `t`; see `Schedule`."""
        return self.schedule(torch.as_tensor(t * self.t_max))


SCHEDULES: dict[str, type[Schedule]] = {"rectified": Rectified, "loglinear": LogLinear, "loglogit": LogLogit}
"""Schedules by the names of official configurations (``train.noise_schedule``)."""
