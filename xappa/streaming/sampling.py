"""Sample members of a trajectory, and decode them: arrays in, arrays out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xappa.diffusion.composition import Composition, window_count
from xappa.diffusion.guidance import GuidedDenoiser, Observation
from xappa.diffusion.noise import Noise, member_noise
from xappa.errors import IntegrityError
from xappa.models.dates import date_tensor
from xappa.models.model import Model
from xappa.models.registry import load
from xappa.operators.reading import Reading
from xappa.operators.stencil import Stencil
from xappa.streaming.cache import Cache
from xappa.streaming.devices import lock
from xappa.streaming.plan import Plan, overlap
from xappa.vocabulary import VARIABLES

DRESSING = 2**31  # number of the draw that dresses members, out of the samplers' reach


@dataclass(frozen=True, eq=False)
class Sampled:
    """Latents of some members, and what the run learned of itself.

    Parameters
    ----------
    members : tuple of int
    latents : array (member, time, h, w, C), float32
        Standardised.
    diagnostics : dict of arrays
        ``sigma`` (step,), ``residual`` and ``iterations`` (step, member), worst of the windows; ``seconds`` ().
    """

    members: tuple[int, ...]
    latents: np.ndarray
    diagnostics: dict[str, np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of the latents."""
        return self.latents.nbytes


_CACHE: Cache[Sampled] = Cache()


def model_of(plan: Plan) -> Model:
    """Load the plan's model and make sure that it is the one the plan was made with."""
    model = load(plan.model, device=plan.device)
    if model.digest != plan.digest:
        raise IntegrityError(
            f"Model {plan.model!r} has digest {model.digest[:12]} here, but this analysis was planned with "
            f"{plan.digest[:12]}. Use the same files everywhere, or plan again."
        )
    return model


def sample(
    plan: Plan, members: tuple[int, ...], token: str, progress: Callable[[int, int], None] | None = None
) -> Sampled:
    """Latents of `members`; taken from the cache if they were sampled before under this token."""
    return _CACHE.get(f"{token}-{members}", lambda: _sample(plan, members, progress))


@torch.no_grad()
def _sample(plan: Plan, members: tuple[int, ...], progress: Callable[[int, int], None] | None) -> Sampled:
    model = model_of(plan)
    with lock(model.device):
        begin = time.monotonic()
        window = model.spec.window
        stride = window - overlap(window)
        starts = [n * stride for n in range(window_count(len(plan.times), window, overlap(window)))]
        parts = [_window_denoiser(model, plan, start) for start in starts]
        denoiser = Composition(parts, window, overlap(window), plan.stitching)
        hours = plan.times.astype("datetime64[h]").astype("i8")
        noise = Noise(plan.seed, members, tuple(hours.tolist()), model.latent_shape)
        x = model.schedule(torch.ones(1)).item() * noise.start().to(model.device)
        latents = plan.sampler(denoiser, x, noise, model.schedule, progress)
        diagnostics = _diagnostics([p for p in parts if isinstance(p, GuidedDenoiser)])
        diagnostics["seconds"] = np.array(time.monotonic() - begin)
    return Sampled(members, latents.float().cpu().numpy(), diagnostics)


def _window_denoiser(model: Model, plan: Plan, start: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The denoiser of one window, guided by the observations that lie in it."""
    times = plan.times[start : start + model.spec.window]
    date = date_tensor(times).to(model.device)

    def prior(x: Tensor, sigma: Tensor) -> Tensor:
        return model.denoiser(x, sigma, date)

    inside = None if plan.stencil is None else plan.stencil.window(start, model.spec.window)
    if inside is None or len(inside) == 0:
        return prior
    observation = observe_latents(model, inside, times)
    return plan.guidance.guide(prior, observation, getattr(model.denoiser, "covariance", None))


def observe_latents(model: Model, stencil: Stencil, times: np.ndarray) -> Observation:
    """Whitened observations of a window, as a function of its latents.

    The autoencoder's error, seen through the operator, is part of the observations' error.
    """
    reading = Reading(stencil, model.climatology(times), model.scale, representation=model.error).to(model.device)
    frames = torch.as_tensor(reading.frames, device=model.device)
    seen = times[np.asarray(reading.frames)]

    def operator(latents: Tensor) -> Tensor:
        return reading(model.decode(latents[:, frames], seen))

    def tangent(latents: Tensor) -> Tensor:
        return reading(model.linear_decode(latents[:, frames], seen))

    return Observation(reading.y, operator, torch.ones_like(reading.y), tangent)


def _diagnostics(parts: list[GuidedDenoiser]) -> dict[str, np.ndarray]:
    """Noise levels, and the worst residual and number of iterations of the windows, at every evaluation."""
    if not parts:
        return {}
    out = {"sigma": np.array(parts[0].sigma)}
    if all(p.residual for p in parts):
        out["residual"] = np.max([torch.stack(p.residual).numpy() for p in parts], axis=0).astype("f4")
        out["iterations"] = np.max([torch.stack(p.iterations).numpy() for p in parts], axis=0).astype("i4")
    return out


@torch.no_grad()
def decode(plan: Plan, latents: np.ndarray, members: tuple[int, ...], first: int) -> np.ndarray:
    """Physical fields (member, time, channel, lat, lon) of latents (member, time, h, w, C) from time `first` on.

    Members are dressed: each receives white noise of the autoencoder's error, without which the ensemble would claim
    to know the small scales that the latents cannot hold.
    """
    model = model_of(plan)
    times = plan.times[first : first + latents.shape[1]]
    with lock(model.device):
        fields = model.decode(torch.from_numpy(latents).to(model.device), times).float().cpu()
    if plan.dress:
        hours = times.astype("datetime64[h]").astype("i8")
        noise = member_noise(plan.seed, members, hours.tolist(), model.spec.shape, DRESSING)
        fields = fields + noise * torch.from_numpy(model.error)
    values = model.physical(fields.numpy(), times)
    if plan.clip:
        positive = [
            i for i, (name, _) in enumerate(model.spec.channels) if name in VARIABLES and VARIABLES[name].positive
        ]
        values[:, :, positive] = np.maximum(values[:, :, positive], 0)
    return values
