"""Speed of regridding a 721 x 1440 field, side by side with scipy.sparse and xarray-regrid.

``python -m pytest tests/benchmarks/test_regrid.py --benchmark-group-by=group`` prints ratios within each group. Nothing
is asserted about time; that the results agree is.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xappa
from tests import cdo
from xappa.grids.regrid import Grid
from xappa.grids.regrid.build import KEPT

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")

TARGETS = {
    "to 48x96": (np.linspace(-88.125, 88.125, 48), np.arange(96) * 3.75),
    "to 1 degree": (np.arange(-90.0, 91), np.arange(360.0)),
    "to 0.3 degree": (np.linspace(-90, 90, 601), np.arange(1200) * 0.3),
}
METHODS = ("bilinear", "conservative", "nearest")
CASES = [(target, method) for target in TARGETS for method in METHODS]
NAMES = {"bilinear": "linear", "conservative": "conservative", "nearest": "nearest"}


@pytest.fixture(scope="module")
def field() -> xr.Dataset:
    ds = cdo.lonlat(np.linspace(-90, 90, 721), np.arange(1440) * 0.25)
    values = np.random.default_rng(0).normal(280, 10, (1, 721, 1440)).astype("f4")
    return ds.assign(f=(("time", "lat", "lon"), values))


@pytest.fixture(scope="module")
def stack(field: xr.Dataset) -> np.ndarray:
    return np.repeat(field["f"].values, 12, axis=0)


@pytest.mark.parametrize(("target", "method"), CASES)
@pytest.mark.parametrize("tool", ["xappa", "scipy.sparse"])
def test_apply(benchmark, field, target, method, tool):
    """Weights that are there, on an array: ours against the product with scipy's CSR matrix of the same type."""
    benchmark.group = f"array, {method} {target}"
    weights = xappa.regrid_weights(field, cdo.lonlat(*TARGETS[target]), method)
    matrix, values = weights.matrix.astype("f4"), field["f"].values
    tools = {"xappa": lambda: weights.apply(values), "scipy.sparse": lambda: matrix @ values.ravel()}
    out = benchmark(tools[tool]).ravel()
    np.testing.assert_allclose(out, matrix @ values.ravel(), rtol=2e-5)


@pytest.mark.parametrize(("target", "method"), CASES)
@pytest.mark.parametrize("tool", ["xappa", "scipy.sparse"])
def test_stack(benchmark, field, stack, target, method, tool):
    """Twelve fields at once: ours against scipy's product with all of them, or with one after the other."""
    benchmark.group = f"12 fields, {method} {target}"
    weights = xappa.regrid_weights(field, cdo.lonlat(*TARGETS[target]), method)
    matrix = weights.matrix.astype("f4")
    if tool == "xappa":
        out = benchmark(weights.apply, stack)
    else:
        out = benchmark(lambda: np.stack([matrix @ values.ravel() for values in stack]))
    assert out.size == 12 * matrix.shape[0]


@pytest.mark.parametrize(("target", "method"), CASES)
@pytest.mark.parametrize("tool", ["xappa", "xarray-regrid"])
def test_dataset(benchmark, field, target, method, tool):
    """A Dataset, as users regrid it; our weights are kept from the first round on."""
    benchmark.group = f"Dataset, {method} {target}"
    goal = cdo.lonlat(*TARGETS[target])
    if tool == "xappa":
        out = benchmark(lambda: field.appa.regrid(goal, method))
    else:
        pytest.importorskip("xarray_regrid", reason="xarray-regrid is not installed")
        named, grid = (ds.rename(lat="latitude", lon="longitude") for ds in (field, goal))
        options = {"latitude_coord": "latitude"} if method == "conservative" else {}
        out = benchmark(lambda: getattr(named.regrid, NAMES[method])(grid, **options).compute())
    assert out["f"].shape == (1, *(len(axis) for axis in TARGETS[target]))


@pytest.mark.parametrize(("target", "method"), CASES)
def test_build(benchmark, field, target, method):
    """Making the weights of two grids."""
    benchmark.group = f"weights, {method}"
    source, goal = Grid.from_dataset(field), cdo.lonlat(*TARGETS[target])

    def build() -> float:
        KEPT.clear()
        return xappa.regrid_weights(field, goal, method).total.min()

    assert benchmark(build) > 0.99 and source.size == 721 * 1440
