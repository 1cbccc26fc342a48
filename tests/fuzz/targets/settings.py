"""Weights of regridding, recipes, options of functions, stores of results."""

from __future__ import annotations

import inspect
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xappa
from tests import tiny
from tests.fuzz.mutators import LEAVES, mutate_bytes, mutate_text, mutate_tree
from tests.fuzz.target import Target
from xappa.grids.regrid.files import read_weights as read_weights
from xappa.grids.regrid.files import write_weights
from xappa.training.config import Recipe, read_config


def fields(rows: int = 6, columns: int = 8) -> xr.Dataset:
    """Two fields, in two chunks of time."""
    step = 180 / rows
    coords = {
        "time": pd.date_range("2018-11-02", periods=4, freq="6h"),
        "latitude": 90 - step / 2 - step * np.arange(rows),
        "longitude": 360 / columns * np.arange(columns),
    }
    values = 280 + np.arange(4 * rows * columns, dtype="f4").reshape(4, rows, columns) / 100
    ds = xr.Dataset({"2m_temperature": (tuple(coords), values, {"units": "K"})}, coords)
    pressure = (ds["2m_temperature"] * 0 + 1e5).assign_attrs(units="Pa")
    return ds.assign(mean_sea_level_pressure=pressure).chunk(time=2)


def weights_files(folder: Path) -> Sequence[Path]:
    target = fields(3, 4)
    write_weights(xappa.regrid_weights(fields(), target), folder / "weights.nc")
    return [folder / "weights.nc"]


def recipes(folder: Path) -> Sequence[str]:
    return [tiny.RECIPE]


def stores(folder: Path) -> Sequence[Path]:
    return [xappa.to_zarr(fields(), folder / "fields.zarr", progress=False)]


def netcdf(seed: Path, rng: random.Random, folder: Path) -> Path:
    """Bytes, or variables, of a NetCDF file."""
    path = folder / seed.name
    if rng.random() < 0.3:
        path.write_bytes(mutate_bytes(seed.read_bytes(), rng))
        return path
    with xr.open_dataset(seed, engine="netcdf4", decode_cf=False) as opened:
        ds = opened.load()
    name = rng.choice([*ds.variables])
    values = ds[name].values.copy()
    if values.size and rng.random() < 0.7:
        odd = (0, -1, 1, 10**9, -(2**31)) if values.dtype.kind == "i" else (np.nan, np.inf, -1e300, 1e30, 0.0, -1.0)
        values.flat[rng.randrange(values.size)] = rng.choice(odd)
        ds[name] = (ds[name].dims, values, ds[name].attrs)
    else:
        change = rng.randrange(4)
        if change == 0:
            ds = ds.drop_vars(name)
        elif change == 1 and ds[name].dims:
            ds = ds.isel({ds[name].dims[0]: slice(0, rng.randrange(3))})
        elif change == 2:
            ds[name] = ds[name].astype(rng.choice(("f4", "f8", "i2", "i8", "S3")))
        else:
            ds = ds.rename({name: f"{name}x"})
    ds.drop_encoding().to_netcdf(path, engine="netcdf4")
    return path


def text(seed: str, rng: random.Random, folder: Path) -> Path:
    path = folder / "recipe.toml"
    words = ("[[local]]", "true", "1e400", "nan", "-1", "0", '"x"', "[]", "{}", "2000-01-01", "9999999999")
    path.write_text(mutate_text(seed, rng, words), encoding="utf-8")
    return path


def zarr(seed: Path, rng: random.Random, folder: Path) -> Path:
    """Metadata or chunks of a store, or files that are not there."""
    copy = folder / "copy.zarr"
    shutil.copytree(seed, copy)
    file = rng.choice(sorted(file for file in copy.rglob("*") if file.is_file()))
    if file.name == "zarr.json" and rng.random() < 0.8:
        file.write_text(json.dumps(mutate_tree(json.loads(file.read_text()), rng)))
    elif rng.random() < 0.2:
        file.unlink()
    else:
        file.write_bytes(mutate_bytes(file.read_bytes(), rng))
    return copy


def regridded(path: Path) -> np.ndarray:
    held = read_weights(path, (6, 8))
    return held.apply(fields()["2m_temperature"].values)


def continued(store: Path) -> xr.Dataset:
    """The call that wrote the store, again: what is damaged is written anew, or refused."""
    xappa.to_zarr(fields(), store, progress=False)
    return xr.open_zarr(store).load()


def seeds_of_calls(folder: Path) -> Sequence[str]:
    return [*CALLS]


def call(name: str, rng: random.Random, folder: Path) -> tuple[str, dict[str, Any]]:
    """A function with one or several options that are anything."""
    options = [p.name for p in inspect.signature(CALLS[name]).parameters.values() if p.name not in KEPT]
    chosen = rng.sample(options, min(len(options), rng.choice((1, 1, 1, 2, 3))))
    return name, {option: rng.choice((*LEAVES, *OBJECTS)) for option in chosen}


def called(case: tuple[str, dict[str, Any]]) -> Any:
    name, options = case
    return CALLS[name](**NEEDED[name] | options)


REPORTS = pd.DataFrame({"time": "2018-11-02T06", "lat": [10.0, 20.0], "lon": 5.0, "2m_temperature": [287.0, 288.0]})
KEPT = ("ds", "obs", "store", "result", "latents", "path", "device", "name_or_path")
OBJECTS = (object(), np.array([1.0, np.nan]), np.timedelta64(1, "h"), np.datetime64("2018-11-02"), b"x", {1, 2}, 1 + 1j,
           len, REPORTS, slice(1), range(3), np.float32(2), "6h", "2018-11-02", ("a", 1))  # fmt: skip
CALLS = {
    "read_observations": xappa.read_observations, "superob": xappa.superob, "thin": xappa.thin, "regrid": xappa.regrid,
    "regrid_weights": xappa.regrid_weights, "template": xappa.template, "set_options": xappa.get_options,
    "observe": xappa.observe, "verify": xappa.verify, "stations": xappa.platforms.stations,
    "swaths": xappa.platforms.swaths,
}  # fmt: skip
NEEDED: dict[str, dict[str, Any]] = {
    "read_observations": {"source": REPORTS}, "superob": {"obs": REPORTS, "target": 5.0},
    "thin": {"obs": REPORTS, "target": 5.0}, "regrid": {"ds": fields(), "target": 60.0},
    "regrid_weights": {"ds": fields(), "target": 60.0}, "template": {"start": "2018-11-02", "end": "2018-11-03"},
    "set_options": {}, "observe": {"ds": fields(), "where": REPORTS}, "verify": {"ds": fields(), "reference": fields()},
    "stations": {"ds": fields()}, "swaths": {"ds": fields()},
}  # fmt: skip


def not_finite(values: np.ndarray) -> list[str]:
    return ["infinite values"] * bool(np.isinf(values).any())


def absurd_recipe(recipe: Recipe) -> list[str]:
    training = (recipe.autoencoder.training, recipe.denoiser.training)
    return ["a training of nothing"] * any(t.batch < 1 or t.steps < 0 or not 0 <= t.average <= 1 for t in training)


def absurd_fields(ds: xr.Dataset) -> list[str]:
    return [] if ds.drop_attrs().equals(fields().load().drop_attrs()) else ["other values than were written"]


def nothing(result: Any) -> Any:
    return []


def never(result: Any) -> bool:
    return False


TARGETS = [
    Target("weights", weights_files, netcdf, regridded, not_finite, never),
    Target("recipe", recipes, text, read_config, absurd_recipe, never),
    Target("store", stores, zarr, continued, absurd_fields, never),
    Target("options", seeds_of_calls, call, called, nothing, never),
]
