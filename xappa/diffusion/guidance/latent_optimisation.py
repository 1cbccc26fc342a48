r"""Latent optimisation: a variational analysis inside the reverse process.

At noise level :math:`\sigma` the estimate :math:`\hat x = D(x_t)` is a background whose error is taken as isotropic,
with the variance :math:`\rho^2 = \sigma^2 / (1 + \sigma^2)` that a prior of unit variance leaves. The guided estimate
is the mode

.. math::
   \hat x_y = \arg\min_x \; \tfrac12 \| R^{-1/2} (y - A(x)) \|^2 + \frac{\| x - \hat x \|^2}{2 \rho^2},

sought from :math:`\hat x` by a gradient method in :math:`u = (x - \hat x) / \rho`. By the discrepancy principle it
stops where the first term is half the number of observations, which is what their errors explain: going on would fit
the errors. Operator and decoder are differentiated, the denoiser is not.

The result is nearer to a mode than to a sample. Perturbing the observations, each member's by a draw of
:math:`\mathcal{N}(0, R)`, gives back some of the spread (randomised maximum likelihood [3]_).

References
----------
.. [1] LO-SDA: latent optimization for score-based data assimilation, 2025, https://arxiv.org/abs/2510.22562
.. [2] Morozov, On the solution of functional equations by the method of regularization, 1966 (the discrepancy
   principle).
.. [3] Bardsley et al., Randomize-then-optimize, 2014, https://doi.org/10.1137/140964023
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xappa.diffusion.guidance import huber
from xappa.diffusion.guidance.base import (
    GUIDANCE,
    Covariance,
    Denoise,
    Guidance,
    GuidedDenoiser,
    Observation,
    whiten_observation,
)
from xappa.errors import suggest_names

Optimiser = Callable[[list[Tensor]], torch.optim.Optimizer]
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    name.lower(): kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and name not in ("Optimizer", "Muon", "SparseAdam")  # these two are for matrices, and for sparse gradients
}
"""Names that choose an inner optimiser: those of torch.optim that take any tensor, in lower case."""
ELEMENTWISE = {"adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd"}
"""Optimisers that treat every number by itself, so that the members of a batch can share one."""


@GUIDANCE.register("latent-optimisation")
@dataclass(frozen=True)
class LatentOptimisation(Guidance):
    """A mode of the posterior at every noise level, by a gradient method.

    Parameters
    ----------
    optimiser : str or callable, default "adam"
        Any optimiser of ``torch.optim`` by its name in lower case, or what makes one of a list of parameters. Those
        that are not element by element, such as ``"lbfgs"``, serve the members one by one.
    learning_rate : float or None, default None
        In units of rho. None: 1 for ``"lbfgs"``, else 0.1. Not used with a callable.
    iterations : int, default 50
        The most steps of the optimiser a call.
    discrepancy : float or None, default 1.0
        Misfit, in halves of the number of observations, at which a member is done. None: make all steps.
    below : float, default 2.0
        Noise level from which on estimates are optimised; before, observations have no say. With a rectified schedule
        this leaves the last two thirds of the steps.
    every : int, default 1
        Optimise at every so many calls below that level.
    floor : float, default 0.0
        Least rho. Above 0, the last calls fit the observations as freely as that. With ``final=True`` of the sampler
        the very last one does, on the clean state.
    perturb_observations : bool, default False
        Give each member observations of its own, with errors drawn from N(0, R) added.
    huber : float or None, default None
        Threshold, in deviations, beyond which the pull of an observation grows no more (see `huber`). For the
        discrepancy principle a gross error counts as an observation at the threshold.
    """

    optimiser: str | Optimiser = "adam"
    learning_rate: float | None = None
    iterations: int = 50
    discrepancy: float | None = 1.0
    below: float = 2.0
    every: int = 1
    floor: float = 0.0
    perturb_observations: bool = False
    huber: float | None = None

    def find_problems(self) -> list[str]:
        """List problems of the options, one message each."""
        found = []
        if isinstance(self.optimiser, str) and self.optimiser not in OPTIMISERS:
            near = suggest_names(self.optimiser, OPTIMISERS)
            found.append(
                f"optimiser={self.optimiser!r}, expected one of {', '.join(map(repr, sorted(OPTIMISERS)))}{near}"
            )
        elif not isinstance(self.optimiser, str) and not callable(self.optimiser):
            found.append(f"optimiser={self.optimiser!r}, expected a name or a function that makes an optimiser")
        for name in ("learning_rate", "discrepancy", "below"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                found.append(f"{name}={value}, expected a number above 0")
        found += [
            f"{name}={getattr(self, name)}, expected at least 1"
            for name in ("iterations", "every")
            if getattr(self, name) < 1
        ]
        if not self.floor >= 0:
            found.append(f"floor={self.floor}, expected at least 0")
        return found + huber.find_problems(self.huber, max(self.discrepancy or 0.0, 0.0) ** 0.5)

    @property
    def batches_members(self) -> bool:
        """Whether the members of a batch can share an optimiser."""
        return isinstance(self.optimiser, str) and self.optimiser in ELEMENTWISE

    def make_optimiser(self, parameter: Tensor) -> torch.optim.Optimizer:
        """Return the optimiser of a parameter."""
        if not isinstance(self.optimiser, str):
            return self.optimiser([parameter])
        rate = self.learning_rate or (1.0 if self.optimiser == "lbfgs" else 0.1)
        return OPTIMISERS[self.optimiser]([parameter], lr=rate)

    def wrap(
        self, denoiser: Denoise, observation: Observation, prior_covariance: Covariance | None
    ) -> LatentOptimisationDenoiser:
        """See `Guidance.wrap`; the prior's covariance is not used."""
        observation = observation.perturb() if self.perturb_observations else observation
        return LatentOptimisationDenoiser(denoiser, whiten_observation(observation, "latent-optimisation"), self)


class LatentOptimisationDenoiser(GuidedDenoiser):
    """Denoiser guided by `LatentOptimisation`."""

    def __init__(self, denoiser: Denoise, observation: Observation, options: LatentOptimisation) -> None:
        super().__init__(denoiser, observation)
        self.options = options
        self.calls = 0

    def estimate(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """See `GuidedDenoiser.estimate`."""
        with torch.no_grad():
            x_hat = self.denoiser(x_t, sigma)
        self.iterations.append(torch.zeros(len(x_hat), dtype=torch.int64))
        if sigma > self.options.below:
            return x_hat
        self.calls += 1
        if (self.calls - 1) % self.options.every:
            return x_hat
        spread = (sigma / (1 + sigma**2).sqrt()).clamp(min=self.options.floor)
        y = self.observation.y.expand(len(x_hat), -1)
        if self.options.batches_members:
            found, self.iterations[-1] = self.optimise(x_hat, y, spread)
            return found
        rows = [self.optimise(x_hat[i : i + 1], y[i : i + 1], spread) for i in range(len(x_hat))]
        self.iterations[-1] = torch.cat([used for _, used in rows])
        return torch.cat([found for found, _ in rows])

    def optimise(self, x_hat: Tensor, y: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Mode (B, ...) around x_hat, and how many steps each member took."""
        goal = 0.0 if self.options.discrepancy is None else self.options.discrepancy * y.shape[-1] / 2
        u = torch.zeros_like(x_hat, requires_grad=True)
        optimiser, misfits = self.options.make_optimiser(u), []

        def cost() -> float:
            residual = y - self.observation.operator(x_hat + spread * u).to(y)
            if (threshold := self.options.huber) is None:
                misfit = (residual**2).sum(-1) / 2
                misfits.append(misfit.detach())
            else:
                misfit = huber.penalty(residual, threshold).sum(-1)
                misfits.append(huber.compute_bounded_misfit(residual.detach(), threshold))
            total = misfit.sum() + (u**2).sum() / 2
            (u.grad,) = torch.autograd.grad(total, u)
            return total.item()

        done = torch.zeros(len(x_hat), dtype=torch.bool, device=x_hat.device)
        used = torch.zeros(len(x_hat), dtype=torch.int64, device=x_hat.device)
        for _ in range(self.options.iterations):
            before = u.detach().clone()
            misfits.clear()
            optimiser.step(cost)
            done = done | (misfits[0] <= goal)
            with torch.no_grad():
                u[done] = before[done]
            used = used + ~done
            if done.all():
                break
        return (x_hat + spread * u).detach(), used.cpu()
