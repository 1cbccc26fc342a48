"""What a sampling task needs, in numbers: small, picklable, with a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xappa.operators.stencil import Stencil


@dataclass(frozen=True, eq=False)
class Plan:
    """One analysis: which model, which times, which observations, how sampled.

    Parameters
    ----------
    model : str
        Name or folder, as `xappa.load` takes it.
    digest : str
        The model's hash; a worker that loads another model under the same name refuses.
    device : str or None
    times : array (time,), datetime64[s]
        Consecutive model times of the trajectory, padded to whole windows.
    stencil : Stencil or None
        The observations; None samples the prior.
    guidance, sampler : objects of `xappa.guidance` and `xappa.samplers`
    stitching : str
        How windows are joined.
    seed : int
    dress : bool
        Whether decoded members receive noise of the autoencoder's error.
    clip : bool
        Whether quantities that cannot be negative are clipped at 0.
    """

    model: str
    digest: str
    device: str | None
    times: np.ndarray
    stencil: Stencil | None
    guidance: Any
    sampler: Any
    stitching: str
    seed: int
    dress: bool = True
    clip: bool = True

    def __dask_tokenize__(self) -> tuple:
        stencil = () if self.stencil is None else tuple(np.asarray(v).tobytes() for v in self.stencil.arrays())
        options = (repr(self.guidance), repr(self.sampler), self.stitching, self.seed, self.dress, self.clip)
        return (self.digest, self.times.astype("i8").tobytes(), stencil, options)


def overlap(window: int) -> int:
    """Times that neighbouring windows share: half of them, as in Appa."""
    return window // 2


def padded_times(times: np.ndarray, window: int, shared: int, step: np.timedelta64) -> np.ndarray:
    """Consecutive times, continued until windows that share `shared` times fill them exactly."""
    short = window - len(times)
    missing = short if short > 0 else short % (window - shared)
    return np.concatenate([times, times[-1] + step * np.arange(1, missing + 1)])
