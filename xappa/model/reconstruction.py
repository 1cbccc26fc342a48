r"""The error of reconstruction: what decoding makes of latents, less the fields that were encoded.

Its deviation is known at every point; how it is correlated in space may be known too, as power by zonal and by
meridional wavenumber, one of each a channel. Noise with that correlation is
:math:`F^{-1} \sqrt{s} F w` for white w, in a Fourier basis along longitude and a cosine basis along latitude, with unit
variance at every point.

It is added to fields, but for amounts: sums over time such as precipitation, for which the error grows with what has
fallen, and nothing falls where it is dry. Their errors have a gamma distribution whose mean is the decoded amount and
whose variance is proportional to it; it is that of a sum of a random number of exponential showers, nearly.

References
----------
.. [1] Ahmed, Natarajan and Rao, Discrete cosine transform, 1974, https://doi.org/10.1109/T-C.1974.223784
.. [2] Wilks, Statistical Methods in the Atmospheric Sciences, 4th ed., 2019, section 4.4.5 (gamma distributions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import fft
from scipy.special import gammaincinv, ndtr

from xappa._typing import Array

ZONAL, MERIDIONAL = "error_zonal", "error_meridional"
"""Names of the statistics in model directories: (channel, longitude // 2 + 1) and (channel, latitude)."""
MOST = 6.0
"""Largest variance of an amount's error over that of its climate: measured, it grows no further where it rains most."""


def estimate_error_spectra(residuals: Array) -> dict[str, Array]:
    """Power of errors by wavenumber, as a model directory keeps it.

    Parameters
    ----------
    residuals : array, (sample, channel, latitude, longitude)
        Decoded minus true, standardised; 0 where a channel does not exist.

    Returns
    -------
    dict of float32 arrays
        ``error_zonal`` (channel, longitude // 2 + 1) and ``error_meridional`` (channel, latitude); the mean over all
        wavenumbers is 1.
    """
    scaled = residuals / np.sqrt(np.square(residuals).mean(0, keepdims=True) + 1e-12)
    width = residuals.shape[-1]
    zonal = np.square(np.abs(np.fft.rfft(scaled, axis=-1, norm="ortho"))).mean((0, 2))
    meridional = np.square(fft.dct(scaled, axis=-2, norm="ortho")).mean((0, 3))
    weights = np.full(zonal.shape[-1], 2.0)
    weights[0] = 1.0
    if width % 2 == 0:
        weights[-1] = 1.0
    zonal = (zonal + 1e-6) / ((zonal + 1e-6) @ weights / width)[:, None]
    meridional = (meridional + 1e-6) / (meridional + 1e-6).mean(-1, keepdims=True)
    return {ZONAL: zonal.astype("f4"), MERIDIONAL: meridional.astype("f4")}


def correlate_noise(white: Array, statistics: Mapping[str, Array]) -> Array:
    """Noise of unit variance with the correlation of the reconstruction's error.

    Parameters
    ----------
    white : array, (..., channel, latitude, longitude)
        Standard normal.
    statistics : mapping
        Statistics of the model. Without the spectra the noise stays white.
    """
    if ZONAL not in statistics or MERIDIONAL not in statistics:
        return white
    width, height = white.shape[-1], white.shape[-2]
    waves = np.fft.rfft(white, axis=-1) * np.sqrt(statistics[ZONAL])[:, None]
    noise = np.fft.irfft(waves, n=width, axis=-1)
    power = statistics[MERIDIONAL]
    noise = fft.idct(fft.dct(noise, axis=-2, norm="ortho") * np.sqrt(power)[..., None], axis=-2, norm="ortho")
    basis = fft.dct(np.eye(height), axis=0, norm="ortho")  # (wavenumber, latitude)
    variance = power @ np.square(basis)
    return (noise / np.sqrt(variance)[..., None]).astype(white.dtype)


def add_reconstruction_error(
    values: Array, noise: Array, deviation: Array, mean: Array, amounts: Sequence[int]
) -> Array:
    """Decoded fields with errors of reconstruction.

    Parameters
    ----------
    values : array (..., time, channel, latitude, longitude)
        Physical units; NaN where a channel does not exist.
    noise : array, like `values`
        Standard normal at every point.
    deviation : array (channel, latitude, longitude)
        Standard deviation of the error, physical units.
    mean : array (time, channel, latitude, longitude)
        Climatological mean.
    amounts : sequence of int
        Channels that are sums over time.

    Returns
    -------
    array, like `values`
        Amounts stay 0 or above where they are decoded so.
    """
    out = values + noise * deviation
    for k in amounts:
        out[..., k, :, :] = _perturb_amount(values[..., k, :, :], noise[..., k, :, :], deviation[k], mean[:, k])
    return out.astype(values.dtype)


def _perturb_amount(value: Array, noise: Array, deviation: Array, mean: Array) -> Array:
    """Amounts with errors, whose quantiles are those of `noise`; what is not above 0, or exact, has none."""
    variance = np.square(deviation, dtype="f8")
    random = (np.nan_to_num(value) > 0) & (variance > 0)
    amount = np.where(random, value, 1.0).astype("f8")
    share = np.divide(amount, mean, out=np.full_like(amount, MOST), where=mean > 0)
    scale = np.where(random, variance, 1.0) * np.minimum(share, MOST) / amount
    return np.where(random, scale * gammaincinv(amount / scale, ndtr(noise.astype("f8"))), value)
