"""Importance of each latent for the decoded state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.training.data import Record
from xappa.training.encode import compute_latent_deviation
from xappa.training.loop import save_tensors

STEP = 0.3  # of a latent's deviation
STATES = 8


@dataclass(frozen=True)
class LatentImportance:
    """Weights of squared errors of standardised latents, by row and by channel; both have mean 1.

    Parameters
    ----------
    rows : Tensor (h,)
        The area of a row's places.
    channels : Tensor (C,)
        The mean squared change of the state, in each variable's deviation, that a change of one deviation makes.
    """

    rows: Tensor
    channels: Tensor

    @property
    def weights(self) -> Tensor:
        """Both together: (h, 1, C)."""
        return self.rows[:, None, None] * self.channels

    @classmethod
    def uniform(cls, shape: tuple[int, int, int]) -> LatentImportance:
        """All latents (h, w, C) alike."""
        return cls(torch.ones(shape[0]), torch.ones(shape[2]))


@torch.no_grad()
def measure_importance(
    network: ConvAutoencoder, raw: np.ndarray, statistics: dict[str, np.ndarray], record: Record, seed: int
) -> LatentImportance:
    """Perturb each channel of some training states, and decode.

    Parameters
    ----------
    network : ConvAutoencoder
    raw : array (time, h, w, C)
        Latents as encoded.
    statistics : dict
        With ``latent_deviation``.
    record : Record
    seed : int
        Seed of the perturbations, which are white in space.
    """
    device = next(network.parameters()).device
    ratio = compute_deviation_ratio(record)
    area = np.cos(np.deg2rad(record.spec.latitude))
    weights = torch.from_numpy((np.square(ratio) * area[:, None] / area.mean()).astype("f4")).to(device)
    times = record.list_times(0)
    channels = torch.zeros(raw.shape[-1], device=device)
    generator = torch.Generator().manual_seed(seed)
    for index in sample_evenly(times, STATES):
        noise = torch.randn((*raw.shape[1:3], 1), generator=generator)
        for k, part in enumerate(compute_responses(network, raw, statistics, record, index, noise)):
            channels[k] += (part.square() * weights).mean()
    rows = torch.from_numpy(area.reshape(raw.shape[1], -1).mean(1)).float()
    return LatentImportance(rows / rows.mean(), (channels / channels.mean()).cpu())


def compute_deviation_ratio(record: Record) -> np.ndarray:
    """What brings errors in units of the scale to those of each channel's deviation: (channel, lat, lon)."""
    given = record.statistics
    return given["mask"] * given["scale"] / given["deviation"][:, None, None]


def sample_evenly(times: np.ndarray, count: int) -> np.ndarray:
    """`count` of the times, evenly spread."""
    return times[((np.arange(count) + 0.5) * len(times) / count).astype(int)]


@torch.no_grad()
def compute_responses(
    network: ConvAutoencoder,
    raw: np.ndarray,
    statistics: dict[str, np.ndarray],
    record: Record,
    index: int,
    noise: Tensor,
) -> Iterator[Tensor]:
    """Changes of a decoded state when its latents change, a channel at a time, by `noise` times `STEP` deviations.

    Parameters
    ----------
    network, raw, statistics, record
        As in `measure_importance`.
    index : int
        Index of the state.
    noise : Tensor (h, w, 1)
        The same for all channels.

    Yields
    ------
    Tensor (1, channel, latitude, longitude)
        In units of the scale, one for each channel of the latents.
    """
    device = next(network.parameters()).device
    z = torch.from_numpy(raw[index].astype("f4")).to(device)
    deviation = compute_latent_deviation(statistics["latent_deviation"], record.times[index : index + 1])[0]
    change = STEP * torch.from_numpy(deviation) * noise
    one = torch.diag_embed(change.to(device)).permute(3, 0, 1, 2)
    before = network.decode(z[None])
    for part in (z + one).split(1):
        yield network.decode(part) - before


def restore(
    network: ConvAutoencoder,
    raw: np.ndarray,
    statistics: dict[str, np.ndarray],
    record: Record,
    seed: int,
    out: Path,
) -> LatentImportance:
    """As measured, once, and kept in ``out/importance.safetensors``."""
    file = out / "importance.safetensors"
    if not file.exists():
        found = measure_importance(network, raw, statistics, record, seed)
        save_tensors({"rows": found.rows, "channels": found.channels}, file)
    return LatentImportance(**load_file(file))
