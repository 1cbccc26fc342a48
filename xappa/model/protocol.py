"""Protocols of priors: what a custom prior must have, and what sampling and decoding use of a model.

`Prior` is what users write, `IdentityCoder` serves priors of the fields themselves, `GenerativeModel` is the interface
of everything that samples. `xappa.model.model.Model` has it for model directories, `xappa.model.custom.CustomModel`
for an object that is a `Prior`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xappa._typing import Denoise
from xappa.model.state import StateSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from xappa.diffusion.schedule import NoiseLevels

Covariance = Callable[["Tensor", "Tensor"], "Tensor"]
"""(v (B, window, *latent), sigma 0-d) -> Cov[x | x_t] v."""


class Prior(Protocol):
    r"""A diffusion prior of trajectories of states: what an object needs to be given as ``model=``.

    Latents may have any shape: ``latent_shape`` is that of one state, such as (latitude, longitude, channel), (vertex,
    channel) or (face, y, x, channel). Fields are standardised: :math:`(x - \mathrm{mean}) / \mathrm{scale}`.

    Attributes
    ----------
    spec : StateSpec
        Variables, levels, grid, step in time, and the number of states (`window`) that `denoise` sees at once; 1 is
        allowed.
    schedule : Schedule
        Noise levels: `xappa.diffusion.schedule`, or an object with ``sigma_min``, ``sigma_max`` and ``schedule(t)``.
    latent_shape : tuple of int
        Shape of the latents of one state; `IdentityCoder` has that of the fields.

    Notes
    -----
    What else such an object may have, by name, and what holds without it:

    ========================  ============================================================  =========================
    ``name``                  what results call it                                          name of the class
    ``token``                 text that changes with whatever changes results               a hash of code and weights
    ``mean(times)``           (time, channel, latitude, longitude), physical units          0
    ``scale``                 deviation, broadcasts to (channel, latitude, longitude)       1
    ``mask``                  True where a channel has values, like ``scale``               everywhere
    ``error``                 deviation of the decoder's error, standardised, like          unknown: not counted
                              ``scale``
    ``surface_height``        (latitude, longitude), m                                      unknown
    ``linear_decode``         linear map near the decoder's derivative; (latents, times)    the derivative itself
    ``covariance``            (v, sigma): Cov[x | x_t] v, if it does not depend on x_t      no ``"jacobian-free"``
    ``latent_dims``           names of the latents' dimensions                              ``latent_0``, ...
    ``zonal_latents``         whether latents are (latitude, longitude, channel) of the     False: errors of
                              whole globe                                                   backgrounds are independent
    ``device``, ``to``        where it is, and how it is moved                              it stays where it is
    ========================  ============================================================  =========================
    """

    @property
    def spec(self) -> StateSpec:
        """Variables, levels, grid and times."""

    @property
    def schedule(self) -> NoiseLevels:
        """Noise levels."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of the latents of one state."""

    def encode(self, fields: Tensor, times: np.ndarray) -> Tensor:
        """Latents (..., time, *latent_shape) of standardised fields (..., time, channel, latitude, longitude)."""

    def decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """Standardised fields of latents, each state by itself; differentiable."""

    def denoise(self, x: Tensor, sigma: Tensor, times: np.ndarray) -> Tensor:
        """Estimate of latents E[x | x + sigma noise].

        Parameters
        ----------
        x : Tensor, (B, window, *latent_shape)
            Noisy latents: x + sigma times standard normal noise.
        sigma : Tensor, ()
            Deviation of the noise.
        times : array of datetime64, (window,)
            Dates of the states.

        Returns
        -------
        Tensor
            Like `x`; differentiable with respect to it.
        """


class IdentityCoder:
    """The coder of priors of the fields themselves: latents are standardised fields (channel, latitude, longitude)."""

    spec: StateSpec

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one state."""
        return self.spec.shape

    @property
    def latent_dims(self) -> tuple[str, ...]:
        """Names of the latents' dimensions."""
        return ("latent_channel", "latent_y", "latent_x")

    def encode(self, fields: Tensor, times: np.ndarray) -> Tensor:
        """The fields themselves."""
        return fields

    def decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """The fields themselves."""
        return latents


class WindowDenoisers(Protocol):
    """Denoisers of windows, for one run of a sampler."""

    def make_denoiser(self, times: np.ndarray) -> Denoise:
        """The denoiser of a window at `times` (window,), datetime64."""


class GenerativeModel(Prior, Protocol):
    """All that sampling, decoding and the tasks use of a model."""

    @property
    def name(self) -> str:
        """Name in the attributes of results."""

    @property
    def digest(self) -> str:
        """Hash of all that results depend on: two models with one digest give the same."""

    @property
    def address(self) -> str:
        """Address by which `xappa.load` finds it again; empty if unknown."""

    @property
    def precision(self) -> str:
        """In which networks are evaluated."""

    @property
    def device(self) -> torch.device:
        """Device."""

    @property
    def nbytes(self) -> int:
        """Bytes of the networks."""

    @property
    def graph_budget(self) -> int:
        """Bytes that graphs of encoded or decoded states may take together."""

    @property
    def graph_bytes(self) -> int:
        """Bytes of the graph of one decoded state, at least 1."""

    @property
    def states_per_batch(self) -> int:
        """States that are encoded or decoded together."""

    @property
    def latent_dims(self) -> tuple[str, ...]:
        """Names of the latents' dimensions, each beginning with ``latent_``."""

    @property
    def zonal_latents(self) -> bool:
        """Whether latents are (latitude, longitude, channel), with longitude round the globe."""

    @property
    def scale(self) -> np.ndarray:
        """Physical units a standardised unit: (channel, latitude, longitude)."""

    @property
    def mask(self) -> np.ndarray:
        """True where a channel exists: (channel, latitude, longitude)."""

    @property
    def error(self) -> np.ndarray | None:
        """Deviation of the decoder's error, standardised (channel, latitude, longitude); None if unknown."""

    @property
    def surface_height(self) -> np.ndarray | None:
        """Height of the surface, m: (latitude, longitude); None if unknown."""

    @property
    def constant_mean(self) -> bool:
        """Whether the mean state is the same at all times."""

    @property
    def statistics(self) -> Mapping[str, np.ndarray]:
        """Further static fields of the state, by name."""

    @property
    def static_prior(self) -> bool:
        """Whether there is a `covariance`."""

    @property
    def covariance(self) -> Covariance | None:
        """Covariance of the latents given noisy ones, where it does not depend on these."""

    @property
    def has_linear_decoder(self) -> bool:
        """Whether `linear_decode` can be called."""

    @property
    def latent_noise(self) -> np.ndarray | None:
        """Variance of the noise that the coder's latents were trained with, standardised, by channel."""

    def to(self, device: torch.device | str) -> GenerativeModel:
        """Move the networks, in place."""

    def with_precision(self, precision: str) -> GenerativeModel:
        """The same model, evaluated in another precision."""

    def with_graph_budget(self, graph_budget: int) -> GenerativeModel:
        """The same model, whose graphs of states take no more than `graph_budget` bytes."""

    def to_linear(self) -> GenerativeModel:
        """The same model without what of its denoiser is not linear; only with a `static_prior`."""

    def make_window_denoisers(self) -> WindowDenoisers:
        """Denoisers of windows, for one run of a sampler."""

    def compute_sum_covariance(
        self, weight: Tensor, channel: Tensor, row: Tensor, column: Tensor, times: np.ndarray
    ) -> Tensor | None:
        """Prior covariance (M, M) of sums of few numbers of one standardised state; None where it is not known."""

    def climatology(self, times: np.ndarray) -> np.ndarray:
        """Mean state at `times`: (time, channel, latitude, longitude), physical units."""

    def destandardise(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Standardised fields in physical units; NaN where a channel does not exist."""

    def standardise(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Physical fields, standardised, float32; 0 where missing."""

    def decode_by_time(
        self, latents: Tensor, times: np.ndarray, reads: Sequence[Callable[[Tensor], Tensor]]
    ) -> list[Tensor]:
        """Values of an operator on decoded states, one time after the other, so that no fields are kept."""

    def linear_decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """Linear map that stands in for the derivative of `decode`; only with `has_linear_decoder`."""


ModelLike = str | Path | Prior
"""Type of ``model=``: a name, the path of a model's files, or a custom prior."""

REQUIRED = ("spec", "schedule", "latent_shape", "encode", "decode", "denoise")
"""Attributes and methods that a `Prior` needs."""


def list_missing(candidate: Any) -> list[str]:
    """Attributes and methods of a `Prior` that an object lacks."""
    return [name for name in REQUIRED if not hasattr(candidate, name)]
