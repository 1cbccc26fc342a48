"""Fit what the decoder leaves of some channels to the latents around, at every place in its own way."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from xappa.model.corrections.decoder import DecoderCorrection, gather_neighbours
from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.training import autoencoder, patterns
from xappa.training.config import Recipe
from xappa.training.data import CORRECTION, Record
from xappa.training.loop import save_atomically, save_tensors, to_channels_last
from xappa.training.moments import Moments

FILE = "remainder.safetensors"
BATCH = 96
CHECKPOINT = 20

Estimates = tuple[np.ndarray, np.ndarray]


def fit_decoder_correction(
    recipe: Recipe,
    network: ConvAutoencoder,
    latents: np.ndarray,
    record: Record,
    estimates: Estimates | None = None,
    checkpoint: Path | None = None,
) -> DecoderCorrection:
    """Ridge regression of the decoder's error on `gather_neighbours` of each cell, by patterns that all cells share.

    Parameters
    ----------
    recipe : Recipe
    network : ConvAutoencoder
        Of `with_unfitted_correction`: what it adds is taken to be nothing yet.
    latents : array (time, h, w, C), float32
        As the decoder takes them.
    record : Record
        Gives the states: those that are kept for the last correction, or else those of training.
    estimates : (array (state, member, h, w, C), array (state,)), optional
        States of sampled analyses (see `AnalysisSampling`), each with the weight `analysis_weight` of the recipe.
    checkpoint : Path, optional
        File of the running sums; if there, they go on from it.

    Returns
    -------
    DecoderCorrection
        That of the network, fitted.
    """
    config = recipe.decoder_correction
    kept = record.list_times(CORRECTION)
    encoded = kept if len(kept) else record.list_times(0)
    parts = [(latents, encoded, encoded, 1.0)]
    if estimates is not None:
        parts.append((estimates[0], np.arange(len(estimates[1])), estimates[1], config.analysis_weight))
    batches = [
        (source, *pair, share)
        for source, here, there, share in parts
        for pair in zip(*(np.array_split(index, -(-len(index) // BATCH)) for index in (here, there)), strict=True)
    ]
    sums, first = _load_sums(network, checkpoint)
    for number in tqdm(range(first, len(batches)), desc="remainder", unit="batch", initial=first, total=len(batches)):
        source, here, there, share = batches[number]
        square, product = _compute_products(network, np.ascontiguousarray(source[here]), record.anomalies[there])
        sums["square"] += share * square
        sums["product"] += share * product
        sums["count"] += share * len(here)
        if checkpoint is not None and (number + 1) % CHECKPOINT == 0:
            save_atomically({**sums, "batches": number + 1}, checkpoint)
    found = Moments(sums["square"] / sums["count"], sums["product"] / sums["count"])
    patterns.fit_correction(network.remainder, found, _make_metric(network, record), config.ridge, config.steps)
    return network.remainder


def restore(
    recipe: Recipe,
    network: ConvAutoencoder,
    latents: np.ndarray,
    record: Record,
    estimates: Estimates | None,
    out: Path,
) -> ConvAutoencoder:
    """The autoencoder with what tells its decoder's remainder, fitted once to a decoder and kept in ``out``."""
    whole, file, mark = with_unfitted_correction(recipe, network, record), out / FILE, _hash_inputs(recipe, network)
    if not file.exists() or _read_hash(file) != mark:
        sums = out / f"remainder-{mark[:16]}.pt"
        made = fit_decoder_correction(recipe, whole, latents, record, estimates, sums)
        save_tensors(made.state_dict(), file, {"mark": mark})
        sums.unlink(missing_ok=True)
    whole.remainder.load_state_dict(load_file(file))
    return whole.eval()


def without_correction(network: ConvAutoencoder) -> ConvAutoencoder:
    """The autoencoder without the remainder, if it has one."""
    bare = ConvAutoencoder(replace(network.spec, remainder_channels=(), remainder_rank=0))
    bare.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("remainder.")})
    return bare.eval()


def with_unfitted_correction(recipe: Recipe, network: ConvAutoencoder, record: Record) -> ConvAutoencoder:
    """The network, with a remainder of the recipe's size that adds nothing yet."""
    whole = autoencoder.build_autoencoder(recipe, record, network.spec.places, remainder=True)
    whole.load_state_dict({**whole.state_dict(), **network.state_dict()})
    to_channels_last(whole, next(network.parameters()).device)
    return whole


def _hash_inputs(recipe: Recipe, network: ConvAutoencoder) -> str:
    """What a remainder is made of: another decoder, or other settings, ask for another one."""
    found = hashlib.sha256(repr(recipe.decoder_correction).encode())
    for name, value in network.state_dict().items():
        if name.startswith("decoder"):
            found.update(value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _read_hash(file: Path) -> str | None:
    with safe_open(file, "pt") as kept:
        return (kept.metadata() or {}).get("mark")


def _load_sums(network: ConvAutoencoder, checkpoint: Path | None) -> tuple[dict[str, Tensor], int]:
    """Running sums, and how many batches are in them."""
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        return state, state.pop("batches")
    cells, inputs, outputs = network.remainder.sizes
    return {
        "square": torch.zeros(cells, inputs, inputs),
        "product": torch.zeros(cells, inputs, outputs),
        "count": torch.zeros(()),
    }, 0


@torch.no_grad()
def _compute_products(network: ConvAutoencoder, latents: np.ndarray, fields: np.ndarray) -> tuple[Tensor, Tensor]:
    """Products of states (B, h, w, C), or of means of members (B, member, h, w, C), with themselves and residuals."""
    device = next(network.parameters()).device
    z = torch.from_numpy(latents).to(device)
    members = z if z.ndim == 5 else z[:, None]
    decoded = torch.cat([network.decode(part.flatten(0, 1)) for part in members.split(16)])
    decoded = decoded.unflatten(0, members.shape[:2]).mean(1)
    left = torch.from_numpy(fields.astype("f4")).to(device) - decoded
    a = gather_neighbours(members.mean(1).permute(0, 3, 1, 2))
    b = group_by_cell(left[:, list(network.spec.remainder_channels)], network.remainder.factor)
    return (a.mT @ a).cpu(), (a.mT @ b).cpu()


def group_by_cell(fields: Tensor, factor: int) -> Tensor:
    """(B, channel, H, W) to (cell, B, channel * pixel), as `DecoderCorrection` orders them."""
    return F.pixel_unshuffle(fields, factor).flatten(2).permute(2, 0, 1)


def _make_metric(network: ConvAutoencoder, record: Record) -> Tensor:
    """Metric of errors, by deviation and area: (cell, channel * pixel, channel * pixel), mean diagonal 1."""
    area = autoencoder.compute_area_weights(np.array(record.spec.latitude))
    squared = (autoencoder.compute_scale_ratio(record) ** 2 * area)[list(network.spec.remainder_channels)]
    weights = group_by_cell(torch.from_numpy(squared)[None].double(), network.remainder.factor)[:, 0]
    return torch.diag_embed(weights / weights.mean())
