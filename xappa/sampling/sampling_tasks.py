"""Sample members of a trajectory, and decode them: arrays in, arrays out."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from xappa.devices import OUT_OF_MEMORY, extract_first_line, is_out_of_memory, lock, trim_host_memory
from xappa.diffusion.noise import draw_member_noise
from xappa.errors import DeviceMemoryError, IntegrityError
from xappa.model.protocol import GenerativeModel
from xappa.model.reconstruction import add_reconstruction_error, correlate_noise
from xappa.model.registry import load
from xappa.sampling.background_terms import make_background_terms, make_warm_start
from xappa.sampling.batching import MemoryNeeds, split_on_oom
from xappa.sampling.latent_cache import LatentCache
from xappa.sampling.latent_observations import observe_latents
from xappa.sampling.memory_budget import plan_batches
from xappa.sampling.merge_diagnostics import concat_members
from xappa.sampling.sampled import SamplingResult
from xappa.sampling.spec import ContinueFrom, SamplingSpec
from xappa.sampling.trajectory import TrajectorySampler, collect_series, evaluate_fit
from xappa.vocabulary import VARIABLES

__all__ = ["DRESSING", "SamplingResult", "decode", "load_model", "observe_latents", "sample"]

DRESSING = 2**31  # number of the draw that dresses members, out of the samplers' reach


_CACHE: LatentCache[SamplingResult] = LatentCache()


def load_model(plan: SamplingSpec) -> GenerativeModel:
    """Load the plan's model and make sure that it is the one the plan was made with."""
    model = load(plan.model, device=plan.device, precision=plan.precision)
    if model.digest != plan.digest:
        raise IntegrityError(
            f"Model {plan.model!r} has digest {model.digest[:12]} here, but this analysis was planned with "
            f"{plan.digest[:12]}. Use the same files everywhere, or plan again."
        )
    return model


def sample(
    plan: SamplingSpec,
    members: tuple[int, ...],
    token: str,
    progress: Callable[[int, int], None] | None = None,
    states: Sequence[np.ndarray] = (),
) -> SamplingResult:
    """Latents of `members`; taken from the cache if they were sampled before under this token.

    Parameters
    ----------
    plan : SamplingSpec
    members : tuple of int
    token : str
    progress : callable, optional
        ``progress(done, total)``.
    states : sequence of array, (member, frame, h, w, C)
        Latents of each of ``plan.given``.

    Raises
    ------
    SamplingError
        If numbers are not finite.
    """
    return _CACHE.get(
        _make_key(token, members), lambda: _sample(plan, members, progress, states), SamplingResult.from_arrays
    )


def is_cached(token: str, members: tuple[int, ...]) -> bool:
    """Whether latents that were sampled under this token are in memory."""
    return _make_key(token, members) in _CACHE


def spill(token: str, members: tuple[int, ...]) -> None:
    """Send latents that were sampled under this token from memory to disk."""
    _CACHE.spill(_make_key(token, members))


def _make_key(token: str, members: tuple[int, ...]) -> str:
    """Files outlast this version of the package, whose latents they are."""
    from xappa import __version__

    return f"{token}-{members}-{__version__}"


@torch.no_grad()
def _sample(
    plan: SamplingSpec,
    members: tuple[int, ...],
    progress: Callable[[int, int], None] | None,
    states: Sequence[np.ndarray] = (),
) -> SamplingResult:
    model = load_model(plan)
    division = plan_batches(model, plan, len(members))
    model = model.with_graph_budget(division.graph_budget)

    def some(rows: slice) -> SamplingResult:
        own = [
            v[rows] if isinstance(g.use, ContinueFrom) else v for g, v in zip(plan.fixed_states, states, strict=True)
        ]
        return _sample_together(model, plan, members[rows], progress, own)

    with lock(model.device):
        key = (model.digest, str(model.device), len(plan.times))
        parts = split_on_oom(some, len(members), key, MemoryNeeds(model, plan), division.members)
    # Python lets cycles lie for long where there are many objects, as in a long run's graph, and tensors with them.
    gc.collect()
    trim_host_memory()
    return parts[0] if len(parts) == 1 else concat_members(parts)


def _sample_together(
    model: GenerativeModel,
    plan: SamplingSpec,
    members: tuple[int, ...],
    progress: Callable[[int, int], None] | None,
    states: Sequence[np.ndarray],
) -> SamplingResult:
    begin = time.monotonic()
    run = TrajectorySampler(model, plan, members, progress)
    known = make_background_terms(model, plan, members, states)
    length = len(plan.times) if plan.autoregressive is None else plan.autoregressive.first
    latents = run.sample_block(0, length, known, make_warm_start(model, plan, members, states))
    if plan.autoregressive is not None:
        latents = run.roll_out(latents, plan.autoregressive.context)
    diagnostics = collect_series(run.guided_denoisers, plan.sampler.evaluations)
    if plan.stencil is not None and len(plan.stencil):
        diagnostics |= evaluate_fit(model, plan, latents[:, :length])
        diagnostics["variables"] = np.array(plan.stencil.names)
    diagnostics["seconds"] = np.array(time.monotonic() - begin)
    return SamplingResult(members, latents.float().cpu().numpy(), diagnostics)


@torch.no_grad()
def decode(plan: SamplingSpec, latents: np.ndarray, members: tuple[int, ...], first: int) -> np.ndarray:
    """Physical fields (member, time, channel, lat, lon) of latents (member, time, h, w, C) from time `first` on.

    Where they are dressed, each member receives noise of the autoencoder's error, without which the ensemble claims to
    know the small scales that the latents cannot hold (`models.reconstruction`). The noise is correlated in space as
    that error is, where the model knows how, and white where it does not.
    """
    model = load_model(plan)
    times = plan.times[first : first + latents.shape[1]]
    z = torch.from_numpy(np.ascontiguousarray(latents))
    with lock(model.device):
        # State by state, so that the bits are the same whatever is decoded together.
        rows = [
            [_decode_one(model, z[i : i + 1, j : j + 1], times[j : j + 1]) for j in range(z.shape[1])]
            for i in range(z.shape[0])
        ]
        fields = torch.cat([torch.cat(row, 1) for row in rows])
    values = model.destandardise(fields.numpy(), times)
    known = [(i, VARIABLES[name]) for i, (name, _) in enumerate(model.spec.channels) if name in VARIABLES]
    if plan.dress and model.error is not None:
        hours = times.astype("datetime64[h]").astype("i8")
        shape = model.spec.shape
        white = draw_member_noise(plan.seed, members, hours.tolist(), shape, DRESSING, antithetic=plan.antithetic)
        noise, deviation = correlate_noise(white.numpy(), model.statistics), model.error * model.scale
        amounts = [i for i, variable in known if variable.amount]
        values = add_reconstruction_error(values, noise, deviation, model.climatology(times), amounts)
    if plan.clip:
        positive = [i for i, variable in known if variable.positive]
        values[:, :, positive] = np.maximum(values[:, :, positive], 0)
    return values


def _decode_one(model: GenerativeModel, latents: torch.Tensor, times: np.ndarray) -> torch.Tensor:
    """Standardised fields of one state, in main memory."""
    try:
        return model.decode(latents.to(model.device), times).float().cpu()
    except OUT_OF_MEMORY as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(
            f"One state of {model.name!r} cannot be decoded on {model.device}: {extract_first_line(error)}. Use "
            "another "
            'device, such as device="cpu"'
        ) from error
