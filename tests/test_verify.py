"""`verify`: against fields in whatever spelling, against reports, beside baselines; and the table of scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.installed import needs
from xappa.errors import DatasetError, OptionError, UnitsError
from xappa.tasks.quality import quality_control
from xappa.verification import scores
from xappa.verification.at_reports import interpolate_to_reports
from xappa.verification.stations import interpolate_inverse_distance, withhold
from xappa.verification.table import to_table
from xappa.verification.verify import verify

LATITUDE = np.linspace(-85, 85, 18)
LONGITUDE = np.arange(0, 360, 20.0)
TIMES = np.datetime64("2005-03-01", "s") + np.arange(4) * np.timedelta64(6, "h")
LEVELS = np.array([500.0, 850.0])
SEA = LONGITUDE < 200


def state(rng: np.random.Generator, members: int = 0) -> xr.Dataset:
    lead = ("member",) if members else ()
    size = (members,) if members else ()
    noise = lambda *shape: rng.standard_normal((*size, *shape))  # noqa: E731
    surface = (*lead, "time", "latitude", "longitude")
    sst = 290 + noise(4, 18, 18)
    sst[..., ~SEA] = np.nan
    return xr.Dataset(
        {
            "2m_temperature": (surface, 280 + noise(4, 18, 18), {"units": "K"}),
            "sea_surface_temperature": (surface, sst, {"units": "K"}),
            "temperature": ((*surface[:-2], "level", *surface[-2:]), 260 + noise(4, 2, 18, 18), {"units": "K"}),
        },
        coords={
            "time": TIMES,
            "level": ("level", LEVELS, {"units": "hPa"}),
            "latitude": ("latitude", LATITUDE, {"units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
        },
    )


# --- against fields


def test_scores_of_every_variable(rng: np.random.Generator) -> None:
    analysis, truth = state(rng, 5), state(rng)
    result = verify(analysis, truth)
    assert list(result.metric.values) == ["rmse", "bias", "crps", "spread", "spread_skill", "count"]
    for name, dims in (("2m_temperature", ()), ("sea_surface_temperature", ()), ("temperature", ("level",))):
        field = result[name]
        assert set(field.dims) == {"metric", *dims} and field.attrs["units"] == "K"
        for metric in ("rmse", "bias", "crps", "spread_skill"):
            expected = getattr(scores, metric)(analysis[name], truth[name])
            np.testing.assert_allclose(field.sel(metric=metric), expected)
    np.testing.assert_allclose(
        result["sea_surface_temperature"].sel(metric="spread"), scores.spread(analysis["sea_surface_temperature"])
    )


def test_spelling_makes_no_difference(rng: np.random.Generator) -> None:
    analysis, truth = state(rng, 3), state(rng)
    other = truth.isel(latitude=slice(None, None, -1), level=[1, 0], time=slice(1, None))
    other = other.assign_coords(longitude=(other.longitude + 180) % 360 - 180).sortby("longitude")
    other = other.assign_coords(level=("level", other.level.values * 100, {"units": "Pa"}))
    other["2m_temperature"] = (other["2m_temperature"] - 273.15).assign_attrs(units="degC")
    other = other.rename(latitude="lat", longitude="lon", level="plev", temperature="t")
    expected = verify(analysis.isel(time=slice(1, None)), truth)
    result = verify(analysis, other)
    assert not np.allclose(result["temperature"], verify(analysis, truth)["temperature"])
    for name in expected.data_vars:
        np.testing.assert_allclose(result[name], expected[name])
    reverse = verify(other.rename(time="valid_time"), truth, metrics=["rmse"])
    assert reverse["t"].dims == ("metric", "plev") and reverse["plev"].attrs["units"] == "Pa"
    np.testing.assert_allclose(reverse["t"].sel(plev=85000), 0, atol=1e-6)
    np.testing.assert_allclose(reverse["2m_temperature"], 0, atol=1e-6)
    assert reverse["2m_temperature"].attrs["units"] == "degC"


def test_one_level_is_compared_with_that_level_alone(rng: np.random.Generator) -> None:
    analysis, truth = state(rng), state(rng)
    expected = verify(analysis, truth)
    one, other = analysis.sel(level=500), truth.sel(level=500)
    for left, right in ((one, truth), (analysis, other), (one, other), (one.assign_coords(level=50000.0), truth)):
        result = verify(left, right)
        np.testing.assert_allclose(result["temperature"].values, expected["temperature"].sel(level=[500]).values)
        np.testing.assert_allclose(result["2m_temperature"], expected["2m_temperature"])
    beside = verify(analysis, truth, baselines={"one": other})["temperature"]
    np.testing.assert_allclose(beside.sel(metric="rmse", source="one", level=500), 0)
    assert list(beside.level.values) == [500]
    with pytest.raises(DatasetError, match="no level in common: the analysis has 500 to 500, the other 850 to 850"):
        verify(one, truth.sel(level=850))
    with pytest.raises(DatasetError, match="no level in common"):
        verify(one, truth, baselines={"other": truth.sel(level=850)})
    with pytest.raises(DatasetError, match="the reference has no level for temperature; .*assign_coords"):
        verify(analysis, other.drop_vars("level"))
    with pytest.raises(DatasetError, match="the analysis has no level for temperature"):
        verify(one.drop_vars("level"), truth)
    nameless = verify(one.drop_vars("level"), other.drop_vars("level"))["temperature"]
    np.testing.assert_allclose(nameless, expected["temperature"].sel(level=500))


def test_levels_in_other_units(rng: np.random.Generator) -> None:
    analysis, truth = state(rng), state(rng)
    expected = verify(analysis, truth)
    kilopascals = [ds.assign_coords(level=("level", LEVELS / 10, {"units": "kPa"})) for ds in (analysis, truth)]
    xr.testing.assert_identical(verify(analysis, kilopascals[1]), expected)
    own = verify(kilopascals[0], truth)
    np.testing.assert_allclose(own["temperature"], expected["temperature"])
    np.testing.assert_array_equal(own.level, LEVELS / 10)
    assert own.level.attrs["units"] == "kPa"
    model_levels = truth.assign_coords(level=("level", [1, 2], {"units": "1"}))
    for left, right in ((model_levels, truth), (model_levels, model_levels), (analysis, truth.drop_vars("level"))):
        with pytest.raises(DatasetError, match="'level' has .*hPa or Pa"):
            verify(left, right)


def test_a_field_is_the_variable_of_its_name(rng: np.random.Generator) -> None:
    analysis, truth = state(rng, 3), state(rng)
    baseline = truth["2m_temperature"] + 1.0
    expected = verify(analysis, truth[["2m_temperature"]], baselines={"warm": baseline.to_dataset()})
    xr.testing.assert_identical(verify(analysis, truth["2m_temperature"], baselines={"warm": baseline}), expected)
    renamed = verify(analysis, truth["2m_temperature"].rename("t2m"), baselines={"warm": baseline})
    xr.testing.assert_identical(renamed, expected)
    with pytest.raises(DatasetError, match="The reference is a DataArray without a name; .*rename"):
        verify(analysis, truth["2m_temperature"].rename(None))
    with pytest.raises(DatasetError, match="The baseline 'warm' is a DataArray without a name"):
        verify(analysis, truth, baselines={"warm": baseline.rename(None)})


def test_scores_are_in_the_units_of_the_dataset(rng: np.random.Generator) -> None:
    def pressure(field: xr.DataArray, factor: float, units: str) -> xr.Dataset:
        return (factor * (field + 720)).assign_attrs(units=units).to_dataset(name="mean_sea_level_pressure")

    analysis, truth = state(rng, 3)["2m_temperature"], state(rng)["2m_temperature"]
    in_hpa = verify(pressure(analysis, 1, "hPa"), pressure(truth, 100, "Pa"))["mean_sea_level_pressure"]
    np.testing.assert_allclose(in_hpa.sel(metric="rmse"), scores.rmse(analysis, truth))
    in_pa = verify(pressure(analysis, 100, "Pa"), pressure(truth, 1, "hPa"))["mean_sea_level_pressure"]
    np.testing.assert_allclose(in_pa, in_hpa * xr.DataArray([100.0, 100, 100, 100, 1, 1], dims="metric"))
    assert (in_hpa.attrs["units"], in_pa.attrs["units"]) == ("hPa", "Pa")


def rain(rng: np.random.Generator) -> xr.Dataset:
    """Precipitation of 6 hours, m."""
    field = state(rng)["2m_temperature"].rename("total_precipitation_6hr") / 1e5
    return field.assign_attrs(units="m").to_dataset()


def as_rate(ds: xr.Dataset) -> xr.Dataset:
    rate = (ds["total_precipitation_6hr"] / 21.6).rename("pr")
    return rate.assign_attrs(units="kg m-2 s-1", cell_methods="time: mean (interval: 6 hours)").to_dataset()


def test_numbers_are_read_as_everywhere(rng: np.random.Generator) -> None:
    analysis, truth = rain(rng), rain(rng)
    expected = verify(analysis, truth)["total_precipitation_6hr"]
    np.testing.assert_allclose(verify(analysis, as_rate(truth))["total_precipitation_6hr"], expected)
    rate = verify(as_rate(analysis), truth)["pr"]
    np.testing.assert_allclose(rate[:-1] * 21.6, expected[:-1])
    assert (rate.attrs["units"], rate.attrs["standard_name"]) == ("kg m-2 s-1", "precipitation_flux")

    heights, fields = state(rng)[["temperature"]], state(rng)[["temperature"]]
    heights, fields = (
        (ds + xr.DataArray([5300, 1200], dims="level")).rename(temperature="gh") for ds in (heights, fields)
    )
    geopotential = (fields.drop_attrs() * 9.80665).rename(gh="geopotential")
    result = verify(heights.drop_attrs(), geopotential.assign_coords(fields.coords))["gh"]
    np.testing.assert_allclose(result.sel(metric="rmse"), scores.rmse(heights["gh"], fields["gh"]))
    assert (result.attrs["units"], result.attrs["standard_name"]) == ("m", "geopotential_height")


def test_values_without_units_have_to_be_plausible(rng: np.random.Generator) -> None:
    truth = state(rng)[["2m_temperature"]]
    celsius = truth - 273.15
    celsius["2m_temperature"].attrs = {}
    with pytest.raises(UnitsError, match="'2m_temperature' has no units, and a median of 6.*expected .* in K"):
        verify(truth, celsius)
    with pytest.raises(UnitsError, match="has no units"):
        verify(celsius, truth)
    lazy = verify(truth, celsius.chunk(time=1, latitude=9))
    with pytest.raises(UnitsError, match="has no units"):
        lazy.compute()
    kelvin = truth.drop_attrs().assign_coords(truth.coords)
    xr.testing.assert_allclose(verify(kelvin.chunk(time=1), truth).compute(), verify(truth, truth))
    metres = state(rng)[["temperature"]].rename(temperature="geopotential") + 5000
    metres["geopotential"].attrs = {}
    with pytest.raises(UnitsError, match="at 500 hPa, where it is 526.*such as 'm'"):
        verify(metres.chunk(level=1), metres).compute()


def test_only_what_is_compared_needs_units_that_are_understood(rng: np.random.Generator) -> None:
    analysis, truth = state(rng), state(rng)
    odd = rain(rng).assign(tp=rain(rng)["total_precipitation_6hr"].assign_attrs(units="K"))
    expected = verify(analysis, truth)
    xr.testing.assert_identical(verify(analysis, xr.merge([truth, odd])), expected)
    xr.testing.assert_equal(verify(xr.merge([analysis, odd]), truth), expected)
    with pytest.raises(UnitsError, match="variable 'tp' .total_precipitation.: units 'K'"):
        verify(odd[["tp"]], odd[["tp"]])


def test_baselines_are_scored_at_the_same_points(rng: np.random.Generator) -> None:
    analysis, truth = state(rng, 3), state(rng)
    partial = state(rng)
    partial["2m_temperature"][:, :9] = np.nan
    baselines = {"mean": state(rng).mean("time").expand_dims(time=TIMES), "partial": partial.drop_vars("temperature")}
    result = verify(analysis, truth, baselines=baselines)
    assert list(result.source.values) == ["analysis", "mean", "partial"]
    north = {"latitude": slice(9, None)}
    t2m = "2m_temperature"
    for source, fields in {"analysis": analysis, **baselines}.items():
        expected = scores.rmse(fields[t2m].isel(north), truth[t2m].isel(north))
        np.testing.assert_allclose(result[t2m].sel(source=source, metric="rmse"), expected)
    assert np.isnan(result["temperature"].sel(source="partial")).all()
    upper = result["temperature"].sel(source="analysis", metric="rmse")
    np.testing.assert_allclose(upper, scores.rmse(analysis["temperature"], truth["temperature"]))
    assert np.isnan(result[t2m].sel(source="mean", metric="spread_skill"))


def test_one_state(rng: np.random.Generator) -> None:
    for analysis in (state(rng), state(rng, 1)):
        truth = state(rng)
        result = verify(analysis, truth)
        assert list(result.metric.values) == ["rmse", "bias", "crps", "count"]
        error = abs(analysis["2m_temperature"].squeeze() - truth["2m_temperature"])
        np.testing.assert_allclose(result["2m_temperature"].sel(metric="crps"), scores.mean(error))
        with pytest.raises(OptionError, match="'spread_skill' needs members"):
            verify(analysis, truth, metrics=["rmse", "spread_skill"])


def test_verification_of_fields_is_lazy(rng: np.random.Generator) -> None:
    analysis, truth = state(rng, 3), state(rng)

    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    heavy = analysis.chunk(time=1)
    untouched = heavy.map(lambda f: f.copy(data=f.data.map_blocks(refuse, dtype=f.dtype, meta=np.empty(0))))
    assert verify(untouched, truth)["temperature"].chunks is not None
    lazy = verify(heavy, truth.chunk(time=2))
    assert all(field.chunks is not None for field in lazy.data_vars.values())
    xr.testing.assert_allclose(lazy.compute(), verify(analysis, truth))


def test_wrong_references(rng: np.random.Generator) -> None:
    analysis, truth = state(rng, 2), state(rng)
    with pytest.raises(DatasetError, match="regrid"):
        verify(analysis, truth.isel(latitude=slice(0, None, 2)))
    with pytest.raises(DatasetError, match="regrid"):
        verify(analysis, truth.assign_coords(longitude=LONGITUDE + 3))
    with pytest.raises(DatasetError, match="no time in common.*2005-03-01T00:00 to 2005-03-01T18:00"):
        verify(analysis, truth.assign_coords(time=TIMES + np.timedelta64(3, "h")))
    with pytest.raises(DatasetError, match="no level in common"):
        verify(analysis, truth.assign_coords(level=("level", [300.0, 400.0], {"units": "hPa"})))
    with pytest.raises(DatasetError, match="no variable in common"):
        verify(analysis[["2m_temperature"]], truth[["temperature"]])
    with pytest.raises(DatasetError, match="2 members"):
        verify(analysis, state(rng, 2))
    with pytest.raises(UnitsError, match="2m_temperature"):
        verify(analysis, truth.assign({"2m_temperature": truth["2m_temperature"].assign_attrs(units="m s-1")}))
    with pytest.raises(OptionError, match="did you mean 'rmse'"):
        verify(analysis, truth, metrics=["rmsee"])
    with pytest.raises(OptionError, match="metric=5: expected one of 'rmse'"):
        verify(analysis, truth, metrics=5)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="baselines is a Dataset; expected Datasets by name"):
        verify(analysis, truth, baselines=truth)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="Baselines that are no Dataset: 'a'"):
        verify(analysis, truth, baselines={"a": None})  # type: ignore[dict-item]
    with pytest.raises(OptionError, match="'error' needs reports"):
        verify(analysis, truth, metrics=["error"])
    with pytest.raises(OptionError, match="another name"):
        verify(analysis, truth, baselines={"analysis": truth})


# --- against reports


def places(rng: np.random.Generator, n: int = 400) -> xr.Dataset:
    upper = np.arange(n) >= n // 2
    level = np.where(upper, rng.choice([500.0, 850.0, 800.0], n), np.nan)
    coords = {
        "time": ("obs", TIMES[0] + (rng.uniform(0, 18, n) * 3600).astype("timedelta64[s]")),
        "latitude": ("obs", rng.uniform(-80, 80, n), {"units": "degrees_north"}),
        "longitude": ("obs", rng.uniform(-180, 180, n), {"units": "degrees_east"}),
        "level": ("obs", level, {"units": "hPa", "standard_name": "air_pressure"}),
        "altitude": ("obs", np.full(n, 200.0), {"units": "m"}),
        "station": ("obs", np.array([f"S{k}" for k in range(n)])),
    }
    t2m = xr.Variable("obs", np.where(upper, np.nan, 280.0), {"units": "K", "standard_name": "air_temperature"})
    t = xr.Variable("obs", np.where(upper, 260.0, np.nan), {"units": "K", "standard_name": "air_temperature"})
    errors = {"2m_temperature_error": ("obs", np.full(n, 1.5)), "temperature_error": ("obs", np.full(n, 0.7))}
    return xr.Dataset({"2m_temperature": t2m, "temperature": t, **errors}, coords)


def smooth(rng: np.random.Generator) -> xr.Dataset:
    """Fields linear in time, latitude and the logarithm of pressure: read exactly."""
    ds = state(rng)
    hours = xr.DataArray((TIMES - TIMES[0]) / np.timedelta64(1, "h"), {"time": TIMES}, "time")
    plane = 270 + 0.1 * ds.latitude + 0.2 * hours
    ds["2m_temperature"] = plane.broadcast_like(ds["2m_temperature"]).transpose(*ds["2m_temperature"].dims)
    with_level = plane + 10 * np.log(ds.level / 500)
    ds["temperature"] = with_level.broadcast_like(ds["temperature"]).transpose(*ds["temperature"].dims)
    for name in ("2m_temperature", "temperature"):
        ds[name].attrs = {"units": "K"}
    ds["surface_altitude"] = (("latitude", "longitude"), np.full((18, 18), 1200.0), {"units": "m"})
    ds["surface_altitude"].attrs["standard_name"] = "surface_altitude"
    return ds


def test_fields_are_read_where_the_reports_are(rng: np.random.Generator) -> None:
    obs = places(rng)
    values = interpolate_to_reports(smooth(rng), obs)
    hours = (obs.time.values - TIMES[0]) / np.timedelta64(1, "s") / 3600
    plane = 270 + 0.1 * obs.latitude.values + 0.2 * hours
    below = obs["2m_temperature"].notnull().values
    np.testing.assert_allclose(values["2m_temperature"][below], plane[below] + 6.5)  # 1000 m below the model's surface
    np.testing.assert_allclose(values["temperature"][~below], (plane + 10 * np.log(obs.level.values / 500))[~below])
    assert np.isnan(values["2m_temperature"][~below]).all()


def test_missing_cells_are_not_read(rng: np.random.Generator) -> None:
    fields, obs = state(rng, 2), places(rng)
    obs["sea_surface_temperature"] = obs["2m_temperature"].assign_attrs(standard_name="sea_surface_temperature")
    fields["2m_temperature"][:, 0] = np.nan  # as of an accumulation, before the first of which nothing is known
    values = interpolate_to_reports(fields, obs)
    first_sea, land = (
        obs.longitude.values % 360 < 180,
        (obs.longitude.values % 360 > 200) & (obs.longitude.values < -20),
    )
    surface = obs["2m_temperature"].notnull().values
    assert np.isfinite(values["sea_surface_temperature"][:, surface & first_sea]).all()
    assert np.isnan(values["sea_surface_temperature"][:, surface & land]).all()
    later = (obs.time >= TIMES[1]).values
    np.testing.assert_array_equal(np.isfinite(values["2m_temperature"][0, surface]), later[surface])


def test_spread_and_error_of_reports_add_up_to_the_skill(rng: np.random.Generator) -> None:
    truth = smooth(rng)
    obs = places(rng, 20_000)
    read = interpolate_to_reports(truth, obs)
    deviation = {"2m_temperature": 1.2, "temperature": 0.9}
    anomaly = rng.standard_normal((5, 20_000))
    members = xr.concat([truth] * 5, "member")
    for name in deviation:
        error = obs[f"{name}_error"] * rng.standard_normal(20_000)
        obs[name] = (read[name] + error).assign_attrs(obs[name].attrs)
    # Members that differ from the truth by one number each, the same everywhere: their mean is off by the mean.
    offset = xr.DataArray(anomaly[:, 0], dims="member")
    members["2m_temperature"] = (members["2m_temperature"] + offset).assign_attrs(units="K")
    result = verify(members, obs)["2m_temperature"]
    assert float(result.sel(metric="error")) == pytest.approx(1.5)
    assert float(result.sel(metric="bias")) == pytest.approx(float(offset.mean()), abs=0.05)
    spread = float(offset.std(ddof=1))
    assert float(result.sel(metric="spread")) == pytest.approx(spread)
    assert float(result.sel(metric="expected")) == pytest.approx(np.sqrt(6 / 5 * spread**2 + 1.5**2))
    assert float(result.sel(metric="rmse")) == pytest.approx(np.hypot(1.5, float(offset.mean())), abs=0.05)
    ratio = result.sel(metric="expected") / result.sel(metric="rmse")
    np.testing.assert_allclose(result.sel(metric="spread_skill"), ratio)


def test_reports_on_levels_and_rejected_ones(rng: np.random.Generator) -> None:
    obs = places(rng)
    obs["temperature_flag"] = ("obs", np.zeros(400, "i1"))
    obs["temperature_flag"][-50:] = 2
    truth = smooth(rng)
    result = verify(truth, obs)
    upper = np.arange(400) >= 200
    near500 = upper & (obs.level == 500).values & (obs["temperature_flag"] == 0).values
    count = result["temperature"].sel(metric="count")
    assert float(count.sel(level=500)) == near500.sum()
    assert float(count.sum()) == 150 and float(result["2m_temperature"].sel(metric="count").max()) == 200
    error = (interpolate_to_reports(truth, obs)["temperature"] - obs["temperature"]).values[near500]
    np.testing.assert_allclose(result["temperature"].sel(metric="rmse", level=500), np.sqrt(np.mean(error**2)))


def test_one_level_at_reports(rng: np.random.Generator) -> None:
    obs, truth = places(rng), smooth(rng)
    several, one = verify(truth.sel(level=[500]), obs), verify(truth.sel(level=500), obs)
    xr.testing.assert_allclose(one, several)


def test_one_place_at_reports(rng: np.random.Generator) -> None:
    obs, truth = places(rng), smooth(rng)
    there = {"latitude": ("obs", np.full(400, 45.0)), "longitude": ("obs", np.full(400, 20.0))}
    several = verify(truth.sel(latitude=[45], longitude=[20]), obs.assign_coords(there))
    assert several["2m_temperature"].sel(metric="count") == 200
    xr.testing.assert_allclose(verify(truth.sel(latitude=45, longitude=20), obs.assign_coords(there)), several)


def test_rates_at_reports(rng: np.random.Generator) -> None:
    obs, fields = places(rng), rain(rng)
    amounts = (obs["2m_temperature"] * 0 + 0.002).assign_attrs(
        units="m", standard_name="lwe_thickness_of_precipitation_amount"
    )
    obs = obs.drop_vars(list(obs.data_vars)).assign(total_precipitation_6hr=amounts)
    expected = verify(fields, obs)["total_precipitation_6hr"]
    rate = verify(as_rate(fields), obs)["pr"]
    np.testing.assert_allclose(rate.sel(metric=["rmse", "bias"]) * 21.6, expected.sel(metric=["rmse", "bias"]))
    np.testing.assert_allclose(rate.sel(metric="count"), expected.sel(metric="count"))


def test_baselines_at_reports(rng: np.random.Generator) -> None:
    obs, truth = places(rng), smooth(rng)
    along = obs[["2m_temperature"]] + 3.0
    along["2m_temperature"][:20] = np.nan
    climatology = truth.drop_vars("surface_altitude") + 1.0
    result = verify(truth, obs, baselines={"climatology": climatology, "neighbours": along})["2m_temperature"]
    np.testing.assert_allclose(result.sel(metric="count"), 180)
    np.testing.assert_allclose(result.sel(metric="bias", source="neighbours"), 3.0)
    shift = result.sel(metric="bias", source="climatology") - result.sel(metric="bias", source="analysis")
    named = verify(truth, obs["2m_temperature"], baselines={"neighbours": along["2m_temperature"]})["2m_temperature"]
    np.testing.assert_allclose(named.sel(metric="bias", source="neighbours"), 3.0)
    np.testing.assert_allclose(shift, 1.0)  # with the analysis's surface height, as the climatology has none
    with pytest.raises(DatasetError, match="one for each of the 400 reports"):
        verify(truth, obs, baselines={"few": along.isel(obs=slice(3))})


def test_one_member_at_reports(rng: np.random.Generator) -> None:
    obs, truth = places(rng), smooth(rng)
    xr.testing.assert_identical(verify(truth.assign_coords(member=3), obs), verify(truth, obs))


def test_an_unknown_surface_is_told(rng: np.random.Generator) -> None:
    with pytest.warns(UserWarning, match="height of the model's surface is not known"):
        verify(smooth(rng).drop_vars("surface_altitude"), places(rng))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verify(smooth(rng), places(rng))


def test_reports_of_other_quantities(rng: np.random.Generator) -> None:
    with pytest.raises(DatasetError, match="no variable in common"):
        verify(smooth(rng)[["sea_surface_temperature"]], places(rng))


@pytest.mark.slow
def test_real_stations(shared: Callable[[str], Path]) -> None:
    needs("eccodes")
    obs = quality_control(shared("real/synop-global-20181102/perf_synop.bufr"))
    used, withheld = withhold(obs)
    for name, limit in {
        "2m_temperature": 2.5,
        "10m_u_component_of_wind": 2.6,
        "mean_sea_level_pressure": 170.0,
    }.items():
        good = withheld[f"{name}_flag"] == 0
        error = (interpolate_inverse_distance(used, withheld, name) - withheld[name]).where(good)
        assert int(error.notnull().sum()) > 900
        assert float((error**2).mean() ** 0.5) < limit


# --- table


def test_table(rng: np.random.Generator) -> None:
    analysis, truth = state(rng, 3), state(rng)
    text = to_table(verify(analysis, truth, baselines={"climatology": state(rng).drop_vars("temperature")}))
    lines = text.splitlines()
    scored = ["rmse", "bias", "crps", "spread", "spread_skill", "count"]
    assert lines[0].split() == ["quantity", "level", "units", "source", *scored]
    assert len(lines) == 2 + 2 * 2 + 2 and len({len(line) for line in lines[2:]}) == 1
    row = next(line.split() for line in lines if line.startswith("temperature") and " 850 " in line)
    expected = float(scores.rmse(analysis["temperature"], truth["temperature"]).sel(level=850))
    assert row[1:4] == ["850", "K", "analysis"] and float(row[4]) == pytest.approx(expected, rel=1e-3)
    few = to_table(verify(analysis[["2m_temperature"]], truth), metrics=["crps", "rmse"])
    assert few.splitlines()[0].split() == ["quantity", "units", "crps", "rmse"]
