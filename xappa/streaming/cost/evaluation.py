"""One evaluation of a plan's denoiser, metered: what it takes, without doing it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from xappa.background import WarmStart
from xappa.diffusion.composition import Composition
from xappa.diffusion.guidance import Guidance, SolverGuidance
from xappa.models.model import Model
from xappa.operators.tokens import token as token_of
from xappa.streaming.cost.meter import Meter, Repeated, Work, measured, repeated
from xappa.streaming.given import context
from xappa.streaming.pieces import Pieces, window_starts
from xappa.streaming.plan import Follows, Given, Plan

Denoise = Callable[[Tensor, Tensor], Tensor]
SIGMA = 0.5
_KNOWN: OrderedDict[Hashable, Repeated] = OrderedDict()
REMEMBERED = 256
LARGE = 2**30
"""Bytes of a decoded state's graph above which nothing is done only to be metered."""
FIELDS = ("flop", "peak", "first")


@dataclass(frozen=True)
class Stretch:
    """What is denoised at once: a window, or a trajectory of several.

    Parameters
    ----------
    start, length : int
        Its times along the plan's.
    windows : int
        Windows of the model in it.
    frames : int
        Times whose states are decoded.
    reports : int
        With the numbers of latent states that are given.
    """

    start: int
    length: int
    windows: int
    frames: int
    reports: int


def stretches(model: Model, plan: Plan) -> list[Stretch]:
    """What the plan's denoiser is made of, all of its times at once."""
    window, length = model.spec.window, len(plan.times)
    values = int(np.prod(model.latent_shape))
    starts = window_starts(length, window)
    whole = len(starts) > 1 and getattr(plan.guidance, "scope", "window") == "trajectory"
    cuts = [(0, length, len(starts))] if whole else [(start, window, 1) for start in starts]
    found = []
    for start, size, windows in cuts:
        inside = None if plan.stencil is None else plan.stencil.window(start, size)
        reports = 0 if inside is None else len(inside)
        frames = len(inside.frames) if inside is not None and reports else 0
        held = [frame for given in known(plan) for frame in given.frames if start <= frame < start + size]
        found.append(Stretch(start, size, windows, frames, reports + values * len(held)))
    return found


def known(plan: Plan) -> list[Given]:
    """The given states that are observations of the latents."""
    return [given for given in plan.given if not isinstance(given.use, WarmStart)]


def pieces(model: Model, plan: Plan) -> list[tuple[Plan, int]]:
    """Plans that are sampled at once, which a rolling one is made of, and how many there are of each."""
    if plan.rolling is None:
        return [(plan, 1)]
    window, rolling = model.spec.window, plan.rolling
    first = replace(plan, times=plan.times[: rolling.first], rolling=None)
    more = (len(plan.times) - rolling.first) // (window - rolling.context)
    after = Given(tuple(range(rolling.context)), Follows(), "")
    later = replace(plan, times=plan.times[:window], stencil=None, given=(after,), rolling=None)
    return [(first, 1), (later, more)] if more else [(first, 1)]


def at_level(guidance: Guidance | None, iterations: int) -> Guidance | None:
    """The guidance with so many steps of its solver at every noise level, where it has one."""
    if isinstance(guidance, SolverGuidance):
        return replace(guidance, iterations=iterations, tolerance=None, below=math.inf)
    return guidance


def work(model: Model, plan: Plan, stretch: Stretch, members: int, iterations: int) -> Repeated:
    """What an evaluation of a stretch takes, for so many members and steps of the solver."""
    key = (
        model.digest, model.precision, model.kept, stretch.length, stretch.frames, stretch.reports,
        token_of(at_level(plan.guidance, iterations)), members,
    )  # fmt: skip
    if key not in _KNOWN:
        _KNOWN[key] = _work(model, plan, stretch, members, iterations)
        while len(_KNOWN) > REMEMBERED:
            _KNOWN.popitem(last=False)
    return _KNOWN[key]


def _work(model: Model, plan: Plan, stretch: Stretch, members: int, iterations: int) -> Repeated:
    plan = replace(plan, guidance=at_level(plan.guidance, iterations))
    few = model.states_at_once // members + 1
    if stretch.frames > few + 1:
        # More states than are decoded at once: each takes as much as any.
        parts = [_with_fewer(plan, stretch, count) for count in (few, few + 1)]
        frames = [fewer.frames for _, fewer in parts]
        if few <= frames[0] < frames[1]:
            one, more = (_metered(model, own, fewer, members) for own, fewer in parts)
            share = (stretch.frames - frames[0]) / (frames[1] - frames[0])
            grown = {f: getattr(one, f) + share * (getattr(more, f) - getattr(one, f)) for f in ("flop", "first")}
            return Repeated(peak=one.peak + share * max(more.peak - one.peak, 0.0), **grown)
    return _metered(model, plan, stretch, members)


def _with_fewer(plan: Plan, stretch: Stretch, count: int) -> tuple[Plan, Stretch]:
    """The plan with what is observed at the first few times of a stretch."""
    rows = plan.stencil
    if rows is None:
        return plan, stretch
    last = stretch.start + int(rows.window(stretch.start, stretch.length).frames[count - 1])
    first_times, last_times = rows.spans()
    chosen = rows.select(np.flatnonzero((first_times >= stretch.start) & (last_times <= last)))
    own = replace(plan, stencil=chosen)
    inside = chosen.window(stretch.start, stretch.length)
    return own, replace(stretch, frames=len(inside.frames), reports=len(inside))


def _metered(model: Model, plan: Plan, stretch: Stretch, members: int) -> Repeated:
    denoise = denoiser(model, plan, stretch, tuple(range(members)))
    shape = (members, stretch.length, *model.latent_shape)

    def evaluate() -> None:
        x, sigma = torch.randn(shape, device=model.device), torch.tensor(SIGMA)
        with torch.no_grad():
            denoise(x, sigma)

    try:
        return repeated(evaluate)
    except RuntimeError:
        # What it does depends on values: do it, where that is possible.
        if model.autoencoder.spec.graph_bytes > LARGE:
            raise
        with Meter() as meter:
            evaluate()
        return Repeated(meter.flop, meter.peak, meter.flop)


def denoiser(model: Model, plan: Plan, stretch: Stretch, members: tuple[int, ...]) -> Denoise:
    """The denoiser of a stretch, guided where it is observed."""
    held = [
        context(torch.zeros((1, len(given.frames), *model.latent_shape), device=model.device), given.frames)
        for given in known(plan)
    ]
    last = stretch.start + stretch.length
    part, guided = Pieces(model, plan, members, None).denoiser(stretch.start, last, held, True)
    return guided[0] if len(guided) == 1 else unguarded(part)


def unguarded(denoise: Denoise) -> Denoise:
    """Without the check of its result, which needs values."""
    if isinstance(denoise, Composition):
        parts = [getattr(part, "denoiser", part) for part in denoise.windows]
        return Composition(parts, denoise.window, denoise.overlap, denoise.stitching)
    return getattr(denoise, "denoiser", denoise)


def decoding(model: Model) -> Work:
    """What decoding one state takes."""

    def decode() -> None:
        with torch.no_grad():
            model.decode(torch.zeros(1, 1, *model.latent_shape, device=model.device), np.zeros(1, "M8[s]"))

    return measured(decode)
