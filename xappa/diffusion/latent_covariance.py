r"""Covariance of the errors of latent states: deviations, correlated along rows and in time.

:math:`B = D (C_t \otimes C_x) D`. :math:`C_x` is homogeneous in longitude, so that it is diagonal in zonal wavenumbers:
one spectrum a row and channel. :math:`C_t` is a matrix over times. Rows and channels are independent of each other.
Both factors are cheap, and so is the inverse.

References
----------
.. [1] Parrish and Derber (1992), The National Meteorological Center's spectral statistical-interpolation analysis
   system, Mon. Wea. Rev. 120, 1747-1763.
.. [2] Bannister (2008), A review of forecast error covariance statistics in atmospheric variational data assimilation
   II, https://doi.org/10.1002/qj.340
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xappa.diffusion.guidance.covariance import FactoredCovariance

FLOOR = 0.02
"""Least power of a wavenumber, over the mean of all: errors that were never seen are small, not impossible."""
SHRINK = 0.05
"""Share of the correlation in time that is taken as noise of the estimate."""


class LatentCovariance(FactoredCovariance):
    """Covariance of latents (T, h, w, C), flattened.

    Parameters
    ----------
    deviation : Tensor, (T, h, w, C)
        Above zero.
    spectrum : Tensor, (h, C, w // 2 + 1)
        Power by zonal wavenumber; its mean over all w wavenumbers, of either sign, is 1.
    time : Tensor, (T, T)
        Correlation matrix, positive definite.
    """

    def __init__(self, deviation: Tensor, spectrum: Tensor, time: Tensor) -> None:
        super().__init__(deviation.flatten())
        self.shape = deviation.shape
        self.root = spectrum.sqrt().permute(0, 2, 1)  # (h, wavenumber, C)
        self.factor = torch.linalg.cholesky(time.double()).to(deviation)

    def correlate(self, v: Tensor) -> Tensor:
        """`L v`."""
        return self._apply(v, self.root, lambda z: self.factor @ z)

    def correlate_adjoint(self, v: Tensor) -> Tensor:
        """`L^T v`."""
        return self._apply(v, self.root, lambda z: self.factor.mT @ z)

    def decorrelate(self, v: Tensor) -> Tensor:
        """`L^-1 v`."""
        return self._apply(v, 1 / self.root, lambda z: torch.linalg.solve_triangular(self.factor, z, upper=False))

    def decorrelate_adjoint(self, v: Tensor) -> Tensor:
        """`L^-T v`."""
        return self._apply(v, 1 / self.root, lambda z: torch.linalg.solve_triangular(self.factor.mT, z, upper=True))

    def _apply(self, v: Tensor, root: Tensor, in_time: Callable[[Tensor], Tensor]) -> Tensor:
        lead = v.shape[:-1]
        fields = v.reshape(-1, *self.shape)
        waves = torch.fft.rfft(fields, dim=-2) * root
        fields = torch.fft.irfft(waves, n=self.shape[2], dim=-2)
        fields = in_time(fields.flatten(2)).reshape(fields.shape)
        return fields.reshape(*lead, -1)


def estimate_covariance(errors: Tensor, floor: float, local: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Deviations, spectra and correlation in time of a sample of errors.

    Parameters
    ----------
    errors : Tensor, (samples, T, h, w, C)
        Of mean zero.
    floor : float
        Least deviation.
    local : float, default 0
        Share of the variance that is each point's own; the rest is that of its row, channel and time.

    Returns
    -------
    deviation : Tensor, (T, h, w, C)
    spectrum : Tensor, (h, C, w // 2 + 1)
    time : Tensor, (T, T)
    """
    point = errors.square().mean(0)
    row = point.mean(2, keepdim=True).expand_as(point)
    deviation = (local * point + (1 - local) * row + floor**2).sqrt()
    scaled = errors / deviation
    power = torch.fft.rfft(scaled, dim=3, norm="ortho").abs().square().mean((0, 1)).permute(0, 2, 1)
    series = scaled.transpose(0, 1).flatten(1)
    time = series @ series.mT / series.shape[1]
    scale = time.diagonal().clamp(min=1e-12).rsqrt()
    time = (1 - SHRINK) * scale[:, None] * time * scale + SHRINK * torch.eye(len(time)).to(time)
    return deviation, normalise_power(power, errors.shape[3]), time


def normalise_power(power: Tensor, width: int) -> Tensor:
    """Power (..., width // 2 + 1) with a floor, and a mean of 1 over all wavenumbers of either sign."""
    weights = torch.full((power.shape[-1],), 2.0).to(power)
    weights[0] = 1.0
    if width % 2 == 0:
        weights[-1] = 1.0

    def mean(p: Tensor) -> Tensor:
        return (p * weights).sum(-1, keepdim=True) / width

    power = power + FLOOR * mean(power).clamp(min=1e-12)
    return power / mean(power)


def make_stationary(time: Tensor, length: int) -> Tensor:
    """Correlation matrix of `length` times with the mean correlation of `time` (T, T) at each lag.

    Lags beyond T continue as a first-order autoregression.
    """
    known = [time.diagonal(lag).mean().clamp(0, 0.999) for lag in range(len(time))]
    step = known[1] if len(known) > 1 else torch.zeros(()).to(time)
    lags = [torch.ones(()).to(time), *known[1:]]
    while len(lags) < length:
        lags.append(lags[-1] * step)
    index = torch.arange(length)
    toeplitz = torch.stack(lags[:length])[(index[:, None] - index).abs()]
    values, vectors = torch.linalg.eigh(toeplitz.double())
    positive = (vectors * values.clamp(min=1e-3)) @ vectors.mT
    scale = positive.diagonal().rsqrt()
    return (scale[:, None] * positive * scale).to(time)
