"""Differences of a model's own forecasts, from which errors of backgrounds are estimated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xappa.diffusion.guidance import MMPS, JacobianFree, Observation
from xappa.diffusion.noise import Noise
from xappa.diffusion.samplers import LMS
from xappa.model.protocol import GenerativeModel
from xappa.sampling.latent_cache import LatentCache

SEED = 2**63 + 1990
"""Seed of the initial states of forecasts; far from the seeds that users give."""
BATCH = 8
KNOWN = 0.05
"""Deviation with which a forecast is held to the state that it starts from."""


@dataclass(frozen=True, eq=False)
class _StoredDifferences:
    differences: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.differences.nbytes


_CACHE: LatentCache[_StoredDifferences] = LatentCache()


def compute_forecast_differences(model: GenerativeModel, date: np.datetime64, lead: int, samples: int) -> Tensor:
    """Forecast of a lead minus forecast of half of it, valid at the same time (the NMC method).

    Both start from states of one trajectory that is drawn from the prior. Estimated once a session for a model, a month
    and a lead.

    Parameters
    ----------
    model : GenerativeModel
    date : datetime64
        Its month counts.
    lead : int
        Steps, less than the model's window.
    samples : int
        Trajectories.

    Returns
    -------
    Tensor, (samples, window - lead, *latent)
        At leads from `lead` to the end of a window; on the model's device.
    """
    month = date.astype("datetime64[M]")
    key = f"{model.digest}-{month.astype(int) % 12}-{lead}-{samples}"
    found = _CACHE.get(key, lambda: _StoredDifferences(_compute_differences(model, month, lead, samples)))
    return torch.from_numpy(found.differences).to(model.device)


def _compute_differences(model: GenerativeModel, month: np.datetime64, lead: int, samples: int) -> np.ndarray:
    middle = month.astype("datetime64[s]") + np.timedelta64(14, "D")
    times = middle + model.spec.step * np.arange(model.spec.window)
    parts = []
    for first in range(0, samples, BATCH):
        members = range(first, min(first + BATCH, samples))
        truth = _draw(model, times, members, SEED, None)
        # Each forecast has noise of its own: three independent draws.
        long, short = (
            _draw(model, times, members, SEED + 1 + k, (frame, truth[:, frame]))
            for k, frame in enumerate((0, lead // 2))
        )
        parts.append((long - short)[:, lead:].cpu().numpy())
    return np.concatenate(parts)


def _draw(
    model: GenerativeModel, times: np.ndarray, members: range, seed: int, start: tuple[int, Tensor] | None
) -> Tensor:
    """One window of the prior, given its state at one time, if any."""
    denoise = prior = model.make_window_denoisers().make_denoiser(times)
    if start is not None:
        frame, state = start

        def operator(x: Tensor) -> Tensor:
            return x[:, frame].flatten(1)

        y = state.flatten(1)
        observation = Observation(y, operator, torch.full_like(y[0], KNOWN**2), operator)
        guidance = JacobianFree() if model.static_prior else MMPS()
        denoise = guidance.guide(prior, observation, model.covariance)
    hours = times.astype("datetime64[h]").astype("i8").tolist()
    noise = Noise(seed, tuple(members), hours, model.latent_shape)
    x = model.schedule(torch.ones(1)).item() * noise.start().to(model.device)
    return LMS()(denoise, x, noise, model.schedule)
