"""From the nature run's files to standardised anomalies at grid points: the numbers that both networks learn from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from xappa._files import replace_atomically, write_text
from xappa.errors import ModelError, translate_read_errors
from xappa.model.climatology import ANNUAL, DIURNAL, annual_basis, diurnal_basis
from xappa.model.state import StateSpec
from xappa.training.config import Recipe
from xappa.training.regression import Regression, smooth

STATISTICS = "statistics.safetensors"
CORRECTION = 3
"""The split that is kept for the last correction."""


@dataclass(frozen=True)
class Record:
    """Standardised anomalies of a nature run.

    Parameters
    ----------
    anomalies : array (time, channel, latitude, longitude), float16, memory-mapped
        ``(value - climatology) / scale``; 0 where a variable is missing.
    times : array (time,), datetime64[s]
    run : array (time,), int
        Number of the simulation that a time belongs to: windows never join two.
    split : array (time,), int8
        0 train, 1 validation, 2 test, `CORRECTION`, -1 none (the gaps).
    statistics : dict
        ``annual`` (channel, 5, lat, lon), ``diurnal`` (n, 9, lat, lon) of the channels
        ``diurnal_channels`` (n,), ``scale`` and ``mask`` (channel, lat, lon), ``deviation`` (channel,),
        ``surface_height`` and ``land`` (lat, lon).
    spec : StateSpec
    """

    anomalies: np.ndarray
    times: np.ndarray
    run: np.ndarray
    split: np.ndarray
    statistics: dict[str, np.ndarray]
    spec: StateSpec

    def list_windows(self, split: int, length: int) -> np.ndarray:
        """First indices of all windows of `length` times that lie in one simulation and one split."""
        first = np.arange(len(self.times) - length + 1)
        last = first + length - 1
        inside = (self.split[first] == split) & (self.split[last] == split) & (self.run[first] == self.run[last])
        return first[inside]

    def list_times(self, split: int) -> np.ndarray:
        """Indices of the times of a split."""
        return np.flatnonzero(self.split == split)


def make_state_spec(recipe: Recipe, latitude: np.ndarray, longitude: np.ndarray) -> StateSpec:
    """The state that a recipe asks for, on the grid of the nature run."""
    channels: list[tuple[str, int | None]] = [(name, None) for name in recipe.state.surface]
    for name, levels in recipe.state.upper_air:
        channels += [(name, level) for level in levels]
    spec = StateSpec(
        channels=tuple(channels),
        latitude=tuple(float(x) for x in latitude),
        longitude=tuple(float(x) for x in longitude),
        step_hours=recipe.simulation.save_hours,
        window=recipe.denoiser.window,
        masked=recipe.state.masked,
    )
    spec.require_sensible()
    return spec


def stack_channels(dataset: xr.Dataset, spec: StateSpec) -> np.ndarray:
    """Channels of one file: (time, channel, latitude, longitude), float32."""
    fields = [dataset[n].sel(level=lev).values if lev else dataset[n].values for n, lev in spec.channels]
    return np.stack(fields, 1).astype("f4")


def _list_files(recipe: Recipe, nature: Path) -> list[tuple[int, Path]]:
    found = [
        (k, f) for k, run in enumerate(recipe.simulation.runs) for f in sorted((nature / run.name).glob("[0-9]*.nc"))
    ]
    if not found:
        raise ModelError(f"No simulated chunks under {nature}; run 'xappa train simulate' first.")
    return found


def _assign_splits(recipe: Recipe, times: np.ndarray, run: np.ndarray) -> np.ndarray:
    split = np.full(len(times), -1, "i1")
    splits = recipe.splits
    for code, periods in enumerate((splits.train, splits.validation, splits.test)):
        split[_is_within(periods, times)] = code
    split[_is_of_runs(recipe, splits.correction, run)] = CORRECTION
    return split


def _is_of_runs(recipe: Recipe, names: tuple[str, ...], run: np.ndarray) -> np.ndarray:
    """Which times are of one of the named runs."""
    return np.isin(run, [k for k, one in enumerate(recipe.simulation.runs) if one.name in names])


def _is_within(periods: tuple[tuple[str, str], ...], times: np.ndarray) -> np.ndarray:
    """Which times lie in one of the periods."""
    inside = np.zeros(len(times), bool)
    for start, end in periods:
        inside |= (times > np.datetime64(start)) & (times <= np.datetime64(end))
    return inside


def compute_harmonics(times: np.ndarray) -> np.ndarray:
    """Harmonics of the year and of the day, side by side: (time, 14)."""
    return np.concatenate([annual_basis(times), diurnal_basis(times)], -1)


def prepare(recipe: Recipe, nature: Path, out: Path) -> Record:
    """Write the anomalies and their statistics under `out`; done once, then opened.

    Statistics that are there already are used as they are.

    Raises
    ------
    ModelError
        If they are of another grid, or of other channels, than the nature run.
    """
    if (out / "record.json").exists():
        return open_record(recipe, out)
    files = _list_files(recipe, nature)
    out.mkdir(parents=True, exist_ok=True)
    with xr.open_dataset(files[0][1]) as first:
        spec = make_state_spec(recipe, first.latitude.values, first.longitude.values)
        per_file = first.sizes["time"]
    shape = (len(files) * per_file, *spec.shape)
    raw = np.lib.format.open_memmap(out / "raw.npy", "w+", "f4", shape)
    times = np.empty(shape[0], "datetime64[s]")
    run = np.empty(shape[0], "i4")
    for k, (number, file) in enumerate(tqdm(files, desc="read", unit="file")):
        rows = slice(k * per_file, (k + 1) * per_file)
        with xr.open_dataset(file) as dataset:
            raw[rows] = stack_channels(dataset, spec)
            times[rows] = dataset.time.values.astype("datetime64[s]")
        run[rows] = number
    if not (out / STATISTICS).exists():
        with xr.open_dataset(files[0][1].parent / "static.nc") as static, replace_atomically(out / STATISTICS) as part:
            save_file(_compute_statistics(recipe, spec, raw, times, run, static), part)
    statistics = load_file(out / STATISTICS)
    if statistics["scale"].shape != spec.shape:
        raise ModelError(
            f"{out / STATISTICS} is of states {statistics['scale'].shape}, the nature run of {spec.shape} "
            "(channel, latitude, longitude); prepare into another folder."
        )
    coefficients = np.zeros((ANNUAL + DIURNAL, *spec.shape), "f4")
    coefficients[:ANNUAL] = statistics["annual"].swapaxes(0, 1)
    coefficients[ANNUAL:, statistics["diurnal_channels"]] = statistics["diurnal"].swapaxes(0, 1)
    anomalies = np.lib.format.open_memmap(out / "anomalies.npy", "w+", "f2", shape)
    for some in tqdm(np.array_split(np.arange(shape[0]), 200), desc="anomalies", unit="chunk"):
        value = raw[some] - np.tensordot(compute_harmonics(times[some]).astype("f4"), coefficients, 1)
        anomalies[some] = np.nan_to_num(value) / statistics["scale"]
    anomalies.flush()
    np.savez(out / "axes.npz", times=times.astype("i8"), run=run, split=_assign_splits(recipe, times, run))
    record = {"channels": spec.channels, "latitude": spec.latitude, "longitude": spec.longitude}
    write_text(out / "record.json", json.dumps(record))
    (out / "raw.npy").unlink()
    return open_record(recipe, out)


def _compute_statistics(
    recipe: Recipe, spec: StateSpec, raw: np.ndarray, times: np.ndarray, run: np.ndarray, static: xr.Dataset
) -> dict[str, np.ndarray]:
    """Climatology and deviations of the training period alone, or of the periods that the recipe names.

    The deviation at a grid point is smoothed and drawn halfway (geometrically) towards the channel's own, so that land
    and sea differ but the tropics, which are quiet, don't rule the loss.
    """
    usual = _is_within(recipe.splits.climatology or recipe.splits.train, times)
    usual = np.flatnonzero(usual & ~_is_of_runs(recipe, recipe.splits.correction, run))
    chunks = np.array_split(usual, 200)
    size = int(np.prod(spec.shape))
    fit = Regression(size, ANNUAL + DIURNAL)
    for part in tqdm(chunks, desc="climatology", unit="chunk"):
        fit.add(compute_harmonics(times[part]), np.nan_to_num(raw[part].reshape(len(part), size)))
    mask = ~np.isnan(raw[0])
    coefficients = fit.solve().reshape(-1, *spec.shape).astype("f4")
    # The daily cycle is kept only where there is one to speak of: it would be the largest part of the statistics.
    daily = np.array([spec.index(*channel) for channel in recipe.state.list_daily_channels(spec)], "i8")
    coefficients[ANNUAL:, np.setdiff1d(np.arange(spec.shape[0]), daily)] = 0

    area = np.cos(np.deg2rad(spec.latitude))[:, None]
    square = np.zeros(spec.shape)
    for some in tqdm(chunks, desc="deviation", unit="chunk"):
        value = raw[some] - np.tensordot(compute_harmonics(times[some]).astype("f4"), coefficients, 1)
        square += (np.nan_to_num(value) ** 2).sum(0)
    square /= len(usual)
    weight = mask * area
    variance = (square * weight).sum((1, 2)) / weight.sum((1, 2))
    local = np.where(mask, square, variance[:, None, None])
    scale = np.sqrt(np.sqrt(smooth(local) * variance[:, None, None]))
    for name, factor in recipe.state.weight:
        scale[list(spec.of(name))] /= factor
    return {
        "annual": np.ascontiguousarray(coefficients[:ANNUAL].swapaxes(0, 1)),
        "diurnal": np.ascontiguousarray(coefficients[ANNUAL:, daily].swapaxes(0, 1)),
        "diurnal_channels": daily,
        "scale": scale.astype("f4"),
        "mask": mask.astype("u1"),
        "deviation": np.sqrt(variance).astype("f4"),
        "surface_height": (static.geopotential_at_surface.values / 9.80665).astype("f4"),
        "land": static.land_sea_mask.values.astype("f4"),
    }


def open_record(recipe: Recipe, out: Path) -> Record:
    """Open what `prepare` wrote."""
    if not (out / "record.json").exists():
        raise ModelError(f"{out} holds no prepared record; run 'xappa train autoencoder' first.")
    with translate_read_errors(
        out, "a prepared record", ModelError, "Remove it, and run 'xappa train autoencoder' again."
    ):
        return _open_prepared(recipe, out)


def _open_prepared(recipe: Recipe, out: Path) -> Record:
    made = json.loads((out / "record.json").read_text())
    spec = make_state_spec(recipe, np.array(made["latitude"]), np.array(made["longitude"]))
    if [list(c) for c in spec.channels] != made["channels"]:
        raise ModelError(f"{out} was prepared for other channels than the recipe's; prepare into another folder.")
    axes = np.load(out / "axes.npz")
    return Record(
        anomalies=np.load(out / "anomalies.npy", mmap_mode="r"),
        times=axes["times"].astype("datetime64[s]"),
        run=axes["run"],
        split=axes["split"],
        statistics=load_file(out / STATISTICS),
        spec=spec,
    )
