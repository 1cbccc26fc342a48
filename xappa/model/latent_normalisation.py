"""Latents as an autoencoder makes them, and as the diffusion model sees them: of mean zero and unit variance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from xappa.model.climatology import season_basis


class LatentNormalisation(ABC):
    """A map, affine at each time, between raw and standardised latents (..., time, h, w, C).

    Times are datetime64 arrays (time,). Results have the dtype and the device of the latents.

    Attributes
    ----------
    kind : str
        Name in model directories (`LATENTS`).
    """

    kind: ClassVar[str]

    @abstractmethod
    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything that `from_arrays` needs, by name; names begin with ``latent_``."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The normalisation that `to_arrays` wrote; other arrays are ignored."""

    @abstractmethod
    def standardise(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """Standardised latents of raw ones."""

    @abstractmethod
    def restore(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """Raw latents of standardised ones: the inverse of `standardise`."""

    @abstractmethod
    def restore_linear(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """The linear part of `restore`: what a small change of standardised latents is in raw ones."""


@dataclass(frozen=True, eq=False)
class SeasonalLatents(LatentNormalisation):
    """A mean, and a deviation with the season, for every number of the latents.

    Parameters
    ----------
    mean : array (h, w, C)
    log_deviation : array (3, h, w, C)
        Coefficients of `climatology.season_basis` for the logarithm of the deviation.
    """

    mean: np.ndarray
    log_deviation: np.ndarray

    kind = "seasonal"

    def to_arrays(self) -> dict[str, np.ndarray]:
        """See `LatentNormalisation.to_arrays`."""
        return {"latent_mean": self.mean, "latent_deviation": self.log_deviation}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """See `LatentNormalisation.from_arrays`."""
        return cls(arrays["latent_mean"], arrays["latent_deviation"])

    def standardise(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """See `LatentNormalisation.standardise`."""
        return (latents - _to_tensor_like(self.mean, latents)) / self.compute_deviation(times, latents)

    def restore(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """See `LatentNormalisation.restore`."""
        return latents * self.compute_deviation(times, latents) + _to_tensor_like(self.mean, latents)

    def restore_linear(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """See `LatentNormalisation.restore_linear`."""
        return latents * self.compute_deviation(times, latents)

    def compute_deviation(self, times: np.ndarray, like: Tensor) -> Tensor:
        """Deviation of the latents at `times`: (time, h, w, C)."""
        log = np.tensordot(season_basis(times).astype("f4"), self.log_deviation, 1)
        return _to_tensor_like(np.exp(log).astype("f4"), like)


@dataclass(frozen=True, eq=False)
class ChannelLatents(LatentNormalisation):
    """A mean and a deviation for every channel, the same at all places and times (as in official models).

    Parameters
    ----------
    mean, deviation : array (C,)
    noise_level : float, default 0
        Deviation of the noise that the autoencoder's latents were trained with, in their units; it counts as variance.
    """

    mean: np.ndarray
    deviation: np.ndarray
    noise_level: float = 0.0

    kind = "channel"

    def to_arrays(self) -> dict[str, np.ndarray]:
        """See `LatentNormalisation.to_arrays`."""
        noise = np.array(self.noise_level, "f8")
        return {"latent_mean": self.mean, "latent_deviation": self.deviation, "latent_noise_level": noise}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """See `LatentNormalisation.from_arrays`."""
        return cls(arrays["latent_mean"], arrays["latent_deviation"], float(arrays["latent_noise_level"]))

    @property
    def effective(self) -> np.ndarray:
        """Deviation of the latents with the noise that they were trained with: (C,), float32."""
        return np.sqrt(np.square(self.deviation) + np.float32(self.noise_level**2))

    def standardise(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """See `LatentNormalisation.standardise`."""
        return (latents - _to_tensor_like(self.mean, latents)) / _to_tensor_like(self.effective, latents)

    def restore(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """See `LatentNormalisation.restore`."""
        return latents * _to_tensor_like(self.effective, latents) + _to_tensor_like(self.mean, latents)

    def restore_linear(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """See `LatentNormalisation.restore_linear`."""
        return latents * _to_tensor_like(self.effective, latents)


LATENTS: dict[str, type[LatentNormalisation]] = {kind.kind: kind for kind in (SeasonalLatents, ChannelLatents)}
"""Kinds of normalisation of latents, by the names that model directories give them."""


def _to_tensor_like(values: np.ndarray, tensor: Tensor) -> Tensor:
    return torch.from_numpy(values).to(tensor)
