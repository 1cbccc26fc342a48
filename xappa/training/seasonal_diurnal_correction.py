"""Fit the correction that differs with place, season and hour to what the trained denoiser leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from xappa.diffusion.gaussian import GaussianDenoiser
from xappa.model.corrections.seasonal_diurnal import SeasonalDiurnalCorrection, SeasonalDiurnalSpec
from xappa.training import patterns
from xappa.training.config import SeasonalDiurnalConfig
from xappa.training.data import CORRECTION, Record
from xappa.training.loop import save_tensors
from xappa.training.moments import accumulate_moments, pool_moments

MOMENTS = "moments.pt"


def fit_seasonal_diurnal(
    config: SeasonalDiurnalConfig,
    denoiser: GaussianDenoiser,
    latents: np.ndarray,
    record: Record,
    metric: Tensor,
    seed: int,
    checkpoint: Path | None = None,
) -> SeasonalDiurnalCorrection:
    """Ridge regression of a denoiser's error on `stack_regressors` of the Gaussian's estimate, by shared patterns.

    Parameters
    ----------
    config : SeasonalDiurnalConfig
    denoiser : GaussianDenoiser
        As trained.
    latents : array (time, h, w, C), float32
        Standardised.
    record : Record
        Gives the windows: those of the years that are kept for this, or else those of training.
    metric : Tensor (h * w, C, C)
        Of errors, as `state_metric` gives it.
    seed : int
        Seed of the noise.
    checkpoint : Path, optional
        Of `accumulate_moments`.
    """
    window = denoiser.prior.window
    kept = record.list_windows(CORRECTION, window)
    starts = (kept if len(kept) else record.list_windows(0, window))[:: config.every]
    sums = accumulate_moments(denoiser, latents, record, starts, seed, checkpoint)
    found = pool_moments(sums, denoiser.prior.shape[:2], config.pooling)
    correction = make_unfitted_correction(config, denoiser.prior.shape)
    patterns.fit_correction(correction, found, metric, config.ridge, config.steps)
    return correction


def restore(
    config: SeasonalDiurnalConfig,
    denoiser: GaussianDenoiser,
    latents: np.ndarray,
    record: Record,
    metric: Callable[[], Tensor],
    seed: int,
    out: Path,
) -> SeasonalDiurnalCorrection:
    """The correction, fitted once and kept in ``out/dated.safetensors``; `metric` is made only for that."""
    file = out / "dated.safetensors"
    if not file.exists():
        made = fit_seasonal_diurnal(config, denoiser, latents, record, metric(), seed, out / MOMENTS)
        save_tensors(made.state_dict(), file)
        (out / MOMENTS).unlink(missing_ok=True)
    correction = make_unfitted_correction(config, denoiser.prior.shape)
    correction.load_state_dict(load_file(file))
    return correction.to(denoiser.prior.patterns.device)


def make_unfitted_correction(config: SeasonalDiurnalConfig, shape: tuple[int, int, int]) -> SeasonalDiurnalCorrection:
    """A correction of the recipe's size, that corrects nothing; no more patterns than there can be."""
    h, w, c = shape
    return SeasonalDiurnalCorrection(SeasonalDiurnalSpec(shape, min(config.rank, h * w * c)))
