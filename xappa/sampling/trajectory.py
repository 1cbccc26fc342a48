"""A trajectory is sampled in pieces: all at once, or each given the last states of the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from xappa._typing import Denoise
from xappa.devices import trim_host_memory
from xappa.diffusion.composition import TrajectoryDenoiser, count_windows
from xappa.diffusion.guidance import Covariance, GuidedDenoiser, Observation
from xappa.diffusion.joint import join_observations
from xappa.diffusion.noise import Noise, draw_member_noise
from xappa.diffusion.schedule import Truncated
from xappa.model.protocol import GenerativeModel, WindowDenoisers
from xappa.operators.composite import CompositeOperator
from xappa.operators.sparse import SparseOperator
from xappa.sampling.background_terms import BackgroundTerm, make_context_term
from xappa.sampling.finite_check import FiniteCheck
from xappa.sampling.fit import compute_departures, compute_fit_statistics, warn_of_errors, warn_of_poor_fit
from xappa.sampling.latent_observations import make_model_operator, observe_latents
from xappa.sampling.spec import SamplingSpec, compute_overlap
from xappa.sampling.stated_errors import detect_misstated_errors

REPORTS = 2**32
"""Number of the first draw that perturbs reports, out of the samplers' reach."""
STATES = 2**33
"""Number of the first draw that perturbs states that are given."""


@dataclass
class TrajectorySampler:
    """One sampling task, which goes piece by piece through its trajectory.

    Parameters
    ----------
    model : GenerativeModel
    plan : SamplingSpec
    members : tuple of int
    progress : callable, optional
        ``progress(done, total)``.
    guided_denoisers : list of list of GuidedDenoiser
        Of the pieces that are done, the guided denoisers of their windows.
    """

    model: GenerativeModel
    plan: SamplingSpec
    members: tuple[int, ...]
    progress: Callable[[int, int], None] | None
    guided_denoisers: list[list[GuidedDenoiser]] = field(default_factory=list)

    def sample_block(
        self,
        first: int,
        last: int,
        known: Sequence[BackgroundTerm],
        start: tuple[Tensor, float] | None = None,
        observed: bool = True,
    ) -> Tensor:
        """Latents (member, time, h, w, C) of the times from `first` to before `last`, all at once."""
        model, plan = self.model, self.plan
        denoise, denoisers = self.build_denoiser(first, last, known, observed)
        hours = plan.times[first:last].astype("datetime64[h]").astype("i8")
        # A later piece sees times of the one before again, and must not see their noise again.
        seed = plan.seed if not self.guided_denoisers else _derive_seed(plan.seed, len(self.guided_denoisers))
        noise = Noise(seed, self.members, tuple(hours.tolist()), model.latent_shape, self.plan.antithetic)
        white = noise.start().to(model.device)
        if start is None:
            schedule: Callable[[Tensor], Tensor] = model.schedule
            x = schedule(torch.ones(1)).item() * white
        else:
            schedule = Truncated.below(model.schedule, start[1])
            x = start[0][:, first:last] + schedule(torch.ones(1)).item() * white
        latents = plan.sampler(denoise, x, noise, schedule, self._advance)
        self.guided_denoisers.append(denoisers)
        return latents

    def roll_out(self, latents: Tensor, shared: int) -> Tensor:
        """The same continued to the end of the trajectory, a window at a time."""
        window = self.model.spec.window
        while (done := latents.shape[1]) < len(self.plan.times):
            begin = done - shared
            before = make_context_term(latents[:, begin:], range(begin, done))
            following = self.sample_block(begin, begin + window, [before], observed=False)
            latents = torch.cat([latents, following[:, shared:]], 1)
        return latents

    def build_denoiser(
        self, first: int, last: int, known: Sequence[BackgroundTerm], observed: bool
    ) -> tuple[Denoise, list[GuidedDenoiser]]:
        """The denoiser of a stretch that whole windows cover, and the guided ones in it."""
        plan, window, shared = self.plan, self.model.spec.window, compute_overlap(self.model.spec.window)
        starts = [first + begin for begin in list_window_starts(last - first, window)]
        priors: list[Denoise] = [
            self._window_denoisers.make_denoiser(plan.times[start : start + window]) for start in starts
        ]
        covariance: Covariance | None = self.model.covariance
        stretches = [(start, window, prior) for start, prior in zip(starts, priors, strict=True)]
        if len(starts) > 1 and getattr(plan.guidance, "scope", "window") == "trajectory":
            stretches = [(first, last - first, TrajectoryDenoiser(priors, window, shared, plan.stitching))]
            if covariance is not None:
                covariance = TrajectoryDenoiser([covariance] * len(starts), window, shared, plan.stitching)
        denoisers, guards = [], []
        for start, length, prior in stretches:
            observation = self._build_observation(start, length, known, observed)
            denoiser = prior if observation is None else plan.guidance.guide(prior, observation, covariance)
            denoisers += [denoiser] if isinstance(denoiser, GuidedDenoiser) else []
            guards.append(FiniteCheck(denoiser, prior, observation, self.members, self._describe_period(start, length)))
        if len(guards) < len(starts):
            return guards[0], denoisers
        return TrajectoryDenoiser(guards, window, shared, plan.stitching), denoisers

    def _build_observation(
        self, start: int, length: int, known: Sequence[BackgroundTerm], observed: bool
    ) -> Observation | None:
        """All that is observed of a stretch."""
        model, plan = self.model, self.plan
        times = plan.times[start : start + length]
        hours = times.astype("datetime64[h]").astype("i8").tolist()

        def perturbing(k: int) -> Tensor:
            draw, opposite = STATES + k, self.plan.antithetic
            drawn = draw_member_noise(plan.seed, self.members, hours, model.latent_shape, draw, antithetic=opposite)
            return drawn.to(model.device)

        found = [part.make_observation(start, length, perturbing) for part in known]
        inside = None if plan.stencil is None or not observed else plan.stencil.select_window(start, length)
        if inside is not None and len(inside):
            reports = observe_latents(model, inside, times, plan.correlation)
            found.append(replace(reports, noise=self._make_report_noise(inside)))
        return join_observations([observation for observation in found if observation is not None])

    def _make_report_noise(self, rows: SparseOperator | CompositeOperator) -> Callable[[int], Tensor]:
        """Noise of reports, for methods that perturb them: a report's is the same in each window."""
        plan = self.plan
        if plan.stencil is None:
            raise ValueError("no reports")
        shape = (len(plan.stencil.names), 1 + int(np.max(plan.stencil.observation)))
        codes = np.array([plan.stencil.names.index(name) for name in rows.names], int)[rows.variable]

        def noise(k: int) -> Tensor:
            drawn = draw_member_noise(plan.seed, self.members, [0], shape, REPORTS + k, antithetic=self.plan.antithetic)
            return drawn[:, 0, codes, rows.observation].to(self.model.device)

        return noise

    @cached_property
    def _window_denoisers(self) -> WindowDenoisers:
        return self.model.make_window_denoisers()

    def _describe_period(self, start: int, length: int) -> str:
        times = self.plan.times[start : start + length]
        return f"in the window from {np.datetime_as_string(times[0], 'm')} to {np.datetime_as_string(times[-1], 'm')}"

    def _advance(self, done: int, total: int) -> None:
        trim_host_memory()
        if self.progress is not None:
            before = len(self.guided_denoisers) * total
            self.progress(before + done, self.plan.evaluations(self.model.spec.window))


def list_window_starts(times: int, window: int) -> list[int]:
    """First times of the windows that cover so many times."""
    shared = compute_overlap(window)
    return [n * (window - shared) for n in range(count_windows(times, window, shared))]


def _derive_seed(seed: int, number: int) -> int:
    """Seed of a later piece of the same run."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def evaluate_fit(model: GenerativeModel, plan: SamplingSpec, latents: Tensor) -> dict[str, np.ndarray]:
    """How the sampled states fit the reports; a warning where that is implausible."""
    window = model.spec.window

    def residuals(rows: SparseOperator | CompositeOperator, start: int, part: Tensor) -> tuple[np.ndarray, np.ndarray]:
        times = plan.times[start : start + window]
        reading = make_model_operator(model, rows, times)
        frames = np.asarray(reading.frames)
        fields = [model.decode(member[None, frames], times[frames]) for member in part]
        predicted = torch.cat([reading(field) for field in fields])
        return compute_departures(reading.y, predicted), np.asarray(reading.deviation)

    if plan.stencil is None:
        return {}
    statistics = compute_fit_statistics(
        plan.stencil, latents, list_window_starts(latents.shape[1], window), window, residuals
    )
    warned = warn_of_poor_fit(statistics, plan.stencil.names, plan.sampler.steps)
    # Errors that are correlated are not those of single reports.
    if (
        not warned
        and plan.correlation is None
        and (wrong := detect_misstated_errors(model, plan.stencil, plan.times)) is not None
    ):
        warn_of_errors(wrong)
    return statistics


def collect_series(pieces: Sequence[Sequence[GuidedDenoiser]], evaluations: int) -> dict[str, np.ndarray]:
    """Noise levels, and the worst residual and number of iterations of the windows, at every evaluation."""
    if not any(pieces):
        return {}
    sigma = [np.array(parts[0].sigma) if parts else np.full(evaluations, np.nan) for parts in pieces]
    out = {"sigma": np.concatenate(sigma)}
    if all(part.residual for parts in pieces for part in parts):
        series = {"residual": [], "iterations": []}  # type: dict[str, list[np.ndarray]]
        for parts in pieces:
            for name, rows in series.items():
                found = [torch.stack(getattr(part, name)).numpy() for part in parts]
                rows.append(np.max(found, axis=0) if found else np.full((evaluations, 1), np.nan))
        members = max(rows.shape[1] for rows in series["residual"])
        for name, rows in series.items():
            out[name] = np.concatenate([np.broadcast_to(part, (len(part), members)) for part in rows]).astype("f4")
    return out
