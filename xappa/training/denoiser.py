"""Train the network that corrects the Gaussian denoiser, over windows of standardised latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from xappa.diffusion.gaussian import GaussianDenoiser, GaussianPrior
from xappa.diffusion.schedule import Rectified
from xappa.model.corrections.residual import ResidualNetwork, ResidualSpec
from xappa.model.dates import to_date_tensor
from xappa.training.config import Recipe
from xappa.training.data import Record
from xappa.training.importance import LatentImportance
from xappa.training.local import make_unfitted_corrections
from xappa.training.loop import load_averaged_weights, to_channels_last, train_network

LEVELS = (0.1, 0.3, 1.0, 3.0, 10.0)  # noise levels at which validation is reported


def compute_denoising_loss(
    denoiser: GaussianDenoiser, x: Tensor, noise: Tensor, sigma: Tensor, date: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Mean square error of the denoised window, times 1 + 1/sigma^2, so that knowing nothing costs 1: (B,).

    `weights` of the squared errors (h, 1, C) have mean 1 (default: all alike).

    References
    ----------
    Karras et al. (2022), Elucidating the design space of diffusion-based generative models, arXiv 2206.00364.
    """
    column = sigma[:, None, None, None, None]
    error = (denoiser(x + column * noise, sigma, date) - x).square()
    if weights is not None:
        error = error * weights
    return error.mean((1, 2, 3, 4)) * (1 + sigma**-2)


def stack_windows(latents: np.ndarray, dates: Tensor, first: np.ndarray, length: int) -> tuple[Tensor, Tensor]:
    """Windows (B, K, h, w, C) and their dates (B, K, 4)."""
    index = first[:, None] + np.arange(length)
    return torch.from_numpy(latents[index]), dates[torch.from_numpy(index)]


def train_denoiser(
    recipe: Recipe,
    record: Record,
    latents: np.ndarray,
    prior: GaussianPrior,
    local: nn.ModuleList,
    importance: LatentImportance,
    out: Path,
    device: torch.device,
) -> GaussianDenoiser:
    """Train (or go on training) the network and, gently, the fitted local corrections; checkpoints under `out`.

    Errors count as they do in the state: a network that is too small for everything learns that first.
    """
    torch.manual_seed(recipe.seed)
    c = recipe.denoiser
    corrections = _build_corrections(recipe, latents.shape[1:], local)
    denoiser = GaussianDenoiser(prior, corrections["residual"], local, mixed=c.training.bfloat16)
    denoiser.to(device)
    to_channels_last(corrections["residual"], device)
    schedule = Rectified(c.sigma_min, c.sigma_max)
    weights = importance.weights.to(device)
    dates = to_date_tensor(record.times)
    train, validation = record.list_windows(0, c.window), record.list_windows(1, c.window)[::60]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        choice = torch.randint(len(train), (c.training.batch,), generator=generator).sort().values
        x, date = stack_windows(latents, dates, train[choice.numpy()], c.window)
        # Noise levels are spread evenly over the schedule within a batch: less variance than independent draws.
        t = (torch.rand(1, generator=generator) + torch.arange(c.training.batch) / c.training.batch) % 1
        noise = torch.randn(x.shape, generator=generator)
        sigma = schedule(t).flatten()
        x, noise, sigma, date = (part.to(device) for part in (x, noise, sigma, date))
        return compute_denoising_loss(denoiser, x, noise, sigma, date, weights).mean()

    def validate() -> str:
        ours = measure_validation_loss(denoiser, latents, dates, validation, c.window, device)
        alone = measure_validation_loss(GaussianDenoiser(prior, None), latents, dates, validation, c.window, device)
        return "  ".join(
            f"sigma {s:g}: {a:.4f} (Gaussian {b:.4f})" for s, a, b in zip(LEVELS, ours, alone, strict=True)
        )

    out.mkdir(parents=True, exist_ok=True)
    groups: list[dict] = [
        {"params": corrections["residual"].parameters()},
        {"params": [p for name, p in local.named_parameters() if ".gains." in name]},
        {
            "params": [p for name, p in local.named_parameters() if ".gains." not in name],
            "factor": c.local_rate,
            "weight_decay": 0.0,
        },
    ]
    train_network(
        corrections, loss, c.training, out / "denoiser.pt", seed=recipe.seed + 1, groups=groups, validate=validate
    )
    return denoiser.eval()


@torch.no_grad()
def measure_validation_loss(
    denoiser: GaussianDenoiser, latents: np.ndarray, dates: Tensor, first: np.ndarray, length: int, device: torch.device
) -> list[float]:
    """Loss at each of `LEVELS`, same noise at every call."""
    generator = torch.Generator().manual_seed(5)
    x, date = stack_windows(latents, dates, first, length)
    noise = torch.randn(x.shape, generator=generator).to(device)
    out = []
    for level in LEVELS:
        sigma = torch.full((len(x),), level, device=device)
        out.append(compute_denoising_loss(denoiser, x.to(device), noise, sigma, date.to(device)).mean().item())
    return out


def restore(
    recipe: Recipe, shape: tuple[int, int, int], prior: GaussianPrior, out: Path, device: torch.device
) -> GaussianDenoiser:
    """The trained denoiser that `train_denoiser` left, for latents of `shape` (h, w, C)."""
    corrections = _build_corrections(recipe, shape, make_unfitted_corrections(recipe, recipe.denoiser.window, shape))
    corrections.load_state_dict(load_averaged_weights(out / "denoiser.pt", recipe.denoiser.training))
    return GaussianDenoiser(prior, corrections["residual"], corrections["local"].children()).to(device).eval()


def build_untrained(recipe: Recipe, shape: tuple[int, int, int]) -> GaussianDenoiser:
    """A denoiser of the recipe's sizes that knows nothing."""
    window = recipe.denoiser.window
    corrections = _build_corrections(recipe, shape, make_unfitted_corrections(recipe, window, shape))
    prior = GaussianPrior(window, shape, recipe.prior.patterns, recipe.prior.joint)
    return GaussianDenoiser(prior, corrections["residual"], corrections["local"].children())


def _build_corrections(recipe: Recipe, shape: tuple[int, ...], local: nn.ModuleList) -> nn.ModuleDict:
    """What is trained: the residual network and the local corrections."""
    c = recipe.denoiser
    h, w, channels = shape
    residual = ResidualNetwork(ResidualSpec(c.window, (h, w, channels), c.hidden, c.blocks))
    return nn.ModuleDict({"residual": residual, "local": local})
