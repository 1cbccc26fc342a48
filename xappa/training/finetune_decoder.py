"""Analyses of years that are known, by networks drawn at random: what estimates of latents look like.

A decoder that was trained on encoded states alone treats latents as exact. Latents of an analysis are smoother, and
their errors are correlated. From pairs of such latents and the truth the decoder learns the most probable state.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from dask.base import tokenize
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from xappa._files import replace_atomically
from xappa.errors import ModelError
from xappa.model.registry import load
from xappa.operators.sparse import SparseOperator
from xappa.sampling.sampling_tasks import sample
from xappa.sampling.spec import SamplingSpec
from xappa.tasks.planning import choose_guidance, choose_sampler
from xappa.training.config import AnalysisSampling
from xappa.training.data import CORRECTION, Record
from xappa.training.encode import compute_latent_deviation

FOLDER = "rehearsal"
GOLDEN = (5**0.5 - 1) / 2  # its multiples spread evenly over the years, however many there are


def sample_analyses(
    config: AnalysisSampling, record: Record, model: Path, out: Path, seed: int, device: str | None = None
) -> None:
    """Analyse windows, and keep the estimates; those that are there are not analysed again.

    Parameters
    ----------
    config : AnalysisSampling
    record : Record
        Gives the windows: those of the years that are kept for the last correction, or else those of training.
    model : Path
        A model directory.
    out : Path
        Folder of the estimates, one file each.
    seed : int
        Of windows, networks, their errors and the members' noise.
    device : str, optional
        As `xappa.load` takes it.

    Raises
    ------
    ModelError
        If there are estimates of another model.
    """
    out.mkdir(parents=True, exist_ok=True)
    mark, digest = out / "model.sha256", load(str(model), device=device).digest
    if mark.exists() and mark.read_text() != digest:
        raise ModelError(
            f"{out} holds analyses by another model than {model} now is. Remove it, then run 'xappa train "
            "finetune-decoder' again."
        )
    mark.write_text(digest)
    window = record.spec.window
    kept = record.list_windows(CORRECTION, window)
    starts = kept if len(kept) else record.list_windows(0, window)
    for number in tqdm(range(config.count), desc="rehearse", unit="analysis"):
        file = out / f"{number:05d}.safetensors"
        if file.exists():
            continue
        rng = np.random.default_rng([seed, number])
        first = int(starts[int(((number + 0.5) * GOLDEN) % 1 * len(starts))])
        estimate = _analyse(config, record, str(model), first, rng, device)
        with replace_atomically(file) as part:
            save_file({"latents": estimate.astype("f2"), "first": np.array(first)}, part)


def read_analyses(out: Path, record: Record, statistics: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Files that `sample_analyses` has written.

    Returns
    -------
    latents : array (state, 2, h, w, C), float32
        Of both members, as the decoder takes them.
    index : array (state,)
        Index of each state in the record.
    """
    found, index = [], []
    for file in sorted(out.glob("[0-9]*.safetensors")):
        kept = load_file(file)
        times = int(kept["first"]) + np.arange(kept["latents"].shape[1])
        deviation = compute_latent_deviation(statistics["latent_deviation"], record.times[times])
        found.append((kept["latents"].astype("f4") * deviation + statistics["latent_mean"]).swapaxes(0, 1))
        index.append(times)
    return np.concatenate(found), np.concatenate(index)


def _analyse(
    config: AnalysisSampling, record: Record, address: str, first: int, rng: np.random.Generator, device: str | None
) -> np.ndarray:
    """Two members of opposite noise (2, time, h, w, C), standardised: their mean is near that of a large ensemble."""
    model = load(address, device=device)
    times = record.times[first : first + record.spec.window]
    time, channel, cell, error = draw_network(config, record, rng)
    truth = model.destandardise(record.anomalies[first : first + len(times)].astype("f4"), times)
    truth = truth.reshape(*truth.shape[:2], -1)[time, channel, cell]
    column = (len(time), 1)
    stencil = SparseOperator(
        time=time.reshape(column),
        channel=channel.reshape(column),
        cell=cell.reshape(column),
        weight=np.ones(column),
        offset=np.zeros(len(time)),
        value=truth + error * rng.standard_normal(len(time)),
        error=error,
        observation=np.arange(len(time)),
        variable=np.zeros(len(time), int),
        names=("value",),
    )
    plan = SamplingSpec(
        address,
        model.digest,
        device,
        times,
        stencil,
        guidance=choose_guidance(None, model.static_prior),
        sampler=replace(choose_sampler(None, None), antithetic=True),
        stitching="symmetrical",
        seed=int(rng.integers(2**31)),
    )
    return sample(plan, (0, 1), tokenize(plan)).latents


def draw_network(
    config: AnalysisSampling, record: Record, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A network: time, channel and cell of each value, and its error's deviation, in the channel's units; each (M,).

    Either values scattered over time, channels and sphere, or columns of most channels at every or every other time.
    """
    channels, height, width = record.spec.shape
    window, cells = record.spec.window, height * width
    area = np.repeat(np.cos(np.deg2rad(record.spec.latitude)), width)
    area /= area.sum()
    error = _draw_log_uniform(config.error, rng) * record.statistics["deviation"].astype(float)
    if rng.random() < config.scattered:
        count = max(1, int(_draw_log_uniform(config.share, rng) * window * channels * cells))
        time, channel = rng.integers(window, size=count), rng.integers(channels, size=count)
        cell = rng.choice(cells, count, p=area)
    else:
        count = max(1, int(_draw_log_uniform(config.columns, rng) * cells))
        chosen = np.flatnonzero(rng.random(channels) < config.observed)
        grid = np.meshgrid(
            np.arange(0, window, int(rng.integers(1, 3))),
            chosen if len(chosen) else np.arange(channels),
            rng.choice(cells, count, p=area, replace=False),
            indexing="ij",
        )
        time, channel, cell = (part.ravel() for part in grid)
    flat = np.unique(np.ravel_multi_index((time, channel, cell), (window, channels, cells)))
    time, channel, cell = np.unravel_index(flat, (window, channels, cells))
    there = record.statistics["mask"].astype(bool).reshape(channels, cells)[channel, cell]
    return time[there], channel[there], cell[there], error[channel[there]]


def _draw_log_uniform(ends: tuple[float, float], rng: np.random.Generator) -> float:
    """A number between two, evenly on the logarithmic scale."""
    return float(np.exp(rng.uniform(*np.log(ends))))
