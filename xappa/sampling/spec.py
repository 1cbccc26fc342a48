"""Specification of a sampling task: numbers only, small, picklable, with a token."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from dask.base import normalize_token

from xappa.background import Background
from xappa.model.protocol import GenerativeModel
from xappa.operators.composite import CompositeOperator
from xappa.operators.sparse import SparseOperator
from xappa.segments import Segments
from xappa.tokens import tokenize as token_of
from xappa.workers import VersionGuard


@dataclass(frozen=True)
class ContinueFrom:
    """Given states of the segment before: each member is held to its own."""


@dataclass(frozen=True, eq=False)
class FixedState:
    """Latent states that a sampling task is given; their values come separately, as (member, frame, *latent).

    Parameters
    ----------
    frames : tuple of int
        Index of each along the times of the trajectory.
    use : WarmStart, LatentObservation or ContinueFrom
        Their use; its own fields are not read.
    key : str
        Hash of the values.
    """

    frames: tuple[int, ...]
    use: Background | ContinueFrom
    key: str


@dataclass(frozen=True)
class Autoregressive:
    """A trajectory that is sampled in pieces, each given the last states of the piece before.

    Parameters
    ----------
    first : int
        Times of the first piece, which whole windows cover.
    context : int
        Times that a later piece, one window, shares with the one before.
    """

    first: int
    context: int


@dataclass(frozen=True, eq=False)
class SamplingSpec(VersionGuard):
    """One analysis: which model, which times, which observations, how sampled.

    Parameters
    ----------
    model : str or GenerativeModel
        As `xappa.load` takes it.
    digest : str
        The model's hash; a worker that loads another model under the same name refuses.
    device : str or None
    times : array (time,), datetime64[s]
        Consecutive model times of the trajectory, padded to whole windows.
    observations : SparseOperator, CompositeOperator or None
        The observation operator with the observed values and their errors; None samples the prior.
    guidance, sampler : objects of `xappa.guidance` and `xappa.samplers`
    stitching : str
        Method that joins windows.
    seed : int
    dress : bool
        Whether decoded members receive noise of the autoencoder's error.
    clip : bool
        Whether quantities that cannot be negative are clipped at 0.
    correlation : Dataset or None
        Coordinates of the reports, from `select_correlation_coordinates`; None where their errors are independent.
    fixed_states : tuple of FixedState
        Known latent states, exact or with an error: backgrounds, and initial states of forecasts.
    autoregressive : Autoregressive or None
        None samples the whole trajectory, or each of its segments, at once.
    segments : Independent, Chain or None
        Method that cuts a long trajectory; None leaves it whole.
    precision : str
        Precision of the model's networks, as `xappa.load` takes it.
    memory : float or None
        Bytes that sampling may use; None: most of what is free. Results agree to rounding, and have one token.
    """

    model: str | GenerativeModel
    digest: str
    device: str | None
    times: np.ndarray
    observations: SparseOperator | CompositeOperator | None
    guidance: Any
    sampler: Any
    stitching: str
    seed: int
    dress: bool = True
    clip: bool = True
    correlation: xr.Dataset | None = None
    fixed_states: tuple[FixedState, ...] = ()
    autoregressive: Autoregressive | None = None
    segments: Segments | None = None
    precision: str = "float32"
    memory: float | None = None

    @property
    def antithetic(self) -> bool:
        """Whether members are drawn in pairs of opposite noise."""
        return getattr(self.sampler, "antithetic", False)

    def evaluations(self, window: int) -> int:
        """Calls of the sampler's denoiser a member, for a model that sees so many times at once."""
        if self.autoregressive is None:
            return self.sampler.evaluations
        pieces = (len(self.times) - self.autoregressive.first) // (window - self.autoregressive.context)
        return self.sampler.evaluations * (1 + pieces)

    def select_decoding_options(self) -> SamplingSpec:
        """Copy with only the options that decoding depends on."""
        return replace(
            self, times=self.times[:0], observations=None, guidance=None, correlation=None, fixed_states=(),
            autoregressive=None,
            segments=None,
        )  # fmt: skip

    def list_latent_dependencies(self) -> tuple:
        """All that the latents of a member depend on: weights, observations, operator, options and seed."""
        arrays = [] if self.observations is None else self.observations.list_arrays()
        observations = tuple(_hash_values(values) for values in arrays)
        correlation = None if self.correlation is None else normalize_token(self.correlation)
        given = tuple((part.frames, repr(part.use), part.key) for part in self.fixed_states)
        options = (
            token_of(self.guidance),
            token_of(self.sampler),
            self.stitching,
            self.seed,
            repr(self.autoregressive),
        )
        times = _hash_values(self.times.astype("M8[s]"))
        return (self.digest, self.precision, times, observations, options, given, correlation)

    def __dask_tokenize__(self) -> tuple:
        return (*self.list_latent_dependencies(), self.dress, self.clip, repr(self.segments))


def _hash_values(values: np.ndarray) -> str:
    values = np.ascontiguousarray(values)
    return f"{values.dtype}{values.shape}{hashlib.blake2b(values.view(np.uint8).data, digest_size=16).hexdigest()}"


def compute_overlap(window: int) -> int:
    """Times that neighbouring windows share: half of them, as in Appa."""
    return window // 2


def pad_times(times: np.ndarray, window: int, shared: int, step: np.timedelta64) -> np.ndarray:
    """Consecutive times, continued until windows that share `shared` times fill them exactly."""
    short = window - len(times)
    missing = short if short > 0 else short % (window - shared)
    return np.concatenate([times, times[-1] + step * np.arange(1, missing + 1)])
