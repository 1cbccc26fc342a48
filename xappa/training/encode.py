"""Encode the nature run once, and standardise the latents by place and season."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from xappa._files import replace_atomically
from xappa.errors import ModelError
from xappa.model.climatology import season_basis
from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.training.data import Record
from xappa.training.regression import smooth

LATENT_STATISTICS = "latent-statistics.safetensors"
MADE_OF_LATENTS = (
    "standardised.npy",
    LATENT_STATISTICS,
    "importance.safetensors",
    "prior.safetensors",
    "local.safetensors",
    "denoiser.pt",
    "moments.pt",
    "dated.safetensors",
    "remainder.safetensors",
    "rehearsal",
)
"""What in a working folder is worth nothing once its latents are others."""


def compute_latent_deviation(coefficients: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Deviation of the latents at `times`: exp of a seasonal cycle, (time, h, w, C)."""
    return np.exp(np.tensordot(season_basis(times).astype("f4"), coefficients, 1))


@torch.no_grad()
def encode_record(network: ConvAutoencoder, record: Record, out: Path, bfloat16: bool = False) -> np.ndarray:
    """Latents of the whole record, not standardised: float32 (time, h, w, C), memory-mapped, made once.

    Raises
    ------
    ModelError
        If there are latents of another encoder.
    """
    file, mark = out / "latents.npy", out / "latents.sha256"
    digest = _hash_encoder(network)
    if file.exists() and (not mark.exists() or mark.read_text() != digest):
        raise ModelError(
            f"{file} holds latents of another encoder than the one trained here: remove it and what came of it "
            f"({', '.join(MADE_OF_LATENTS)}), then encode again."
        )
    if not file.exists():
        device = next(network.parameters()).device
        part = out / "latents.part.npy"
        h, w, c = network.spec.latent_shape
        latents = np.lib.format.open_memmap(part, "w+", "f4", (len(record.times), h, w, c))
        for index in tqdm(np.array_split(np.arange(len(record.times)), 400), desc="encode", unit="chunk"):
            x = torch.from_numpy(record.anomalies[index].astype("f4")).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                z = network.encode(x.contiguous(memory_format=torch.channels_last))
            latents[index] = z.float().cpu().numpy()
        latents.flush()
        mark.write_text(digest)
        os.replace(part, file)
    return np.load(file, mmap_mode="r")


def _hash_encoder(network: ConvAutoencoder) -> str:
    """Identity of an encoder."""
    found = hashlib.sha256()
    for part in (network.encoder, network.encoder_linear):
        for name, value in part.state_dict().items():
            found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def standardise(latents: np.ndarray, record: Record, out: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Latents less their mean, over a deviation that varies with place and season; statistics that are there are used.

    Returns
    -------
    standardised : array (time, h, w, C), float32, memory-mapped
    statistics : dict
        ``latent_mean`` (h, w, C); ``latent_deviation`` (3, h, w, C), coefficients of the logarithm of the deviation.
    """
    file, made = out / LATENT_STATISTICS, out / "standardised.npy"
    if not file.exists():
        with replace_atomically(file) as part:
            save_file(_compute_latent_statistics(latents, record), part)
    statistics = load_file(file)
    if not made.exists():
        part = out / "standardised.part.npy"
        values = np.lib.format.open_memmap(part, "w+", "f4", latents.shape)
        for index in np.array_split(np.arange(len(latents)), 200):
            deviation = compute_latent_deviation(statistics["latent_deviation"], record.times[index])
            values[index] = (latents[index] - statistics["latent_mean"]) / deviation
        values.flush()
        os.replace(part, made)
    return np.load(made, mmap_mode="r"), statistics


def _compute_latent_statistics(latents: np.ndarray, record: Record) -> dict[str, np.ndarray]:
    """Statistics of the latents of the training period."""
    train = record.list_times(0)
    mean = latents[train].mean(0, dtype="f8").astype("f4")
    months = record.times.astype("datetime64[M]").astype(int) % 12
    seen = np.unique(months[train])
    variance = np.stack([np.square(latents[train[months[train] == m]] - mean).mean(0) for m in seen])
    # Monthly variances, smoothed over neighbouring cells; then one harmonic of the year through their logarithm.
    variance = smooth(variance.transpose(0, 3, 1, 2), passes=1).transpose(0, 2, 3, 1)
    middle = np.array([f"2001-{m + 1:02d}-15" for m in seen], "datetime64[s]")
    log = 0.5 * np.log(np.maximum(variance, 1e-6)).reshape(len(seen), -1)
    coefficients = np.linalg.lstsq(season_basis(middle), log, rcond=None)[0].reshape(3, *mean.shape).astype("f4")
    return {"latent_mean": mean, "latent_deviation": coefficients}
