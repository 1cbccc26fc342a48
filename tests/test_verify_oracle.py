"""Scores against those of the package `scores`: missing values, masks, weights by latitude, members, leads."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import xarray as xr

from tests.forecasts import LATITUDE, LEADS, perfect, truth
from xappa.verification.verify import verify

T2M = "2m_temperature"
AREA = ["time", "latitude", "longitude"]
WEIGHTS = xr.DataArray(np.cos(np.deg2rad(LATITUDE)), {"latitude": LATITUDE}, "latitude")
TOLERANCE = {"rtol": 1e-6, "atol": 1e-9}


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    return pytest.importorskip("scores", reason="scores is not installed: pip install 'xappa[test]'")


@pytest.fixture(scope="module")
def fields() -> xr.Dataset:
    """A truth with holes: land, and single values."""
    ds = truth()
    rng = np.random.default_rng(7)
    field = ds[T2M].where(xr.DataArray(rng.random(ds[T2M].shape) > 0.1, dims=ds[T2M].dims))
    return ds.assign({T2M: field.where(ds.longitude < 250)})


@pytest.fixture(scope="module")
def ensemble() -> xr.Dataset:
    rng = np.random.default_rng(8)
    ds = perfect()
    error = xr.DataArray(rng.standard_normal((6, *ds[T2M].shape)), dims=("member", *ds[T2M].dims))
    return ds.assign({T2M: (ds[T2M] + 0.3 + error).assign_attrs(units="K")})


def pair(ensemble: xr.Dataset, fields: xr.Dataset, lead: int) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Members, truth and weights of a lead, where the truth is known."""
    forecast = ensemble[T2M].isel(lead=lead, drop=True)
    right = fields[T2M].sel(time=ensemble.time.values + LEADS[lead]).assign_coords(time=forecast.time)
    return forecast, right, WEIGHTS.broadcast_like(right)


@pytest.mark.parametrize("lead", range(len(LEADS)))
def test_scores_of_an_ensemble_by_lead(oracle: ModuleType, ensemble: xr.Dataset, fields: xr.Dataset, lead: int) -> None:
    metrics = ["rmse", "bias", "mae", "crps", "count"]
    found = verify(ensemble.rename(lead="prediction_timedelta"), fields, metrics)[T2M].isel(prediction_timedelta=lead)
    forecast, right, weights = pair(ensemble, fields, lead)
    mean = forecast.mean("member").where(right.notnull())
    options = {"reduce_dims": AREA, "weights": weights.where(right.notnull(), 0.0)}
    continuous = oracle.continuous
    expected = [
        float(continuous.mse(mean, right, **options)) ** 0.5,
        float(continuous.additive_bias(mean, right, **options)),
        float(continuous.mae(mean, right, **options)),
        float(oracle.probability.crps_for_ensemble(forecast, right, "member", method="fair", **options)),
        float(right.notnull().sum()),
    ]
    np.testing.assert_allclose(found, expected, **TOLERANCE)


def test_scores_of_an_ensemble_of_which_members_are_missing(
    oracle: ModuleType, ensemble: xr.Dataset, fields: xr.Dataset
) -> None:
    rng = np.random.default_rng(9)
    holes = xr.DataArray(rng.random(ensemble[T2M].shape) > 0.2, dims=ensemble[T2M].dims)
    ds = ensemble.assign({T2M: ensemble[T2M].where(holes).assign_attrs(units="K")})
    found = verify(ds.rename(lead="prediction_timedelta"), fields, ["rmse", "crps"])[T2M]
    for k in range(len(LEADS)):
        forecast, right, weights = pair(ds, fields, k)
        options = {"reduce_dims": AREA, "weights": weights.where(right.notnull(), 0.0)}
        fair = oracle.probability.crps_for_ensemble(forecast, right, "member", method="fair", **options)
        rmse = oracle.continuous.mse(forecast.mean("member"), right, **options) ** 0.5
        np.testing.assert_allclose(found.isel(prediction_timedelta=k), [rmse, fair], **TOLERANCE)


def test_anomaly_correlation(oracle: ModuleType, ensemble: xr.Dataset, fields: xr.Dataset) -> None:
    usual = 280 + 0.1 * (fields[T2M].latitude / 10 + 0 * fields[T2M].fillna(0).isel(time=0, drop=True))
    climatology = usual.rename(T2M).assign_attrs(units="K").to_dataset()
    ds = ensemble.rename(lead="prediction_timedelta")
    found = verify(ds, fields, ["acc"], baselines={"climatology": climatology}, by=("lead", "init"))[T2M]
    for k in range(len(LEADS)):
        forecast, right, weights = pair(ensemble, fields, k)
        # A correlation about 0, not about the means, is that of each value and its opposite; weights go by their root.
        scaled = [(part - usual) * weights**0.5 for part in (forecast.mean("member").where(right.notnull()), right)]
        one, other = (xr.concat([part, -part], "sign") for part in scaled)
        expected = oracle.continuous.correlation.pearsonr(one, other, preserve_dims=["time"])
        got = found.isel(prediction_timedelta=k).sel(metric="acc", source="analysis")
        np.testing.assert_allclose(got.values, expected.values, **TOLERANCE)
    pooled = verify(ds, fields, ["acc"], baselines={"climatology": climatology})[T2M]
    np.testing.assert_allclose(pooled, found.mean("time"), **TOLERANCE)


def test_rank_histogram(oracle: ModuleType, ensemble: xr.Dataset, fields: xr.Dataset) -> None:
    if not hasattr(oracle.probability, "rank_histogram"):
        pytest.skip("this release of scores has no rank histogram")
    found = verify(ensemble.rename(lead="prediction_timedelta"), fields, ["rank_histogram"])[f"{T2M}_rank_histogram"]
    assert found.dims == ("prediction_timedelta", "rank") and found.sizes["rank"] == 7
    np.testing.assert_allclose(found.sum("rank"), 1)
    for k in range(len(LEADS)):
        forecast, right, weights = pair(ensemble, fields, k)
        known = weights.where(right.notnull(), 0.0)
        expected = oracle.probability.rank_histogram(forecast, right, "member", reduce_dims=AREA, weights=known)
        np.testing.assert_allclose(found.isel(prediction_timedelta=k).values, expected.values, **TOLERANCE)


def test_spread_and_its_ratio_to_the_error(ensemble: xr.Dataset, fields: xr.Dataset) -> None:
    found = verify(ensemble.rename(lead="prediction_timedelta"), fields, ["spread", "spread_skill", "rmse"])[T2M]
    for k in range(len(LEADS)):
        forecast, right, weights = pair(ensemble, fields, k)
        known = weights.where(right.notnull(), 0.0).values
        spread = np.sqrt(np.average(forecast.transpose("member", ...).values.var(0, ddof=1), weights=known))
        got = found.isel(prediction_timedelta=k)
        np.testing.assert_allclose(got.sel(metric="spread"), spread, **TOLERANCE)
        expected = np.sqrt(7 / 6) * spread / got.sel(metric="rmse")
        np.testing.assert_allclose(got.sel(metric="spread_skill"), expected, **TOLERANCE)


def test_reliability_by_hand(ensemble: xr.Dataset, fields: xr.Dataset) -> None:
    usual = (280.2 + 0 * fields[T2M].fillna(0).isel(time=0, drop=True)).rename(T2M).assign_attrs(units="K").to_dataset()
    ds = ensemble.rename(lead="prediction_timedelta")
    found = verify(ds, fields, ["reliability"], baselines={"climatology": usual}).sel(source="analysis")
    forecast, right, weights = pair(ensemble, fields, 2)
    above = (forecast > 280.2).sum("member").transpose(*right.dims).values
    known = weights.where(right.notnull(), 0.0).transpose(*right.dims).values
    rows = found.isel(prediction_timedelta=2)
    for members in range(7):
        own = known * (above == members)
        np.testing.assert_allclose(rows[f"{T2M}_reliability_share"][members], own.sum() / known.sum())
        happened = np.nan if not own.sum() else (own * (right.values > 280.2)).sum() / own.sum()
        np.testing.assert_allclose(rows[f"{T2M}_reliability"][members], happened)


def test_regions_weigh_latitudes_alike(oracle: ModuleType, ensemble: xr.Dataset, fields: xr.Dataset) -> None:
    found = verify(ensemble.rename(lead="prediction_timedelta"), fields, ["mae"], by=("lead", "region"))[T2M]
    forecast, right, weights = pair(ensemble, fields, 1)
    inside = abs(right.latitude) <= 20
    known = weights.where(right.notnull() & inside, 0.0)
    expected = oracle.continuous.mae(forecast.mean("member"), right, reduce_dims=AREA, weights=known)
    got = found.isel(prediction_timedelta=1).sel(region="tropics", metric="mae")
    np.testing.assert_allclose(got, expected, **TOLERANCE)
