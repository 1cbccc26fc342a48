"""A model: autoencoder, denoiser and statistics, as one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from xappa.diffusion.schedule import Schedule
from xappa.models.autoencoder import ConvAutoencoder
from xappa.models.climatology import Climatology, season_basis
from xappa.models.state import StateSpec
from xappa.models.tangent import Tangent


@dataclass(eq=False)
class Model:
    """Everything that sampling and decoding need.

    Parameters
    ----------
    name : str
        Name in the registry, or of the folder.
    digest : str
        Hash of all its files: two models with one digest give the same results.
    spec : StateSpec
        Variables, levels, grid and times.
    autoencoder : ConvAutoencoder
    tangent : Tangent
        Linear map nearest to the decoder.
    denoiser : Module
        ``denoiser(x_t (B, K, h, w, C), sigma, date (K, 4))``; with a method ``covariance(v, sigma)`` where it has a
        static prior.
    schedule : Schedule
        Noise levels of the denoiser's training.
    climatology : Climatology
        Mean state, physical units.
    statistics : dict of arrays
        ``scale`` (channel, lat, lon), physical units a standardised unit; ``mask`` (channel, lat, lon);
        ``deviation`` (channel,); ``error`` (channel, lat, lon) of the autoencoder, in units of the scale;
        ``surface_height`` (m) and ``land`` (lat, lon); ``latent_mean`` (h, w, C); ``latent_deviation`` (3, h, w, C),
        coefficients of the logarithm of the latents' deviation.
    scores : dict
        What was measured, for the model card.
    """

    name: str
    digest: str
    spec: StateSpec
    autoencoder: ConvAutoencoder
    tangent: Tangent
    denoiser: nn.Module
    schedule: Schedule
    climatology: Climatology
    statistics: dict[str, np.ndarray]
    scores: dict = field(default_factory=dict)

    def __repr__(self) -> str:
        channels, height, width = self.spec.shape
        parameters = sum(p.numel() for net in (self.autoencoder, self.denoiser) for p in net.parameters())
        return (
            f"<xappa.Model {self.name!r}: {channels} channels on {height} x {width} points, every "
            f"{self.spec.step_hours} h, windows of {self.spec.window}, {parameters / 1e6:.1f} M parameters, "
            f"digest {self.digest[:12]}>"
        )

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("xappa.Model", self.digest)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(latitude, longitude, channel) of a latent state."""
        return self.autoencoder.spec.latent_shape

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.autoencoder.parameters()).device

    @property
    def scale(self) -> np.ndarray:
        """Physical units a standardised unit: (channel, latitude, longitude)."""
        return self.statistics["scale"]

    @property
    def error(self) -> np.ndarray:
        """Error deviation of the autoencoder, standardised units: (channel, latitude, longitude)."""
        return self.statistics["error"]

    @property
    def surface_height(self) -> np.ndarray:
        """Height of the model's surface, m: (latitude, longitude)."""
        return self.statistics["surface_height"]

    @cached_property
    def mask(self) -> np.ndarray:
        """True where a channel exists: (channel, latitude, longitude)."""
        return self.statistics["mask"].astype(bool)

    def latent_deviation(self, times: np.ndarray) -> Tensor:
        """Deviation of the latents at `times`: (time, h, w, C)."""
        log = np.tensordot(season_basis(times).astype("f4"), self.statistics["latent_deviation"], 1)
        return torch.from_numpy(np.exp(log).astype("f4")).to(self.device)

    def encode(self, fields: Tensor, times: np.ndarray) -> Tensor:
        """Standardised fields (..., time, channel, lat, lon) to standardised latents (..., time, h, w, C)."""
        latents = self.autoencoder.encode(fields.flatten(0, -4))
        mean = torch.from_numpy(self.statistics["latent_mean"]).to(latents)
        return (latents.unflatten(0, fields.shape[:-3]) - mean) / self.latent_deviation(times).to(latents)

    def decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """Standardised latents (..., time, h, w, C) to standardised fields (..., time, channel, lat, lon)."""
        mean = torch.from_numpy(self.statistics["latent_mean"]).to(latents)
        raw = latents * self.latent_deviation(times).to(latents) + mean
        return self.autoencoder.decode(raw.flatten(0, -4)).unflatten(0, latents.shape[:-3])

    def linear_decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """Linear map that stands in for the derivative of `decode`; arguments as there."""
        raw = latents * self.latent_deviation(times).to(latents)
        return self.tangent(raw.flatten(0, -4)).unflatten(0, latents.shape[:-3])

    def physical(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Standardised fields (..., time, channel, lat, lon) in physical units; NaN where a channel does not exist."""
        values = fields * self.scale + self.climatology(times)
        return np.where(self.mask, values, np.float32(np.nan))

    def standardised(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Physical fields (..., time, channel, lat, lon) as standardised anomalies; 0 where missing."""
        return np.nan_to_num((fields - self.climatology(times)) / self.scale).astype("f4")
