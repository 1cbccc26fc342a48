"""Sampling stops where numbers are no longer finite, and says where and why."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xappa._typing import Denoise
from xappa.diffusion.guidance import Observation
from xappa.errors import OperatorError, SamplingError


class FiniteCheck:
    """A denoiser that refuses to go on with numbers that are not finite.

    Parameters
    ----------
    denoiser : callable
        As it is used, guided where there are observations.
    prior : callable
        The same without observations.
    observation : Observation or None
    members : sequence of int
        Member numbers of the batch.
    period : str
        The window's times, in words.
    """

    def __init__(
        self, denoiser: Denoise, prior: Denoise, observation: Observation | None, members: Sequence[int], period: str
    ) -> None:
        self.denoiser, self.prior, self.observation = denoiser, prior, observation
        self.members, self.period = tuple(members), period

    def __call__(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """What the denoiser returns.

        Raises
        ------
        SamplingError
            If that is not finite.
        OperatorError
            If an operator fails.
        """
        try:
            estimate = self.denoiser(x_t, sigma)
        except OperatorError as error:
            raise OperatorError(f"{error} (at noise level {float(sigma):.3g}, {self.period})") from error
        finite = torch.isfinite(estimate).flatten(1).all(1)
        if not bool(finite.all()):
            bad = [member for member, good in zip(self.members, finite.tolist(), strict=True) if not good]
            raise SamplingError(
                f"Sampling stopped at noise level {float(sigma):.3g}: numbers of member {', '.join(map(str, bad))} are "
                f"not finite, {self.period}; expected finite ones. Likely cause: "
                f"{self._find_cause(x_t, sigma)}. Nothing of "
                "this result was kept."
            )
        return estimate

    @torch.no_grad()
    def _find_cause(self, x_t: Tensor, sigma: Tensor) -> str:
        if not bool(torch.isfinite(x_t).all()):
            return "the step before this one diverged: use more steps, or another sampler"
        estimate = self.prior(x_t, sigma)
        if not bool(torch.isfinite(estimate).all()):
            return "the model's denoiser: look for weights that are not finite, or run it in float32"
        if self.observation is None:
            return "the model's denoiser, which gives other numbers when it is called again"
        if not bool(torch.isfinite(self.observation.operator(estimate)).all()):
            return "the decoder or an observation operator, whose values are not finite"
        return (
            "the guidance: derivatives of an operator that are not finite (roots and logarithms near 0, divisions by "
            "small numbers), or errors of reports that are far too small"
        )
