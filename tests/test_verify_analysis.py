"""The newcomer's path: an analysis of ours, verified with the errors and the surface that it assumed."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import xarray as xr

import xappa
from xappa.grids import recognise
from xappa.state.surface import find_surface_height
from xappa.verification.result import Scores

T2M = "2m_temperature"


@pytest.fixture(scope="module")
def nature() -> xr.Dataset:
    return xappa.tutorial.nature_run().isel(time=slice(0, 3)).load()


@pytest.fixture(scope="module")
def reports(nature: xr.Dataset) -> xr.Dataset:
    """Reports with errors, which they do not tell."""
    network = xappa.tutorial.network(nature, stations=60, soundings=8)
    obs = nature.appa.observe(network, error="speedy-twin", seed=0)
    return obs.drop_vars([name for name in obs.data_vars if str(name).endswith("_error")])


@pytest.fixture(scope="module")
def analysis(nature: xr.Dataset, reports: xr.Dataset) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nature.appa.assimilate(reports, error=ERRORS, **OPTIONS)


ERRORS = {
    T2M: "1.5 K",
    "temperature": {500: 1.0, 850: 0.8},
    "10m_u_component_of_wind": 1.0,
    "10m_v_component_of_wind": 1.0,
    "mean_sea_level_pressure": 100.0,
    "u_component_of_wind": 1.0,
    "v_component_of_wind": 1.0,
}
OPTIONS = {"members": 2, "seed": 0, "steps": 2, "progress": False}


def test_an_analysis_keeps_the_errors_that_it_assumed(nature: xr.Dataset, reports: xr.Dataset) -> None:
    lazy = nature.appa.assimilate(reports, **OPTIONS)
    assert json.loads(lazy.attrs["xappa_errors"]) == "ecmwf-like"
    found = lazy.appa.verify(reports)
    assert isinstance(found, Scores) and found[T2M].chunks is not None
    assert float(found[T2M].sel(metric="error")) == pytest.approx(2.0)
    assert "xappa_errors" not in nature.isel(time=slice(0, 2)).appa.sample(**OPTIONS).attrs


@pytest.mark.slow
def test_reports_without_errors_have_those_of_the_analysis(analysis: xr.Dataset, reports: xr.Dataset) -> None:
    rejected = reports.copy()
    rejected[f"{T2M}_flag"] = rejected[f"{T2M}_flag"].copy()
    rejected[f"{T2M}_flag"][:100] = 16
    number = int((rejected[T2M].notnull() & (rejected[f"{T2M}_flag"] == 0)).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = analysis.appa.verify(rejected)
        assert f"{T2M} " in str(found)
    assert found[T2M].sel(metric="error") == pytest.approx(1.5)
    assert found[T2M].sel(metric="count") == number
    error = found["temperature"].sel(metric="error")
    np.testing.assert_allclose(error.sel(level=[500, 850]), [1.0, 0.8])
    assert np.isfinite(found[T2M].sel(metric=["crps", "spread_skill", "expected"])).all()
    own = reports.assign({f"{T2M}_error": reports[T2M] * 0 + 0.5})
    assert analysis.appa.verify(own)[T2M].sel(metric="error").compute() == pytest.approx(0.5)


def test_an_analysis_is_observed_on_the_surface_of_its_model(analysis: xr.Dataset, reports: xr.Dataset) -> None:
    model = xappa.load(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the fit, once it is computed
        computed = analysis.isel(member=[0]).compute()
    surface = xr.DataArray(
        model.surface_height,
        {"latitude": np.array(model.spec.latitude), "longitude": np.array(model.spec.longitude)},
        ("latitude", "longitude"),
        attrs={"standard_name": "surface_altitude", "units": "m"},
    ).sel(latitude=computed.latitude, longitude=computed.longitude)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = computed.appa.observe(reports)
        expected = computed.assign(surface_altitude=surface).appa.observe(reports)
    np.testing.assert_allclose(seen[T2M], expected[T2M])
    assert seen.attrs["height_correction"] == "0.0065 K m-1"
    nowhere = computed.drop_attrs(deep=False)
    with pytest.warns(UserWarning, match="height of the model's surface is not known"):
        assert not np.allclose(nowhere.appa.observe(reports)[T2M], seen[T2M], equal_nan=True)


def test_the_surface_follows_an_analysis_to_another_grid(analysis: xr.Dataset) -> None:
    model = xappa.load(None)
    part = analysis.isel(latitude=slice(10, 20), longitude=slice(5, 30))[[T2M]]
    found = find_surface_height(part, recognise(part))
    assert found is not None and found.shape == (10, 25)
    rows = [int(np.abs(np.array(model.spec.latitude) - v).argmin()) for v in part.latitude.values]
    columns = [int(np.abs(np.array(model.spec.longitude) - v).argmin()) for v in part.longitude.values]
    np.testing.assert_allclose(found, model.surface_height[np.ix_(rows, columns)])
    finer = part.interp(latitude=(part.latitude.values[1:] + part.latitude.values[:-1]) / 2)
    between = find_surface_height(finer.assign_attrs(part.attrs), recognise(finer))
    assert between is not None
    np.testing.assert_allclose(between, (found.values[1:] + found.values[:-1]) / 2, rtol=1e-2, atol=5)
