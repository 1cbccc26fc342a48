"""States that are known before sampling: backgrounds, and the states that forecasts start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xappa.background import ENSEMBLE, LatentObservation, WarmStart, count_lead_steps
from xappa.diffusion.guidance import Observation
from xappa.diffusion.latent_covariance import LatentCovariance, estimate_covariance, make_stationary
from xappa.errors import DatasetError
from xappa.model.protocol import GenerativeModel
from xappa.sampling.forecast_differences import compute_forecast_differences
from xappa.sampling.spec import ContinueFrom, FixedState, SamplingSpec

LOCAL = 0.5
"""Share of an ensemble's variance that is each point's own; the rest is its row's."""
LEAST = 0.02
"""Least deviation of a state that is known: what comes out of float16, and what solvers can resolve."""
CONTEXT = 0.05
"""Deviation with which a piece of a forecast is held to the states that it follows."""
LARGEST = 0.95
"""Deviations of a background's error up to this one count as none."""


@dataclass(frozen=True, eq=False)
class BackgroundTerm:
    """Known states as observations of the latents.

    Parameters
    ----------
    frames : tuple of int
        Where they lie along the trajectory.
    y : Tensor, (1 or member, frame, *latent)
    deviation : Tensor, (frame, *latent)
    spectrum : Tensor or None
        See `LatentCovariance`; None where errors are independent.
    time : Tensor or None
        Correlation matrix of the frames.
    """

    frames: tuple[int, ...]
    y: Tensor
    deviation: Tensor
    spectrum: Tensor | None = None
    time: Tensor | None = None

    def make_observation(
        self, start: int, length: int, noise: Callable[[int], Tensor] | None = None
    ) -> Observation | None:
        """What a window of `length` times from `start` on sees of them; `noise` is like the window's latents."""
        chosen = [k for k, frame in enumerate(self.frames) if start <= frame < start + length]
        if not chosen:
            return None
        positions = [self.frames[k] - start for k in chosen]

        def operator(x: Tensor) -> Tensor:
            return x[:, positions].flatten(1)

        y = self.y[:, chosen].flatten(1)
        deviation = self.deviation[chosen]
        if self.spectrum is None or self.time is None:
            variance: Tensor | LatentCovariance = deviation.flatten().square()
        else:
            variance = LatentCovariance(deviation, self.spectrum, self.time[chosen][:, chosen])
        own = None if noise is None else (lambda k: noise(k)[:, positions].flatten(1))
        return Observation(y if len(y) > 1 else y[0], operator, variance, operator, noise=own)


def make_background_terms(
    model: GenerativeModel, plan: SamplingSpec, members: Sequence[int], states: Sequence[np.ndarray]
) -> list[BackgroundTerm]:
    """The given states that are observations of the latents, as a batch of members sees them.

    Raises
    ------
    DatasetError
        If a state has missing values.
    """
    found = []
    for given, values in zip(plan.fixed_states, states, strict=True):
        require_finite(given, values, plan)
        if isinstance(given.use, LatentObservation):
            found.append(
                _make_background_term(model, plan, given, given.use, members, torch.from_numpy(values).to(model.device))
            )
        elif isinstance(given.use, ContinueFrom):
            found.append(make_context_term(torch.from_numpy(values).to(model.device), given.frames))
    return found


def make_warm_start(
    model: GenerativeModel, plan: SamplingSpec, members: Sequence[int], states: Sequence[np.ndarray]
) -> tuple[Tensor, float] | None:
    """Where members start, (member, time, h, w, C), and the noise level that they start with; None without."""
    for given, values in zip(plan.fixed_states, states, strict=True):
        if isinstance(given.use, WarmStart):
            z = torch.from_numpy(values).to(model.device)
            # Padded times repeat the last state that is known.
            index = np.clip(np.searchsorted(given.frames, np.arange(len(plan.times))), 0, len(given.frames) - 1)
            rows = [member % len(z) for member in members]
            return z[rows][:, index], _choose_noise_level(model, plan, given.use, z)
    return None


def make_context_term(latents: Tensor, frames: Sequence[int]) -> BackgroundTerm:
    """States that a piece of a forecast follows, each member's own."""
    return BackgroundTerm(tuple(frames), latents, torch.full_like(latents[0], CONTEXT))


def require_finite(given: FixedState, values: np.ndarray, plan: SamplingSpec) -> None:
    """Refuse states with missing values.

    Raises
    ------
    DatasetError
    """
    missing = ~np.isfinite(values).all(axis=(0, *range(2, values.ndim)))
    if missing.any():
        first = plan.times[np.array(given.frames)[missing][0]]
        raise DatasetError(
            f"{int(missing.sum())} of {len(missing)} states that are started from have missing values, the first at "
            f"{np.datetime_as_string(first, unit='m')}; expected whole states: fill them, or give observations instead"
            " (values outside valid_range, valid_min or valid_max are missing)"
        )


def _make_background_term(
    model: GenerativeModel,
    plan: SamplingSpec,
    given: FixedState,
    use: LatentObservation,
    members: Sequence[int],
    z: Tensor,
) -> BackgroundTerm:
    chosen = [member % len(z) for member in members]
    y = z[chosen] if use.each and len(z) > 1 else z.mean(0, keepdim=True)
    times = plan.times[list(given.frames)]
    own = estimate_autoencoder_error(model, z[:1, :4], times[:4])
    kind = use.covariance
    if kind == "auto":
        kind = "ensemble" if len(z) >= ENSEMBLE else "nmc"
    if kind == "autoencoder" or (kind == "ensemble" and len(z) < 2):
        return BackgroundTerm(given.frames, y, use.scale * own.expand(z.shape[1:]))
    if kind == "ensemble":
        errors = (z - z.mean(0)) * (len(z) / (len(z) - 1)) ** 0.5
        deviation, spectrum, time = _estimate(model, errors, 0.0, LOCAL)
    else:
        deviation, spectrum, time = _estimate_nmc_errors(model, plan, use, len(given.frames))
    return BackgroundTerm(given.frames, y, use.scale * (deviation.square() + own.square()).sqrt(), spectrum, time)


def _estimate(
    model: GenerativeModel, errors: Tensor, floor: float, local: float = 0.0
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Deviation, spectrum and correlation in time; of latents that are on no grid the deviation alone."""
    if not model.zonal_latents:
        return (errors.square().mean(0) + floor**2).sqrt(), None, None
    return estimate_covariance(errors, floor, local)


def _estimate_nmc_errors(
    model: GenerativeModel, plan: SamplingSpec, use: LatentObservation | WarmStart, frames: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    lead = count_lead_steps(use.lead, model.spec.step, model.spec.window)
    errors = compute_forecast_differences(model, plan.times[0], lead, use.samples)
    deviation, spectrum, time = _estimate(model, errors, LEAST)
    whole = deviation[:1].expand(frames, *deviation.shape[1:])
    return whole, spectrum, None if time is None else make_stationary(time, frames)


def _choose_noise_level(model: GenerativeModel, plan: SamplingSpec, use: WarmStart, z: Tensor) -> float:
    """Noise level of a warm start."""
    if use.sigma is not None:
        sigma = float(use.sigma)
    else:
        if use.error is not None:
            error = float(use.error)
        elif len(z) > 1:
            error = float(z.var(0, correction=1).mean().sqrt())
        else:
            error = float(_estimate_nmc_errors(model, plan, use, 1)[0].square().mean().sqrt())
        error = min(max(error, LEAST), LARGEST)
        sigma = error / (1 - error**2) ** 0.5
    return min(max(sigma, model.schedule.sigma_min), model.schedule.sigma_max)


def estimate_autoencoder_error(model: GenerativeModel, z: Tensor, times: np.ndarray) -> Tensor:
    """Deviation of what decoding and encoding once more makes of latents (member, time, *latent).

    By channel, (C,), of latents on a grid; of others by number. The noise that the latents were trained with counts as
    well.
    """
    with torch.no_grad():
        again = model.encode(model.decode(z, times), times)
        variance = (again - z).square().flatten(0, -2 if model.zonal_latents else 1).mean(0)
    if model.latent_noise is not None:
        variance = variance + torch.from_numpy(model.latent_noise).to(variance)
    return variance.sqrt().clamp(min=LEAST)
