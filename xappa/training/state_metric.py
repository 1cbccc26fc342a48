"""Effect of errors of the latents on the decoded state: one quadratic form per grid point."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.training.data import Record
from xappa.training.importance import compute_deviation_ratio, compute_responses, sample_evenly

STATES = 48


@torch.no_grad()
def compute_state_metric(
    network: ConvAutoencoder,
    raw: np.ndarray,
    statistics: dict[str, np.ndarray],
    record: Record,
    emphasis: Iterable[tuple[str, float]],
    seed: int,
) -> Tensor:
    """Perturb each channel of some training states by the same white signs, decode, and sum products of the changes.

    Parameters
    ----------
    network : ConvAutoencoder
    raw : array (time, h, w, C)
        Latents as encoded.
    statistics : dict
        With ``latent_deviation``.
    record : Record
    emphasis : iterable of (str, float)
        Factors on the squared errors of variables; all count by their channels' deviations and by area.
    seed : int
        Seed of the signs.

    Returns
    -------
    Tensor (h * w, C, C), float64
        S of each place, of mean trace C: ``e S e`` is the state's squared error there for an error e of standardised
        latents, up to a factor. What neighbours do to a place is counted as its own doing.
    """
    device = next(network.parameters()).device
    ratio = compute_deviation_ratio(record)
    for name, factor in emphasis:
        ratio[list(record.spec.of(name))] *= factor**0.5
    area = np.cos(np.deg2rad(record.spec.latitude))
    roots = torch.from_numpy((ratio * np.sqrt(area)[:, None]).astype("f4")).to(device)
    h, w, c = raw.shape[1:]
    total = torch.zeros(h * w, c, c, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for index in tqdm(sample_evenly(record.list_times(0), STATES), desc="metric", unit="state"):
        signs = 2.0 * torch.randint(2, (h, w, 1), generator=generator) - 1
        fields = torch.cat([part * roots for part in compute_responses(network, raw, statistics, record, index, signs)])
        blocks = fields.view(c, -1, h, fields.shape[2] // h, w, fields.shape[3] // w).permute(2, 4, 0, 1, 3, 5)
        blocks = blocks.reshape(h * w, c, -1)
        total += (blocks @ blocks.mT).double().cpu()
    return total * (c / total.diagonal(dim1=1, dim2=2).sum(1).mean())
