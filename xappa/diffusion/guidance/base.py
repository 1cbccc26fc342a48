r"""What guidance methods share: observations, and the shape of a guided denoiser.

Observations are :math:`y = A(x) + e`, with :math:`e \sim \mathcal{N}(0, R)`; R is diagonal, or a covariance. A guided
denoiser estimates the mean of :math:`p(x \mid x_t, y)` where the plain one, :math:`D`, estimates that of
:math:`p(x \mid x_t)`:

.. math:: \mathbb{E}[x \mid x_t, y] = D(x_t) + \sigma^2 \nabla_{x_t} \log p(y \mid x_t).

Methods differ in how they approximate the last term. Every entry of a batch is a problem of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xappa._typing import Denoise
from xappa.diffusion.guidance.covariance import ErrorCovariance, FactoredCovariance, Noise, Whitening
from xappa.diffusion.guidance.linearised import Diagonal, LinearFunction, Linearised, LinearMap, Product
from xappa.diffusion.options import require_numbers
from xappa.errors import OptionError
from xappa.registry import Registry, subclass_of

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
    variance : Tensor, shape (M,), or ErrorCovariance
        Diagonal of R, or R itself where errors are correlated; in units of y squared.
    tangent : callable, optional
        Linear map, near the derivative of `operator` and cheaper, that stands in for it where a system is solved.
        What the state is compared with is always `operator`. Default: the derivative itself.
    linearise : callable, optional
        x -> linear map that stands in for the derivative there, and A(x): for operators that are not linear, whose
        stand-in changes with x. Comes before `tangent`.
    noise : callable, optional
        Number of the draw, from 0 -> standard normal numbers (B, M): for methods that perturb observations, each member
        its own way.
    """

    y: Tensor
    operator: Operator
    variance: Tensor | ErrorCovariance
    tangent: Operator | None = None
    linearise: Callable[[Tensor], tuple[LinearMap, Tensor]] | None = None
    noise: Noise | None = None

    def perturb(self) -> Observation:
        """The same observations, each member's with errors of its own drawn from N(0, R) and added.

        Raises
        ------
        OptionError
            If there is no `noise` to draw them from.
        """
        if self.noise is None:
            raise OptionError("Observations are to be perturbed, and there is no noise for it: give `noise`")
        if isinstance(self.variance, ErrorCovariance):
            return replace(self, y=self.y + self.variance.errors(self.noise))
        return replace(self, y=self.y + self.variance.sqrt() * self.noise(0).to(self.y))

    def whiten(self) -> Observation:
        """The same observations in units of their error, so that R = I.

        Exact ones (variance 0) keep their units, and all do where the covariance has no factor.
        """
        if isinstance(self.variance, FactoredCovariance):
            return self._change_units(Whitening(self.variance), torch.ones_like(self.variance.deviation))
        if isinstance(self.variance, ErrorCovariance):
            return self
        exact = self.variance == 0
        deviation = self.variance.sqrt().masked_fill(exact, 1.0)
        return self._change_units(Diagonal(1 / deviation), torch.where(exact, 0.0, torch.ones_like(self.variance)))

    def _change_units(self, units: LinearMap, variance: Tensor) -> Observation:
        """The observations after a linear change of their units, with the variance that they have then."""

        def linearise(x: Tensor) -> tuple[LinearMap, Tensor]:
            a, value = self.linearise(x)  # type: ignore[misc]
            return Product(units, a), units.forward(value)

        return replace(
            self,
            y=units.forward(self.y),
            operator=lambda x: units.forward(self.operator(x)),
            variance=variance,
            tangent=None if self.tangent is None else (lambda x: units.forward(self.tangent(x))),  # type: ignore[misc]
            linearise=None if self.linearise is None else linearise,
        )


SCOPES = ("window", "trajectory")


class Guidance(ABC):
    """Options of a guidance method; `guide` applies it.

    Attributes
    ----------
    scope : {"window", "trajectory"}
        What is guided where a trajectory is made of several windows: each of them by itself, with all that is observed
        in it; or the trajectory that they make up, in which each time is decoded once.
    """

    scope: str = "window"

    def __post_init__(self) -> None:
        require_numbers(self)
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


GUIDANCE: Registry[type[Guidance]] = Registry("guidance", "xappa.guidance", subclass_of(Guidance))
"""Names that choose a guidance method; each is registered in its own file."""


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
        for methods without a solver. Methods with an optimiser record its steps, and no residual.
    """

    def __init__(self, denoiser: Denoise, observation: Observation) -> None:
        self.denoiser, self.observation = denoiser, observation
        self.sigma: list[float] = []
        self.residual: list[Tensor] = []
        self.iterations: list[Tensor] = []
        self.tangent: LinearFunction | None = None

    def __call__(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """Estimate x from `x_t` (B, ...) at noise level `sigma` (0-d); returns a tensor like `x_t`, without a graph."""
        self.sigma.append(float(sigma))
        with torch.enable_grad():
            return self.estimate(x_t.detach(), sigma).detach()

    def linearise(self, x_hat: Tensor) -> tuple[LinearMap, Tensor]:
        """The linear map that stands in for the operator's derivative at x_hat, or that itself; and A(x_hat)."""
        if self.observation.linearise is not None:
            return self.observation.linearise(x_hat)
        if self.observation.tangent is None:
            a = Linearised(self.observation.operator, x_hat)
            return a, a.value
        with torch.no_grad():
            return self.linear(self.observation.tangent, x_hat), self.observation.operator(x_hat)

    def get_tangent(self, x_hat: Tensor) -> LinearMap | None:
        """The linear map that stands in for the operator's derivative at x_hat, where there is one."""
        if self.observation.linearise is not None:
            return self.observation.linearise(x_hat)[0]
        return None if self.observation.tangent is None else self.linear(self.observation.tangent, x_hat)

    def linear(self, tangent: Operator, like: Tensor) -> LinearFunction:
        """The observations' tangent as a map; made once."""
        if self.tangent is None:
            self.tangent = LinearFunction(tangent, like)
        return self.tangent

    @abstractmethod
    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """What `__call__` returns, computed with gradients enabled."""


def whiten_observation(observation: Observation, name: str) -> Observation:
    """Observations in units of their errors, for a method that cannot do without.

    Raises
    ------
    OptionError
        If the covariance of the errors has no factor, or an observation is exact.
    """
    if not isinstance(observation.variance, Tensor | FactoredCovariance):
        raise OptionError(
            f"Guidance {name!r} takes observations in units of their errors, and these are sums of correlated and "
            "independent ones, which have no such units. Use guidance='mmps' or 'jacobian-free'"
        )
    if isinstance(observation.variance, Tensor) and (observation.variance == 0).any():
        raise OptionError(
            f"Guidance {name!r} takes observations in units of their errors, and some have an error of 0. Give them an "
            "error, or use guidance='mmps', 'jacobian-free' or 'repaint'"
        )
    return observation.whiten()
