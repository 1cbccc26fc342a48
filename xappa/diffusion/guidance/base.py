r"""What guidance methods share: observations, and the shape of a guided denoiser.

Observations are :math:`y = A(x) + e`, with :math:`e \sim \mathcal{N}(0, R)` and R diagonal. A guided denoiser estimates
the mean of :math:`p(x \mid x_t, y)` where the plain one, :math:`D`, estimates that of :math:`p(x \mid x_t)`:

.. math:: \mathbb{E}[x \mid x_t, y] = D(x_t) + \sigma^2 \nabla_{x_t} \log p(y \mid x_t).

Methods differ in how they approximate the last term. Every entry of a batch is a problem of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xappa.errors import OptionError

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, ...), sigma 0-d) -> estimate of x, like x_t."""
Operator = Callable[[Tensor], Tensor]
"""x (B, ...) -> what is observed of it (B, M); differentiable, entry by entry."""
Covariance = Callable[[Tensor, Tensor], Tensor]
"""(v (B, ...), sigma 0-d) -> Cov[x | x_t] v, for a prior whose posterior covariance does not depend on x_t."""


@dataclass(frozen=True)
class Observation:
    """Observations, and how they come about.

    Parameters
    ----------
    y : Tensor, shape (M,) or (B, M)
        Observed values.
    operator : callable
        A: maps x (B, ...) to what would be observed of it (B, M).
    variance : Tensor, shape (M,)
        Diagonal of R, in units of y squared.
    tangent : callable, optional
        Linear map, near the derivative of `operator` and cheaper, that stands in for it where a system is solved.
        What the state is compared with is always `operator`. Default: the derivative itself.
    """

    y: Tensor
    operator: Operator
    variance: Tensor
    tangent: Operator | None = None

    def whitened(self) -> Observation:
        """The same observations in units of their error, so that R = I; exact ones (variance 0) keep their units."""
        exact = self.variance == 0
        deviation = self.variance.sqrt().masked_fill(exact, 1.0)
        return replace(
            self,
            y=self.y / deviation,
            operator=lambda x: self.operator(x) / deviation,
            variance=torch.where(exact, 0.0, torch.ones_like(self.variance)),
            tangent=None if self.tangent is None else (lambda x: self.tangent(x) / deviation),  # type: ignore[misc]
        )


class Guidance(ABC):
    """Options of a guidance method; `guide` applies it."""

    def __post_init__(self) -> None:
        if problems := self.problems():
            raise OptionError(f"{type(self).__name__}: {'; '.join(problems)}")

    def problems(self) -> list[str]:
        """What is wrong with the options."""
        return []

    def guide(
        self, denoiser: Denoise, observation: Observation | None, prior_covariance: Covariance | None = None
    ) -> Denoise:
        """Wrap a denoiser, so that it knows of observations.

        Parameters
        ----------
        denoiser : callable
            ``denoiser(x_t, sigma) -> estimate of x``.
        observation : Observation or None
            None, or one without rows, gives back the denoiser itself.
        prior_covariance : callable, optional
            ``prior_covariance(v, sigma)``; used by the methods that do not differentiate the denoiser.

        Returns
        -------
        GuidedDenoiser
            For one run of a sampler: it remembers what the method needs from step to step.
        """
        if observation is None or observation.y.shape[-1] == 0:
            return denoiser
        return self.wrap(denoiser, observation, prior_covariance)

    @abstractmethod
    def wrap(self, denoiser: Denoise, observation: Observation, prior_covariance: Covariance | None) -> GuidedDenoiser:
        """As `guide`, where there are observations."""


class GuidedDenoiser(ABC):
    """Estimate of E[x | x_t, y].

    Parameters
    ----------
    denoiser : callable
    observation : Observation

    Attributes
    ----------
    sigma : list of float
        Noise level of every call.
    residual, iterations : list of Tensor, shape (B,)
        Relative residual (of the whitened system, where it is) and steps of the solver in every call, on the CPU; empty
        for methods without a solver.
    """

    def __init__(self, denoiser: Denoise, observation: Observation) -> None:
        self.denoiser, self.observation = denoiser, observation
        self.sigma: list[float] = []
        self.residual: list[Tensor] = []
        self.iterations: list[Tensor] = []

    def __call__(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """Estimate x from `x_t` (B, ...) at noise level `sigma` (0-d); returns a tensor like `x_t`, without a graph."""
        self.sigma.append(float(sigma))
        with torch.enable_grad():
            return self.estimate(x_t.detach(), sigma).detach()

    @abstractmethod
    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """What `__call__` returns, computed with gradients enabled."""
