"""Two runs of one call leave the same files, and zarr's options as they were."""

from __future__ import annotations

import hashlib
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import xappa


@pytest.fixture
def field() -> xr.Dataset:
    """Numbers with chunks in which everything is missing."""
    values = np.random.default_rng(0).normal(280, 5, (2, 8, 4, 6)).astype("f4")
    values[:, ::2] = np.nan
    times = pd.date_range("2018-11-01", periods=8, freq="6h")
    coords = {"member": [0, 1], "time": times, "latitude": [60.0, 20.0, -20.0, -60.0], "longitude": np.arange(6) * 60.0}
    return xr.Dataset({"2m_temperature": (tuple(coords), values, {"units": "K"})}, coords)


def hashes(store: Path) -> dict[str, str]:
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("before", [False, True])
def test_options_of_zarr_stay_and_decide_nothing(field: xr.Dataset, tmp_path: Path, before: bool) -> None:
    stores = []
    with zarr.config.set({"array.write_empty_chunks": before}), dask.config.set(scheduler="threads", num_workers=8):
        for number in range(8):
            stores.append(tmp_path / f"{number}.zarr")
            xappa.to_zarr(field, stores[-1], chunks={"time": 1, "member": 1}, progress=False)
            assert zarr.config.get("array.write_empty_chunks") is before
    found = [hashes(store) for store in stores]
    assert all(other == found[0] for other in found)
    assert sum("2m_temperature/c/" in file for file in found[0]) == 16


def test_analyses_leave_the_same_files_with_their_diagnostics(tiny_model: Path, tmp_path: Path) -> None:
    times = pd.date_range("2001-03-12", periods=2, freq="6h")
    ds = xr.Dataset(coords={"time": times}).assign({"2m_temperature": ("time", [np.nan, np.nan])})
    table = pd.DataFrame({"time": times, "lat": [10.0, 40.0], "lon": [20.0, 60.0], "t2m": [285.0, 280.0]})
    obs = xappa.read_observations(table, units={"t2m": "K"}, error={"t2m": 1.0})
    for name in "ab":
        analysis = ds.appa.assimilate(obs, model=tiny_model, members=2, seed=0, quality="none", device="cpu")
        xappa.to_zarr(analysis, tmp_path / name, progress=False)
    first, second = hashes(tmp_path / "a"), hashes(tmp_path / "b")
    # What it took is measured, and differs.
    assert {file for file in first if first[file] != second.get(file)} <= {"diagnostics/seconds/c/0"}
    assert any(file.startswith("diagnostics/") for file in first)
