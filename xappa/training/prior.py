"""Estimate the Gaussian prior from standardised latents, and calibrate its eigenvalues on the validation period."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from xappa.diffusion.gaussian import GaussianPrior
from xappa.training.config import PriorConfig, Recipe
from xappa.training.data import Record
from xappa.training.loop import save_tensors

FLOOR = 1e-5  # of an eigenvalue, where latents have variance 1


def estimate_prior(config: PriorConfig, latents: np.ndarray, record: Record) -> GaussianPrior:
    """The Gaussian prior of standardised latents.

    Parameters
    ----------
    config : Prior
    latents : array (time, h, w, C), float32
    record : Record
        Gives the splits; covariances come from training windows, the calibration from validation windows.
    """
    window = record.spec.window
    h, w, c = latents.shape[1:]
    prior = GaussianPrior(window, (h, w, c), config.patterns, config.joint)
    train, validation = record.list_windows(0, window), record.list_windows(1, window)
    times = record.list_times(0)
    waves = _transform_zonally(latents)
    powers: dict[str, list[np.ndarray]] = {"joint": [], "single": [], "rest": []}
    for m in tqdm(range(w // 2 + 1), desc="prior", unit="wavenumber"):
        a = torch.from_numpy(waves[m])
        seen = a[times]
        variance, vectors = torch.linalg.eigh((seen.mT @ seen.conj()) / len(seen))
        # eigh sorts ascending: the leading patterns are the last.
        patterns = vectors[:, -config.patterns :].flip(-1)
        amplitude = a @ patterns.conj()
        joint, single = amplitude[:, : config.joint], amplitude[:, config.joint :]
        rest = a - amplitude @ patterns.mT
        prior.patterns[m] = torch.view_as_real(patterns)

        blocks = _split_windows(joint, train, window)
        variance, vectors = torch.linalg.eigh((blocks.mT @ blocks.conj()) / len(blocks))
        prior.joint_variances[m] = variance.clamp_min(FLOOR)
        prior.joint_vectors[m] = torch.view_as_real(vectors)
        powers["joint"].append(_compute_power(_split_windows(joint, validation, window) @ vectors.conj()))

        variance, vectors = torch.linalg.eigh(_make_toeplitz(_estimate_lagged_covariance(single, record, window)))
        prior.single_variances[m] = variance.clamp_min(FLOOR)
        prior.single_vectors[m] = torch.view_as_real(vectors)
        series = torch.stack([single[validation + k] for k in range(window)], -1)
        powers["single"].append(_compute_power(torch.einsum("nrk,rkj->nrj", series, vectors.conj())))

        lags = _estimate_lagged_covariance(rest, record, window).sum(1, keepdim=True) / (h * c - config.patterns)
        variance, vectors = torch.linalg.eigh(_make_toeplitz(lags))
        prior.rest_variances[m] = variance.clamp_min(FLOOR)
        prior.rest_vectors[m] = torch.view_as_real(vectors)
        series = torch.stack([rest[validation + k] for k in range(window)], -1)
        power = _compute_power(torch.einsum("nrk,kj->nrj", series, vectors[0].conj()))
        powers["rest"].append(power.sum(0, keepdims=True) / (h * c - config.patterns))
    for kind, seen_power in powers.items():
        variances = getattr(prior, f"{kind}_variances")
        variances.copy_(calibrate(variances, np.stack(seen_power), config.calibration_bins))
    return prior


def restore(recipe: Recipe, latents: np.ndarray, record: Record, out: Path) -> GaussianPrior:
    """The prior, estimated once and kept in ``out/prior.safetensors``."""
    file = out / "prior.safetensors"
    if not file.exists():
        prior = estimate_prior(recipe.prior, latents, record)
        save_tensors(prior.state_dict(), file)
    prior = GaussianPrior(record.spec.window, latents.shape[1:], recipe.prior.patterns, recipe.prior.joint)
    prior.load_state_dict(load_file(file))
    return prior


def calibrate(variances: Tensor, power: np.ndarray, bins: int) -> Tensor:
    """Eigenvalues brought to the power seen in the validation period, by a smooth function of the eigenvalue.

    Trailing eigenvalues are fitted to the noise of the training period: what they explain of another period is
    another number. Bins of equal size in the sorted eigenvalues give ratios, interpolated in the logarithm.
    """
    logs = variances.log().flatten().double().numpy()
    order = np.argsort(logs)
    parts = np.array_split(order, min(bins, len(order)))
    seen, believed = power.flatten(), np.exp(logs)
    centres = np.array([logs[p].mean() for p in parts])
    ratios = np.array([np.log(seen[p].sum() / believed[p].sum()) for p in parts])
    return torch.from_numpy(np.exp(logs + np.interp(logs, centres, ratios))).to(variances).view_as(variances)


def _transform_zonally(latents: np.ndarray) -> np.ndarray:
    """Fourier coefficients by zonal wavenumber: (w // 2 + 1, time, h C), complex64."""
    n, h, w, c = latents.shape
    out = np.empty((w // 2 + 1, n, h * c), "c8")
    for index in np.array_split(np.arange(n), 100):
        waves = np.fft.rfft(latents[index], axis=2, norm="ortho")
        out[:, index] = waves.transpose(2, 0, 1, 3).reshape(w // 2 + 1, len(index), h * c)
    return out


def _split_windows(series: Tensor, first: np.ndarray, window: int) -> Tensor:
    """(time, J) to (windows, window * J), time-major."""
    return torch.cat([series[first + k] for k in range(window)], -1)


def _compute_power(amplitude: Tensor) -> np.ndarray:
    return amplitude.abs().square().mean(0).double().numpy()


def _estimate_lagged_covariance(series: Tensor, record: Record, window: int) -> Tensor:
    """Covariances r_l = E[x(t + l) conj x(t)], (window, R), over pairs in one simulation of the training period."""
    out = []
    for lag in range(window):
        first = record.list_windows(0, lag + 1)
        out.append((series[first + lag] * series[first].conj()).mean(0))
    return torch.stack(out)


def _make_toeplitz(lags: Tensor) -> Tensor:
    """Covariance in time of each pattern: lags (K, R) to (R, K, K), tapered so that it stays positive."""
    k = len(lags)
    i = torch.arange(k)
    difference = i[:, None] - i[None, :]
    values = lags.mT[:, difference.abs()]
    values = torch.where(difference >= 0, values, values.conj())
    return values * (1 - difference.abs() / (8 * k))
