"""A model: autoencoder, denoiser and statistics, as one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from xappa.diffusion.gaussian import GaussianPrior
from xappa.diffusion.schedule import Schedule
from xappa.errors import ModelError, choose
from xappa.model.checkpointed_map import map_states
from xappa.model.latent_normalisation import ChannelLatents, LatentNormalisation
from xappa.model.linear_decoder import LinearDecoder
from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.model.normalisation import Normalisation
from xappa.model.precision import PRECISIONS, autocast
from xappa.model.protocol import Covariance
from xappa.model.state import StateSpec
from xappa.model.window_denoiser import WindowDenoiser

KEPT = 4 * 2**30
"""Bytes that the graphs of encoded or decoded states may take together; larger ones are computed anew when needed."""


@dataclass(eq=False)
class Model:
    """Everything that sampling and decoding need; the same for our own models and for official ones.

    Parameters
    ----------
    name : str
        Name in the registry, or of the folder.
    digest : str
        Hash of all that its results depend on: two models with one digest give the same.
    spec : StateSpec
        Variables, levels, grid and times.
    autoencoder : ConvAutoencoder
    denoiser : Module
        ``denoiser(x_t (B, K, h, w, C), sigma, date (K, 4))``; with a method ``covariance(v, sigma)`` where it has a
        static prior, and ``linear()``, the part of it that is linear in x_t.
    schedule : Schedule
        Noise levels of the denoiser's training.
    normalisation : Normalisation
        Between physical fields and those of the autoencoder.
    latents : LatentNormalisation
        Between the autoencoder's latents and those of the denoiser.
    tangent : LinearDecoder or None
        Linear map nearest to the decoder; None where none was fitted, and the decoder itself is differentiated.
    statistics : dict of arrays
        What else is known of the state, where it is: ``surface_height`` (m) and ``land`` (lat, lon), ``deviation``
        (channel,) in physical units.
    about : dict
        Where the model comes from, and what was measured, for the model card.
    precision : {"float32", "bfloat16", "float16"}
        Precision of the networks' products, see `models.precision`. The digest does not depend on it.
    graph_budget : int
        Bytes that graphs of encoded or decoded states may take together; the digest does not depend on it.
    """

    name: str
    digest: str
    spec: StateSpec
    autoencoder: ConvAutoencoder
    denoiser: nn.Module
    schedule: Schedule
    normalisation: Normalisation
    latents: LatentNormalisation
    tangent: LinearDecoder | None = None
    statistics: dict[str, np.ndarray] = field(default_factory=dict)
    about: dict = field(default_factory=dict)
    precision: str = "float32"
    graph_budget: int = KEPT

    def __repr__(self) -> str:
        channels, height, width = self.spec.shape
        parameters = sum(p.numel() for net in (self.autoencoder, self.denoiser) for p in net.parameters())
        return (
            f"<xappa.Model {self.name!r}: {channels} channels on {height} x {width} points, every "
            f"{self.spec.step_hours} h, windows of {self.spec.window}, {parameters / 1e6:.1f} M parameters, "
            f"digest {self.digest[:12]}{'' if self.precision == 'float32' else ', in ' + self.precision}>"
        )

    def __dask_tokenize__(self) -> tuple[str, str, str]:
        return ("xappa.Model", self.digest, self.precision)

    @property
    def address(self) -> str:
        """Empty: a model does not know under which name or path it was loaded."""
        return ""

    @property
    def latent_dims(self) -> tuple[str, ...]:
        """Names of the dimensions of a latent state."""
        return ("latent_y", "latent_x", "latent_channel")

    @property
    def zonal_latents(self) -> bool:
        """Whether latents are (latitude, longitude, channel), with longitude round the globe: they are."""
        return True

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(latitude, longitude, channel) of a latent state."""
        return self.autoencoder.spec.latent_shape

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.autoencoder.parameters()).device

    def to(self, device: torch.device | str) -> Model:
        """Move the networks, in place."""
        for network in (self.autoencoder, self.denoiser, self.tangent):
            if network is not None:
                network.to(device)
        return self

    def with_precision(self, precision: str) -> Model:
        """The same model, with the same networks, evaluated in another precision.

        Raises
        ------
        OptionError
            If it is none of `models.precision.PRECISIONS`.
        """
        choose("precision", precision, PRECISIONS)
        return self if precision == self.precision else replace(self, precision=precision)

    @property
    def nbytes(self) -> int:
        """Bytes of the networks: their parameters, and the tables that go with them."""
        networks = [network for network in (self.autoencoder, self.denoiser, self.tangent) if network is not None]
        return sum(x.nbytes for network in networks for x in (*network.parameters(), *network.buffers()))

    @property
    def scale(self) -> np.ndarray:
        """Physical units a standardised unit: (channel, latitude, longitude)."""
        return self.normalisation.scale

    @property
    def error(self) -> np.ndarray | None:
        """Error deviation of the autoencoder, standardised units (channel, latitude, longitude); None if unknown."""
        return self.normalisation.error

    @property
    def mask(self) -> np.ndarray:
        """True where a channel exists: (channel, latitude, longitude)."""
        return self.normalisation.mask

    @property
    def surface_height(self) -> np.ndarray | None:
        """Height of the model's surface, m: (latitude, longitude); None if unknown."""
        return self.statistics.get("surface_height")

    @property
    def constant_mean(self) -> bool:
        """Whether the mean state is the same at all times."""
        return self.normalisation.constant_mean

    @property
    def latent_noise(self) -> np.ndarray | None:
        """Variance of the noise that an official autoencoder's latents were trained with, standardised: (C,)."""
        if not isinstance(self.latents, ChannelLatents):
            return None
        return np.square(self.latents.noise_level / self.latents.effective)

    @property
    def static_prior(self) -> bool:
        """Whether the denoiser knows a covariance of the latents that guidance can use instead of its Jacobian."""
        return hasattr(self.denoiser, "covariance")

    @property
    def covariance(self) -> Covariance | None:
        """Covariance of the latents given noisy ones, (v, sigma), where the denoiser knows one."""
        return getattr(self.denoiser, "covariance", None)

    def to_linear(self) -> Model:
        """The same model without what of its denoiser is not linear; only with a `static_prior`."""
        return replace(self, denoiser=self.denoiser.to_linear())  # type: ignore[operator]

    def make_window_denoisers(self) -> WindowDenoiser:
        """Denoisers of windows, for one run of a sampler."""
        return WindowDenoiser(self)

    def denoise(self, x: Tensor, sigma: Tensor, times: np.ndarray) -> Tensor:
        """Estimate of latents (B, window, h, w, C) from noisy ones, at `times` (window,)."""
        return self.make_window_denoisers().make_denoiser(times)(x, sigma)

    def compute_sum_covariance(
        self, weight: Tensor, channel: Tensor, row: Tensor, column: Tensor, times: np.ndarray
    ) -> Tensor | None:
        """Prior covariance of sums of few numbers of one state, (M, M); None without Gaussian prior or linear decoder.

        Parameters
        ----------
        weight, channel, row, column : Tensor, (M, P)
            The numbers of each sum, of standardised fields.
        times : array of datetime64, (1,)
        """
        prior = getattr(self.denoiser, "prior", None)
        if self.tangent is None or not isinstance(prior, GaussianPrior):
            return None
        functionals = self.tangent.adjoint(weight, channel, row, column, self.latent_shape[:2])
        return prior.compute_covariance(self.latents.restore_linear(functionals[:, None], times)[:, 0])

    def climatology(self, times: np.ndarray) -> np.ndarray:
        """Mean state at `times` (datetime64): (time, channel, latitude, longitude), physical units."""
        return self.normalisation.mean(times)

    def destandardise(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Standardised fields (..., time, channel, lat, lon) in physical units; NaN where a channel does not exist."""
        return self.normalisation.destandardise(fields, times)

    def standardise(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Physical fields (..., time, channel, lat, lon), standardised; 0 where missing."""
        return self.normalisation.standardise(fields, times)

    def encode(self, fields: Tensor, times: np.ndarray) -> Tensor:
        """Standardised fields (..., time, channel, lat, lon) to standardised latents (..., time, h, w, C)."""
        return self.latents.standardise(self._map_states(self.autoencoder.encode, fields), times)

    def decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """Standardised latents (..., time, h, w, C) to standardised fields (..., time, channel, lat, lon)."""
        return self._map_states(self.autoencoder.decode, self.latents.restore(latents, times))

    @property
    def has_linear_decoder(self) -> bool:
        """Whether `linear_decode` can be called."""
        return self.tangent is not None

    @property
    def graph_bytes(self) -> int:
        """Bytes of the graph of one decoded state."""
        return self.autoencoder.spec.graph_bytes

    @property
    def states_per_batch(self) -> int:
        """States that are encoded or decoded together."""
        return max(1, self.graph_budget // self.graph_bytes)

    def with_graph_budget(self, graph_budget: int) -> Model:
        """The same model, with the same networks, whose graphs of states take no more than `graph_budget` bytes."""
        return self if graph_budget == self.graph_budget else replace(self, graph_budget=graph_budget)

    def decode_by_time(
        self, latents: Tensor, times: np.ndarray, reads: Sequence[Callable[[Tensor], Tensor]]
    ) -> list[Tensor]:
        """Values of an operator on decoded states, one time after the other, so that no fields are kept.

        Parameters
        ----------
        latents : Tensor (B, time, h, w, C)
        times : array of datetime64, (time,)
        reads : sequence of callable
            One a time: standardised fields (b, channel, lat, lon) -> (b, ...).
        """
        raw = self.latents.restore(latents, times)

        def decoded(read: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            def function(batch: Tensor) -> Tensor:
                with autocast(batch.device, self.precision):
                    fields = self.autoencoder.decode(batch)
                return read(fields.to(batch.dtype))

            return function

        return [map_states(decoded(read), raw[:, k], self.states_per_batch) for k, read in enumerate(reads)]

    def _map_states(self, coder: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
        """Encode or decode states (..., time, a, b, c): all at once, or as many as memory is planned for."""

        def function(batch: Tensor) -> Tensor:
            with autocast(batch.device, self.precision):
                return coder(batch).to(batch.dtype)

        batch, size = states.flatten(0, -4), self.states_per_batch
        # In float16 cotangents must be scaled, which is done there.
        apart = len(batch) > size or self.precision == "float16"
        result = map_states(function, batch, size) if apart else function(batch)
        return result.unflatten(0, states.shape[:-3])

    def linear_decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """Linear map that stands in for the derivative of `decode`; arguments as there. Only with a `tangent`."""
        if self.tangent is None:
            raise ModelError(f"Model {self.name!r} has no tangent; differentiate decode instead.")
        raw = self.latents.restore_linear(latents, times)
        return self.tangent(raw.flatten(0, -4)).unflatten(0, latents.shape[:-3])
