"""Sums over windows of what the last correction is fitted to: of the regressors, and of what a denoiser leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from xappa.diffusion.gaussian import GaussianDenoiser, compute_correction_factor
from xappa.model.corrections.local import with_neighbours
from xappa.model.corrections.seasonal_diurnal import SeasonalDiurnalSpec, stack_regressors
from xappa.model.dates import to_date_tensor
from xappa.training.data import Record
from xappa.training.loop import save_atomically

LEVELS = (0.5, 1.0, 2.0)
"""Noise levels of the windows, in turn."""
BATCH = 16
CHECKPOINT = 200


@dataclass(frozen=True)
class Moments:
    """Mean products over times, place by place: of the regressors with themselves and with what they are to tell.

    Parameters
    ----------
    square : Tensor (h * w, inputs, inputs)
    product : Tensor (h * w, inputs, C)
    """

    square: Tensor
    product: Tensor


@torch.no_grad()
def accumulate_moments(
    denoiser: GaussianDenoiser,
    latents: np.ndarray,
    record: Record,
    starts: np.ndarray,
    seed: int,
    checkpoint: Path | None = None,
) -> Moments:
    """Moments over windows that begin at `starts`, with the denoiser's error in units in which the correction is added.

    Errors at all noise levels count there as they do in the loss: (1 + sigma^-2) times c^2 is the same at all.

    Parameters
    ----------
    denoiser : GaussianDenoiser
        As trained.
    latents : array (time, h, w, C), float32
        Standardised.
    record : Record
    starts : int array
    seed : int
        Seed of the noise, with the number of the batch: sums that go on draw what uninterrupted ones would.
    checkpoint : Path, optional
        File of the running sums, written every `CHECKPOINT` batches; if there, they go on from it.
    """
    h, w, c = denoiser.prior.shape
    spec = SeasonalDiurnalSpec((h, w, c))
    device = denoiser.prior.patterns.device
    square = torch.zeros(h * w, spec.inputs, spec.inputs, device=device)
    product = torch.zeros(h * w, spec.inputs, c, device=device)
    dates = to_date_tensor(record.times)
    batches = np.array_split(starts, -(-len(starts) // BATCH))
    first = 0
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        square, product, first = state["square"], state["product"], state["batches"]
    for number in tqdm(range(first, len(batches)), desc="dated", unit="batch", initial=first, total=len(batches)):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        part = batches[number]
        index = part[:, None] + np.arange(denoiser.prior.window)
        date = dates[torch.from_numpy(index)].to(device)
        x = torch.from_numpy(latents[index])
        sigma = torch.tensor([LEVELS[(number + k) % len(LEVELS)] for k in range(len(part))])
        column = sigma[:, None, None, None, None]
        x_t = (x + column * torch.randn(x.shape, generator=generator)).to(device)
        error = (x.to(device) - denoiser(x_t, sigma.to(device), date)) / compute_correction_factor(column).to(device)
        a = stack_regressors(denoiser.prior.denoise(x_t, sigma.to(device)), date)
        b = error.permute(2, 3, 0, 1, 4).flatten(2, 3).flatten(0, 1)
        square.baddbmm_(a.mT, a)
        product.baddbmm_(a.mT, b)
        if checkpoint is not None and (number + 1) % CHECKPOINT == 0:
            save_atomically({"square": square, "product": product, "batches": number + 1}, checkpoint)
    count = len(starts) * denoiser.prior.window
    return Moments(square / count, product / count)


def pool_moments(found: Moments, grid: tuple[int, int], share: float) -> Moments:
    """Means of the moments at a place of a grid (h, w) and at its four neighbours, which count `share` each."""
    if not share:
        return found

    def mean(x: Tensor) -> Tensor:
        here, *beside = with_neighbours(x.view(*grid, -1)).chunk(5, -1)
        return ((here + share * torch.stack(beside).sum(0)) / (1 + 4 * share)).view(x.shape)

    return Moments(mean(found.square), mean(found.product))
