"""`verify` of forecasts: by lead, start, region and season, against fields and reports, beside baselines."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

from tests.forecasts import HOURS, LAYOUTS, LEADS, START, perfect, truth
from xappa.errors import DatasetError, GapWarning, OptionError
from xappa.verification import scores
from xappa.verification.verify import verify

T2M = "2m_temperature"


def wrong(ds: xr.Dataset, members: int = 0, seed: int = 0) -> xr.Dataset:
    """Forecasts with errors that grow along their leads."""
    rng = np.random.default_rng(seed)
    shape = (members, *ds[T2M].shape) if members else ds[T2M].shape
    growth = xr.DataArray(1.0 + HOURS / 6, dims="lead")
    error = xr.DataArray(rng.standard_normal(shape), dims=(("member",) if members else ()) + ds[T2M].dims) * growth
    return ds.assign({T2M: (ds[T2M] + error).assign_attrs(units="K")})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_perfect_forecast_has_no_error_at_any_lead(layout: str) -> None:
    write, _, lead = LAYOUTS[layout]
    found = verify(write(perfect()), truth())
    assert found[T2M].dims == ("metric", lead)
    np.testing.assert_array_equal(found[lead], write(perfect())[lead])
    np.testing.assert_allclose(found[T2M].sel(metric="rmse"), 0, atol=1e-6)
    np.testing.assert_allclose(found[T2M].sel(metric="count"), 4 * 9 * 12)
    assert repr(lead) in found.attrs["forecasts"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_are_those_of_each_lead(layout: str) -> None:
    write, start, lead = LAYOUTS[layout]
    ds = wrong(perfect(), 3)
    found = verify(write(ds), truth())[T2M]
    both = verify(write(ds), truth(), by=("init", "lead"))[T2M]
    assert set(both.dims) == {"metric", lead, start}
    for k, length in enumerate(LEADS):
        forecast = ds[T2M].isel(lead=k, drop=True)
        right = truth()[T2M].sel(time=ds.time.values + length).assign_coords(time=ds.time)
        for metric in ("rmse", "bias", "crps", "spread_skill"):
            score = getattr(scores, metric)
            np.testing.assert_allclose(found.isel({lead: k}).sel(metric=metric), score(forecast, right))
            each = [score(forecast.isel(time=i), right.isel(time=i)) for i in range(4)]
            np.testing.assert_allclose(both.isel({lead: k}).sel(metric=metric), each)
    by_start = verify(write(ds), truth(), by="init", metrics=["mae"])[T2M].sel(metric="mae")
    valid = ds.time + ds.lead
    error = abs(ds[T2M].mean("member") - truth()[T2M].sel(time=valid, drop=True)).mean("lead")
    np.testing.assert_allclose(by_start, scores.mean(error, ("latitude", "longitude")).transpose("time"))


def test_leads_are_pooled_only_if_asked() -> None:
    ds = wrong(perfect(), 2).rename(lead="prediction_timedelta")
    pooled = verify(ds, truth(), by=(), metrics=["rmse", "count"])[T2M]
    by_lead = verify(ds, truth(), metrics=["rmse", "count"])[T2M]
    assert pooled.dims == ("metric",)
    np.testing.assert_allclose(pooled.sel(metric="rmse") ** 2, (by_lead.sel(metric="rmse") ** 2).mean())
    assert pooled.sel(metric="count") == by_lead.sel(metric="count").sum()


def test_one_series_of_forecasts_has_one_score_unless_leads_are_asked_for() -> None:
    one = LAYOUTS["cfgrib"][0](wrong(perfect(1))).isel(time=0)
    assert verify(one, truth())[T2M].dims == ("metric",)
    for by in ("lead", "step", ("lead",)):
        assert verify(one, truth(), by=by)[T2M].dims == ("metric", "step")
    assert verify(one.isel(step=2), truth())[T2M].dims == ("metric",)
    alone = wrong(perfect(1)).rename(lead="lead_time")
    assert verify(alone, truth())[T2M].dims == ("metric", "lead_time")


def test_regions_and_seasons() -> None:
    ds = wrong(perfect(12, 1)).rename(lead="prediction_timedelta")
    fields = truth(20)
    found = verify(ds, fields, by=("region", "season", "lead"), metrics=["rmse", "count"])[T2M]
    assert list(found.region.values) == ["global", "northern-hemisphere", "tropics", "southern-hemisphere"]
    assert list(found.season.values) == ["DJF", "MAM"]
    k, band = 3, slice(-20, 20)
    valid = ds.time.values + LEADS[k]
    spring = valid >= np.datetime64("2020-03-01")
    forecast = ds[T2M].isel(prediction_timedelta=k, drop=True).sel(latitude=band)[spring]
    right = fields[T2M].sel(time=valid[spring], latitude=band).assign_coords(time=forecast.time)
    piece = found.isel(prediction_timedelta=k).sel(region="tropics", season="MAM")
    np.testing.assert_allclose(piece.sel(metric="rmse"), scores.rmse(forecast, right))
    whole = found.sel(metric="count").sum("season")
    np.testing.assert_array_equal(whole.sel(region="global").values, 12 * 9 * 12)


def test_levels_stay_apart() -> None:
    ds = perfect()
    upper = xr.concat([ds[T2M], ds[T2M] + 1.0], "level").assign_coords(
        level=("level", [500.0, 850.0], {"units": "hPa"})
    )
    fields = (
        truth()[T2M].expand_dims(level=[500.0, 850.0]).assign_coords(level=("level", [500.0, 850.0], {"units": "hPa"}))
    )
    fields = fields.rename("temperature").assign_attrs(units="K").to_dataset()
    ds = upper.rename("temperature").assign_attrs(units="K").to_dataset().rename(lead="prediction_timedelta")
    for by in (None, "lead", ("lead", "level")):
        found = verify(ds, fields, by=by, metrics=["bias"])["temperature"].sel(metric="bias")
        np.testing.assert_allclose(found, [[0, 1]] * 4, atol=1e-6)


def test_the_reference_may_be_forecasts_of_which_each_time_occurs_once() -> None:
    reference = LAYOUTS["cfgrib"][0](perfect(1))
    np.testing.assert_allclose(verify(truth() + 1, reference)[T2M].sel(metric="bias"), 1)
    with pytest.raises(DatasetError, match="The reference holds forecasts of which several hold for the same time"):
        verify(truth(), LAYOUTS["cfgrib"][0](perfect()))


def test_a_baseline_of_forecasts_is_held_against_the_same_lead() -> None:
    ds = wrong(perfect()).rename(lead="prediction_timedelta")
    other = wrong(perfect(), seed=1).isel(lead=[0, 3]).rename(time="init", lead="step")
    found = verify(ds, truth(), baselines={"other": other}, metrics=["rmse"])[T2M].sel(metric="rmse")
    alone = verify(other, truth(), metrics=["rmse"])[T2M].sel(metric="rmse")
    np.testing.assert_allclose(found.sel(source="other").isel(prediction_timedelta=[0, 3]), alone)
    assert np.isnan(found.sel(source="other").isel(prediction_timedelta=[1, 2])).all()


def climatology(fields: xr.Dataset) -> xr.Dataset:
    """As WeatherBench2 writes it, by hour and day of the year."""
    hours = xr.DataArray([0.0, 6, 12, 18], dims="hour")
    days = xr.DataArray(np.arange(366.0), dims="dayofyear")
    field = 280 + hours / 10 + days / 100 + 0 * fields[T2M].isel(time=0, drop=True)
    coords = {"hour": [0, 6, 12, 18], "dayofyear": np.arange(1, 367)}
    return field.assign_coords(coords).rename(T2M).assign_attrs(units="K").to_dataset()


def test_climatologies_and_means_are_baselines() -> None:
    ds, fields = wrong(perfect()).rename(lead="prediction_timedelta"), truth()
    mean = fields.mean("time", keep_attrs=True)
    found = verify(ds, fields, baselines={"climatology": climatology(fields), "mean": mean}, metrics=["rmse", "acc"])[
        T2M
    ]
    for k, length in enumerate(LEADS):
        right = fields[T2M].sel(time=ds.time.values + length)
        date = right.time.dt
        usual = 280 + date.hour / 10 + (date.dayofyear - 1) / 100
        rows = found.isel(prediction_timedelta=k)
        np.testing.assert_allclose(
            rows.sel(metric="rmse", source="climatology"), scores.rmse(usual + 0 * right, right), rtol=1e-6
        )
        np.testing.assert_allclose(rows.sel(metric="rmse", source="mean"), scores.rmse(mean[T2M] + 0 * right, right))
        forecast = ds[T2M].isel(prediction_timedelta=k, drop=True).assign_coords(time=right.time)
        expected = scores.acc(forecast, right, usual + 0 * right)
        np.testing.assert_allclose(rows.sel(metric="acc", source="analysis"), expected)
    with pytest.raises(OptionError, match="'acc' needs a baseline called 'climatology'"):
        verify(ds, fields, metrics=["acc"])
    with pytest.raises(DatasetError, match="The baseline 'climatology': climatology without the hour 6, 18"):
        verify(ds, fields, baselines={"climatology": climatology(fields).isel(hour=[0, 2])})
    leap = climatology(fields).isel(dayofyear=slice(0, 365))
    assert np.isfinite(verify(ds, fields, baselines={"climatology": leap})[T2M]).all()


def test_scores_of_forecasts_are_lazy() -> None:
    ds = wrong(perfect(), 2).rename(lead="prediction_timedelta")

    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    chunked = ds.chunk(time=1, prediction_timedelta=1)
    untouched = chunked.map(lambda f: f.copy(data=f.data.map_blocks(refuse, dtype=f.dtype, meta=np.empty(0))))
    assert verify(untouched, truth(), by=("init", "lead"))[T2M].chunks is not None
    for by in (None, (), "init", ("init", "lead"), ("region", "lead")):
        lazy = verify(chunked, truth().chunk(time=3), by=by)
        assert lazy[T2M].chunks is not None
        xr.testing.assert_allclose(lazy.compute(), verify(ds, truth(), by=by))


def test_a_selection_computes_what_it_shows() -> None:
    seen: list[int] = []
    ds = wrong(perfect()).rename(lead="prediction_timedelta").chunk(time=-1, prediction_timedelta=1)

    def note(block: np.ndarray, block_info: dict | None = None) -> np.ndarray:
        if block_info:
            seen.append(block_info[0]["chunk-location"][1])
        return block

    ds[T2M] = ds[T2M].copy(data=ds[T2M].data.map_blocks(note, dtype=float, meta=np.empty(0)))
    verify(ds, truth())[T2M].isel(prediction_timedelta=2).sel(metric="rmse").compute()
    assert set(seen) == {2}


# --- reports


def reports(hours: np.ndarray) -> xr.Dataset:
    """What the truth says every so many hours after the first start, between its grid points."""
    n = len(hours)
    coords = {
        "time": ("obs", START + hours.astype("m8[h]")),
        "latitude": ("obs", np.linspace(-60, 60, n), {"units": "degrees_north"}),
        "longitude": ("obs", np.linspace(3, 330, n), {"units": "degrees_east"}),
    }
    return xr.Dataset({T2M: ("obs", np.full(n, 280.0), {"units": "K"})}, coords)


@pytest.mark.parametrize("layout", ["WeatherBench2", "cfgrib", "hours by name"])
def test_reports_are_read_off_each_start_at_their_lead(layout: str) -> None:
    write, start, lead = LAYOUTS[layout]
    obs = reports(np.repeat([6, 12, 18, 24], 5))
    right = verify(truth(), obs, metrics=["bias", "count"])  # what the fields say there
    values = truth().appa.observe(obs)[T2M]
    obs[T2M] = values.drop_vars(list(values.coords)).assign_attrs(units="K")
    found = verify(write(perfect()), obs, metrics=["rmse", "count"])[T2M]
    assert found.dims == ("metric", lead) and right[T2M].dims == ("metric",)
    np.testing.assert_allclose(found.sel(metric="rmse"), 0, atol=1e-4)
    # Starts at 0, 6, 12 and 18 h, with leads of 0, 6, 12 and 24 h; between leads the nearer one counts.
    expected = {hour: 0 for hour in HOURS}
    for begins in (0, 6, 12, 18):
        for when in np.repeat([6, 12, 18, 24], 5):
            if begins <= when <= begins + 24:
                expected[HOURS[np.abs(HOURS - (when - begins) - 0.1).argmin()]] += 1
    inside = [expected[hour] for hour in HOURS]
    assert found.sel(metric="count").sum() <= sum(inside) and (found.sel(metric="count")[:2] > 0).all()
    by = verify(write(perfect() + 1), obs, metrics=["bias"], by=("init", "lead"))[T2M]
    np.testing.assert_allclose(by.max(), 1, atol=1e-4)
    assert by.sizes[start] == 4


def test_regions_and_seasons_of_reports() -> None:
    obs = reports(np.repeat([6, 12, 18, 24], 5))
    found = verify(truth(), obs, by=("region", "season"), metrics=["count"])[T2M].sel(metric="count", season="DJF")
    latitude = obs.latitude
    assert found.sel(region="global") == 20
    assert found.sel(region="tropics") == int(((latitude >= -20) & (latitude <= 20)).sum())
    with pytest.raises(OptionError, match="by='time' needs fields as reference"):
        verify(truth(), obs, by="time")


def test_scores_at_reports_are_lazy() -> None:
    obs = reports(np.repeat([6, 12, 18, 24], 5))

    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    for ds in (wrong(perfect(), 2).rename(lead="prediction_timedelta"), truth()):
        chunked = ds.chunk(time=1)
        untouched = chunked.map(lambda f: f.copy(data=f.data.map_blocks(refuse, dtype=f.dtype, meta=np.empty(0))))
        assert verify(untouched, obs)[T2M].chunks is not None
        xr.testing.assert_allclose(verify(chunked, obs).compute(), verify(ds, obs))


# --- what is asked for


def test_wrong_dimensions_of_scores() -> None:
    with pytest.raises(OptionError, match="'leads' is none of 'lead'.*did you mean 'lead'"):
        verify(perfect().rename(lead="step"), truth(), by="leads")
    with pytest.raises(OptionError, match="needs forecasts: found neither starts nor leads"):
        verify(truth(), truth(), by="lead")
    with pytest.raises(OptionError, match="both 'init' and 'time'"):
        verify(perfect().rename(lead="step"), truth(), by=("init", "time"))


def test_valid_times_that_the_reference_lacks_are_told() -> None:
    ds = perfect().rename(lead="prediction_timedelta")
    with pytest.warns(GapWarning, match="the reference lacks 1 of 16 times: 2020-02-28T18:00"):
        found = verify(ds, truth(7))
    np.testing.assert_array_equal(found[T2M].sel(metric="count") / 108, [4, 4, 4, 3])
    with pytest.warns(GapWarning, match="lacks 7 of 16 times: .* and 1 more"):
        found = verify(ds, truth(4))
    assert np.isnan(found[T2M].sel(metric="rmse")[-1]) and "7 of 16" in found.attrs["left_out"]
    with pytest.raises(DatasetError, match="no time in common"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verify(ds, truth().assign_coords(time=truth().time - np.timedelta64(3650, "D")))
