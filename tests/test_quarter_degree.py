"""The user's sentence at 0.25°, from real reports to a Zarr store, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests import quarter_degree
from tests.installed import needs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def made(shared, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], xr.Dataset, xr.Dataset]:
    """What the run says of itself, the stored analysis, and its diagnostics."""
    needs("netCDF4", "eccodes")
    for file in (quarter_degree.SYNOP, quarter_degree.ASCAT):
        shared(file)
    data, out = shared("real").parent, tmp_path_factory.mktemp("quarter")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.quarter_degree", data, out],
        check=True, capture_output=True, text=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    store = out / "analysis.zarr"
    return json.loads(done.stdout.splitlines()[-1]), xr.open_zarr(store), xr.open_zarr(store, group="diagnostics")


def test_labels_and_units(made) -> None:
    _, ds, _ = made
    assert dict(ds.sizes) == {"member": 2, "time": 2, "level": 13, "latitude": 721, "longitude": 1440}
    assert sum(v.sizes.get("level", 1) for v in ds.values()) == 71
    np.testing.assert_array_equal(ds.latitude, np.linspace(90, -90, 721))
    np.testing.assert_array_equal(ds.longitude, np.arange(1440) / 4)
    assert ds["2m_temperature"].attrs["units"] == "K"
    assert ds["2m_temperature"].attrs["standard_name"] == "air_temperature"
    assert ds["mean_sea_level_pressure"].attrs["units"] == "Pa"
    assert ds["member"].attrs["standard_name"] == "realization"
    assert ds.attrs["xappa_seed"] == 0
    assert "wind_speed" in ds.attrs["xappa_operator"]


def test_values(made) -> None:
    _, ds, _ = made
    last = ds.isel(member=1, time=1)
    assert np.isfinite(last["2m_temperature"]).all()
    assert float(last["specific_humidity"].min()) >= 0
    missing = last["sea_surface_temperature"].isnull()
    assert 0.4 < float(missing.mean()) < 0.6, "missing over the half that is land"


def test_chunks_hold_one_state(made) -> None:
    report, _, _ = made
    assert report["chunks"]["2m_temperature"] == [1, 1, 721, 1440]
    assert report["chunks"]["temperature"] == [1, 1, 13, 721, 1440]


def test_reports_are_counted_by_reason(made) -> None:
    report, _, diagnostics = made
    stored = diagnostics["reports"].load()
    for variable, counts in report["reports"].items():
        for status, count in counts.items():
            assert int(stored.sel(variable=variable, status=status)) == count
    used = {variable: counts.get("good", 0) for variable, counts in report["reports"].items()}
    assert used["2m_temperature"] > 7000
    assert used["wind_speed"] > 10_000
    assert report["reports"]["10m_u_component_of_wind"]["out_of_range"] >= 1, "the wind of 349 m/s"


def test_it_takes_what_a_laptop_has(made) -> None:
    report, _, _ = made
    assert report["gigabytes"] < 8
    assert report["processor_seconds"] < 600
