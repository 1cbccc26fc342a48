"""Fit the correction of the Gaussian's estimate at every place, in closed form."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from xappa.diffusion.gaussian import GaussianPrior
from xappa.models.local import LocalCorrection, LocalSpec, cosines
from xappa.training.config import Local, Recipe
from xappa.training.data import Record


@torch.no_grad()
def fit_local(config: Local, prior: GaussianPrior, latents: np.ndarray, record: Record, seed: int) -> LocalCorrection:
    """Ridge regression of the Gaussian's error on its estimate, by place and mode in time, at noise level 1.

    Parameters
    ----------
    config : Local
    prior : GaussianPrior
    latents : array (time, h, w, C), float32
        Standardised.
    record : Record
        Gives the training windows.
    seed : int
        Of the noise.
    """
    window, shape = prior.window, prior.shape
    h, w, c = shape
    network = LocalCorrection(local_spec(config, window, shape))
    rank = network.spec.rank
    starts = record.windows(0, window)[:: config.every]
    generator = torch.Generator().manual_seed(seed)
    gram = torch.zeros(window * h * w, c, c, dtype=torch.float64)
    cross = torch.zeros_like(gram)
    for part in tqdm(np.array_split(starts, max(1, len(starts) // 16)), desc="local", unit="batch"):
        x = torch.from_numpy(latents[part[:, None] + np.arange(window)])
        estimate = prior.denoise(x + torch.randn(x.shape, generator=generator), torch.ones(()))
        a, b = (_by_place(v) for v in (estimate, x - estimate))
        gram += a.mT @ a
        cross += a.mT @ b
    ridge = config.ridge * len(starts) * torch.eye(c, dtype=torch.float64)
    matrices = torch.linalg.solve(gram + ridge, cross).reshape(window, h * w, c * c)
    # At noise level 1 the denoiser multiplies the correction by sigma / (2 sqrt(sigma^2 + 1)).
    matrices *= 2 * 2**0.5
    for k, mean in enumerate(gram.view(window, h * w, c, c).mean(1)):
        # Truncated where it matters least: in the norm that the mean power of the estimates gives.
        root = torch.linalg.cholesky(mean + ridge / (h * w))
        weighted = (root.mT @ matrices[k].view(-1, c, c)).flatten(1)
        u, s, v = (part[..., :rank] for part in _svd(weighted))
        size = s.sqrt()
        network.weights[k] = (u * size).float()
        shared = torch.linalg.solve_triangular(root.mT, (v * size).mT.reshape(-1, c, c), upper=True)
        network.matrices[k] = shared.float()
    return network


def restore(recipe: Recipe, prior: GaussianPrior, latents: np.ndarray, record: Record, out: Path) -> LocalCorrection:
    """The correction as fitted, once, and kept in ``out/local.safetensors``; training goes on from it."""
    file = out / "local.safetensors"
    if not file.exists():
        made = fit_local(recipe.local, prior, latents, record, recipe.seed + 2)
        save_file(made.state_dict(), out / "local.part")
        os.replace(out / "local.part", file)
    network = LocalCorrection(local_spec(recipe.local, prior.window, prior.shape))
    network.load_state_dict(load_file(file))
    return network


def local_spec(config: Local, window: int, shape: tuple[int, int, int]) -> LocalSpec:
    """Size of the correction; no more shared matrices than there can be independent ones."""
    h, w, c = shape
    return LocalSpec(window, shape, min(config.rank, h * w, c * c))


def _by_place(x: Tensor) -> Tensor:
    """Windows (B, K, h, w, C) as (K h w, B, C), with cosines in time."""
    modes = torch.einsum("kt,bthwc->khwbc", cosines(x.shape[1]), x)
    return modes.flatten(0, 2).double()


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u, s, vh.mT
