"""Fit the corrections of the Gaussian's estimate at every place, in closed form, one after the other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from xappa.diffusion.gaussian import GaussianDenoiser, GaussianPrior
from xappa.model.corrections.local import LocalCorrection, LocalSpec, with_neighbours
from xappa.model.dates import to_date_tensor
from xappa.training.config import LocalCorrectionConfig, Recipe
from xappa.training.data import Record
from xappa.training.importance import LatentImportance
from xappa.training.loop import fork_rng_with_seed, save_tensors


@torch.no_grad()
def fit_local(
    config: LocalCorrectionConfig,
    denoiser: GaussianDenoiser,
    latents: np.ndarray,
    record: Record,
    seed: int,
    importance: LatentImportance | None = None,
) -> LocalCorrection:
    """Ridge regression of a denoiser's error on the Gaussian's estimate, by place and cosine in time, at noise level 1.

    Parameters
    ----------
    config : LocalCorrectionConfig
    denoiser : GaussianDenoiser
        The Gaussian, with corrections that are there already.
    latents : array (time, h, w, C), float32
        Standardised.
    record : Record
        Gives the training windows.
    seed : int
        Seed of the noise.
    importance : LatentImportance, optional
        Of errors, where the matrices are truncated to `config.rank` (default: all alike).
    """
    prior = denoiser.prior
    window, shape = prior.window, prior.shape
    h, w, c = shape
    with fork_rng_with_seed(seed):  # the gains are drawn here, and only trained later
        network = LocalCorrection(make_local_spec(config, window, shape))
    spec = network.spec
    importance = importance or LatentImportance.uniform(shape)
    # What errors are multiplied by before they are truncated.
    rows = importance.rows.sqrt().repeat_interleave(w)[:, None].double()
    channels = importance.channels.sqrt().double()
    starts = record.list_windows(0, window)[:: config.every]
    dates = to_date_tensor(record.times)
    generator = torch.Generator().manual_seed(seed)
    gram = torch.zeros(spec.cosines * h * w, spec.inputs, spec.inputs)
    cross = torch.zeros(spec.cosines * h * w, spec.inputs, c)
    level = torch.ones(())
    for part in tqdm(np.array_split(starts, max(1, len(starts) // 32)), desc="local", unit="batch"):
        index = part[:, None] + np.arange(window)
        x = torch.from_numpy(latents[index])
        x_t = x + torch.randn(x.shape, generator=generator)
        error = x - denoiser(x_t, level, dates[torch.from_numpy(index)])
        estimate = torch.einsum("kt,bthwc->bkhwc", network.cosines, prior.denoise(x_t, level))
        a = _group_by_place(with_neighbours(estimate) if spec.neighbours else estimate)
        b = _group_by_place(torch.einsum("kt,bthwc->bkhwc", network.cosines, error))
        gram += a.mT @ a
        cross += a.mT @ b
    for k, (square, product) in enumerate(zip(gram.split(h * w), cross.split(h * w), strict=True)):
        mean = square.mean(0, dtype=torch.float64)
        # Relative to the power of the estimates, which falls with the frequency.
        ridge = config.ridge * mean.diagonal().mean() * torch.eye(spec.inputs, dtype=torch.float64)
        matrices = torch.stack(
            [torch.linalg.solve(g.double() + ridge, x.double()) for g, x in zip(square, product, strict=True)]
        )
        # At noise level 1 the denoiser multiplies the correction by sigma / (2 sqrt(sigma^2 + 1)).
        matrices *= 2 * 2**0.5
        # Truncated where it matters least: in the norm of the mean power of the estimates, and the errors' importance.
        root = torch.linalg.cholesky(mean + ridge * 1e-2)
        weighted = rows * ((root.mT @ matrices) * channels).flatten(1)
        u, s, v = (part[..., : spec.rank] for part in _svd(weighted))
        size = s.sqrt()
        network.weights[k] = (u * size / rows).float()
        shared = (v * size).mT.reshape(-1, spec.inputs, c) / channels
        network.matrices[k] = torch.linalg.solve_triangular(root.mT, shared, upper=True).float()
    return network


def restore(
    recipe: Recipe,
    prior: GaussianPrior,
    latents: np.ndarray,
    record: Record,
    out: Path,
    importance: LatentImportance | None = None,
) -> nn.ModuleList:
    """The corrections as fitted, once, and kept in ``out/local.safetensors``; training goes on from them.

    Each is fitted to what those before it leave.
    """
    file = out / "local.safetensors"
    if not file.exists():
        made = nn.ModuleList()
        for k, config in enumerate(recipe.local):
            denoiser = GaussianDenoiser(prior, None, made)
            made.append(fit_local(config, denoiser, latents, record, recipe.seed + 2 + k, importance))
        save_tensors(made.state_dict(), file)
    corrections = make_unfitted_corrections(recipe, prior.window, prior.shape)
    corrections.load_state_dict(load_file(file))
    return corrections


def make_unfitted_corrections(recipe: Recipe, window: int, shape: tuple[int, int, int]) -> nn.ModuleList:
    """Corrections of the recipe's sizes, that correct nothing."""
    return nn.ModuleList(LocalCorrection(make_local_spec(config, window, shape)) for config in recipe.local)


def make_local_spec(config: LocalCorrectionConfig, window: int, shape: tuple[int, int, int]) -> LocalSpec:
    """Size of a correction; no more shared matrices than there can be independent ones."""
    h, w, _ = shape
    whole = LocalSpec(window, shape, modes=config.modes, neighbours=config.neighbours)
    return dataclasses.replace(whole, rank=min(config.rank, h * w, whole.inputs * shape[2]))


def _group_by_place(x: Tensor) -> Tensor:
    """(B, k, h, w, F) to (k h w, B, F)."""
    return x.permute(1, 2, 3, 0, 4).flatten(0, 2)


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u, s, vh.mT
