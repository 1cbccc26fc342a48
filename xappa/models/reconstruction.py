r"""The error of reconstruction: what decoding makes of latents, less the fields that were encoded.

Its deviation is known at every point; how it is correlated in space may be known too, as power by zonal and by
meridional wavenumber, one of each a channel. Noise with that correlation is
:math:`F^{-1} \sqrt{s} F w` for white w, in a Fourier basis along longitude and a cosine basis along latitude, with unit
variance at every point.

References
----------
.. [1] Ahmed, Natarajan and Rao, Discrete cosine transform, 1974, https://doi.org/10.1109/T-C.1974.223784
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import fft

Array = np.ndarray

ZONAL, MERIDIONAL = "error_zonal", "error_meridional"
"""Names of the statistics in model directories: (channel, longitude // 2 + 1) and (channel, latitude)."""


def error_spectra(residuals: Array) -> dict[str, Array]:
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


def correlated(white: Array, statistics: Mapping[str, Array]) -> Array:
    """Noise of unit variance with the correlation of the reconstruction's error.

    Parameters
    ----------
    white : array, (..., channel, latitude, longitude)
        Standard normal.
    statistics : mapping
        Of the model. Without the spectra the noise stays white.
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
