"""Superobbing 2 million reports onto 0.25 degrees, beside the bare means of flox and of numpy.

Run with ``OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_superob.py``. What counts is the ratio to
``bincount``, measured in the same minute: that makes the cells and their means, and nothing else (no errors, counts,
spreads, places or times).
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import xarray as xr

import xappa
from xappa.observations.schema import build_observations

pytest.importorskip("pytest_benchmark")

REPORTS, SIZE = 2_000_000, 0.25
T = "2m_temperature"


@pytest.fixture(scope="module")
def obs() -> xr.Dataset:
    rng = np.random.default_rng(0)
    place = {
        "time": np.datetime64("2024-01-01", "us")
        + rng.integers(-1800, 1800, REPORTS) * np.timedelta64(1_000_000, "us"),
        "latitude": np.degrees(np.arcsin(rng.uniform(-1, 1, REPORTS))),
        "longitude": rng.uniform(-180, 180, REPORTS),
    }
    return build_observations(place, {T: 280 + rng.standard_normal(REPORTS)}, {T: rng.uniform(1, 2, REPORTS)})


def cells(obs: xr.Dataset) -> np.ndarray:
    rows, columns = round(180 / SIZE), round(360 / SIZE)
    row = np.minimum(((obs.latitude.values + 90) / SIZE).astype(int), rows - 1)
    return row * columns + np.minimum(((obs.longitude.values % 360) / SIZE).astype(int), columns - 1)


def bincount(obs: xr.Dataset) -> np.ndarray:
    cell, weight = cells(obs), obs[f"{T}_error"].values ** -2
    total = np.bincount(cell, weight)
    mean = np.bincount(cell, weight * obs[T].values)[total > 0]
    return mean / total[total > 0]


@pytest.fixture
def timed(benchmark):
    benchmark.group, benchmark._timer = "superob", time.process_time
    return lambda function: benchmark.pedantic(function, rounds=5, warmup_rounds=1)


def test_superob(timed, obs):
    found = timed(lambda: xappa.superob(obs, SIZE))
    assert int(found[f"{T}_count"].sum()) == REPORTS
    np.testing.assert_allclose(np.sort(found[T]), np.sort(bincount(obs)))


def test_bincount(timed, obs):
    timed(lambda: bincount(obs))


def test_flox(timed, obs):
    flox = pytest.importorskip("flox")

    def mean() -> np.ndarray:
        weight = obs[f"{T}_error"].values ** -2
        columns = np.stack([weight, weight * obs[T].values])
        total, *_ = flox.groupby_reduce(columns, cells(obs), func="sum")
        return total[1] / total[0]

    np.testing.assert_allclose(timed(mean), bincount(obs))
