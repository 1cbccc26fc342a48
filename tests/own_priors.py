"""Priors as users write them: Gaussian, of fields on a small grid, so that posteriors are known in closed form."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import xappa
from xappa.diffusion.schedule import LogLinear

CHANNELS = (("2m_temperature", None), ("geopotential", 500))
STEP = np.timedelta64(6, "h")


def grid() -> tuple[np.ndarray, np.ndarray]:
    return np.array([45.0, -45.0]), np.arange(3) * 120.0


class GaussianFields(xappa.IdentityCoder):
    """Standardised fields of a window ~ N(0, P), P any covariance; the posterior covariance is known."""

    MEAN, SCALE = np.array([280.0, 55000.0]), np.array([5.0, 800.0])

    def __init__(self, window: int, seed: int = 0) -> None:
        latitude, longitude = grid()
        self.spec = xappa.StateSpec(CHANNELS, tuple(latitude), tuple(longitude), 6, window)
        self.schedule = LogLinear(1e-2, 1e3)
        size = window * int(np.prod(self.spec.shape))
        root = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        p = root @ root.T / size + 0.2 * torch.eye(size, dtype=torch.float64)
        self.values, self.vectors = torch.linalg.eigh(p)
        self.scale = self.SCALE[:, None, None]

    def mean(self, times: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.MEAN[:, None, None], (len(times), *self.spec.shape))

    def denoise(self, x: Tensor, sigma: Tensor, times: np.ndarray) -> Tensor:
        return self.apply(x, self.values / (self.values + sigma.double() ** 2))

    def covariance(self, v: Tensor, sigma: Tensor) -> Tensor:
        variance = sigma.double() ** 2
        return self.apply(v, variance * self.values / (self.values + variance))

    def apply(self, x: Tensor, factors: Tensor) -> Tensor:
        y = (x.flatten(1).double() @ self.vectors * factors) @ self.vectors.T
        return y.view_as(x).to(x.dtype)


class Mesh(GaussianFields):
    """The same prior, seen through a coder: latents (vertex, channel) that are a rotation of the fields."""

    def __init__(self, window: int, seed: int = 0) -> None:
        super().__init__(window, seed)
        size = int(np.prod(self.spec.shape))
        noise = torch.randn(size, size, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
        self.rotation = torch.linalg.qr(noise)[0]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (int(np.prod(self.spec.shape)) // 2, 2)

    @property
    def latent_dims(self) -> tuple[str, ...]:
        return ("latent_0", "latent_1")

    def encode(self, fields: Tensor, times: np.ndarray) -> Tensor:
        return (fields.flatten(-3).double() @ self.rotation.T).unflatten(-1, self.latent_shape).to(fields.dtype)

    def decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        return (latents.flatten(-2).double() @ self.rotation).unflatten(-1, self.spec.shape).to(latents.dtype)

    def denoise(self, x: Tensor, sigma: Tensor, times: np.ndarray) -> Tensor:
        return self.encode(super().denoise(self.decode(x, times), sigma, times), times)

    def covariance(self, v: Tensor, sigma: Tensor) -> Tensor:
        times = np.zeros(self.spec.window, "M8[s]")
        return self.encode(super().covariance(self.decode(v, times), sigma), times)
