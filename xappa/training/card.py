"""The model card: what was measured on held-out data, as numbers for ``model.json`` and as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from xappa.diffusion.gaussian import GaussianDenoiser
from xappa.model.dates import to_date_tensor
from xappa.model.networks.autoencoder import ConvAutoencoder
from xappa.training.autoencoder import measure_reconstruction_error, score
from xappa.training.config import Recipe
from xappa.training.data import CORRECTION, Record
from xappa.training.denoiser import LEVELS, measure_validation_loss
from xappa.training.simulate import hash_chunks, list_chunks

SPLITS = ("train", "validation", "test", "correction")
"""Names of the splits, by their numbers."""
KEY = (
    ("geopotential", 500),
    ("temperature", 850),
    ("u_component_of_wind", 500),
    ("2m_temperature", None),
    ("mean_sea_level_pressure", None),
    ("specific_humidity", 700),
    ("total_precipitation_6hr", None),
)


def measure(
    recipe: Recipe,
    record: Record,
    latents: np.ndarray,
    autoencoder: ConvAutoencoder,
    denoiser: GaussianDenoiser,
    nature: Path,
) -> dict:
    """Scores of both networks on the test period, and the hash of that period.

    Parameters
    ----------
    recipe, record, latents, autoencoder, denoiser
        What training left; latents are standardised.
    nature : Path
        Folder of the nature run.

    Returns
    -------
    dict
        Numbers and strings alone, ready for JSON.
    """
    error = measure_reconstruction_error(autoencoder, record, record.list_times(2)[::6])
    scale = _compute_mean_scale(record)
    first = record.list_windows(2, record.spec.window)[::60]
    dates, device = to_date_tensor(record.times), torch.device("cpu")
    losses = [
        measure_validation_loss(d, latents, dates, first, record.spec.window, device)
        for d in (GaussianDenoiser(denoiser.prior, None), denoiser)
    ]
    run = recipe.simulation.runs[int(record.run[record.list_times(2)[0]])].name
    start, end = recipe.splits.test[0]
    channels = [c for c in KEY if c in record.spec.channels]
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "splits": list_splits(recipe),
        "times": {name: int((record.split == code).sum()) for code, name in enumerate(SPLITS)},
        "test_period_sha256": hash_chunks(list_chunks(nature / run, start, end)),
        "autoencoder_error": {
            "all channels, in units of each channel's deviation": score(error, record),
            "the same without precipitation": score(error, record, leave_out=("total_precipitation_6hr",)),
            "all channels, as weighted in training": float(np.sqrt((error**2).mean())),
            **{_format_channel(c): float((error * scale)[record.spec.index(*c)]) for c in channels},
        },
        "denoising_loss": {
            f"{level:g}": {"gaussian": g, "network": n} for level, g, n in zip(LEVELS, *losses, strict=True)
        },
    }


def list_splits(recipe: Recipe) -> dict[str, list[list[str]]]:
    """Periods of each split."""
    kept = [[run.start, run.end] for run in recipe.simulation.runs if run.name in recipe.splits.correction]
    return {name: [list(p) for p in getattr(recipe.splits, name)] for name in SPLITS[:CORRECTION]} | {
        "correction": kept
    }


def _compute_mean_scale(record: Record) -> np.ndarray:
    """Area root mean square of the local scale, physical units: (channel,)."""
    area = np.cos(np.deg2rad(record.spec.latitude))[:, None] * record.statistics["mask"]
    return np.sqrt((record.statistics["scale"] ** 2 * area).sum((1, 2)) / area.sum((1, 2)))


def _format_channel(channel: tuple[str, int | None]) -> str:
    return channel[0] if channel[1] is None else f"{channel[0]} {channel[1]} hPa"


def render(recipe: Recipe, about: dict, folder: Path, scores: str) -> str:
    """The card, in Markdown.

    Parameters
    ----------
    recipe : Recipe
    about : dict
        From `measure`.
    folder : Path
        The model directory, whose files' sizes are listed.
    scores : str
        Further scores, quoted as they are.
    """
    periods = {name: ", ".join(f"{a} to {b}" for a, b in found) for name, found in about["splits"].items() if found}
    split = "; ".join(f"{name} {found}" for name, found in periods.items())
    files = "\n".join(f"- `{f.name}`: {f.stat().st_size / 1e6:.1f} MB" for f in sorted(folder.glob("*.safetensors")))
    errors = "\n".join(f"| {name} | {value:.4g} |" for name, value in about["autoencoder_error"].items())
    losses = "\n".join(
        f"| {level} | {v['gaussian']:.4f} | {v['network']:.4f} |" for level, v in about["denoising_loss"].items()
    )
    quoted = f"\n## Twin experiments\n\n{scores.strip()}\n" if scores.strip() else ""
    return f"""# Model card: {recipe.name}

A latent diffusion model of a *simulated* atmosphere (JCM 3.0.0: SPEEDY physics, T31, 8 levels; sea-surface
temperatures as observed), for examples, tests and teaching. It has never seen the real one: its climate is
warmer in the polar winter, its eddies are weaker, and its errors double in 3 to 4.5 days, so that twin experiments
look easier than reality.

- Periods: {split} ({about["times"]["train"]} training times, 6-hourly).
- Seed {about["seed"]}; recipe `xappa/training/speedy.toml`; made by `xappa train`.
- Test period: sha256 `{about["test_period_sha256"]}`. All scores below are of this period. It can be
  made again from a restart state: `tests/benchmarks/nature_run` (another processor may round differently).

{files}

## Autoencoder, root mean square error of decode(encode(x))

| quantity | error |
|---|---|
{errors}

## Denoiser, denoising loss (1 knows nothing)

| noise level | Gaussian prior alone | with all corrections |
|---|---|---|
{losses}
{quoted}"""
