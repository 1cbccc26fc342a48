"""`verify` of what is not as expected: dimensions, gaps, periods, versions, levels of a model; and how scores print."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from tests.forecasts import START, perfect, truth
from xappa.errors import DatasetError, GapWarning
from xappa.verification import scores
from xappa.verification.result import Scores
from xappa.verification.verify import verify

T2M = "2m_temperature"
NAMES = "number realization realisation ensemble ensemble_member ens member_id sample members epsmember perturbation"
MEMBERS = NAMES.split(" ")


def ensemble(members: int = 5) -> xr.Dataset:
    rng = np.random.default_rng(1)
    fields = truth()
    noise = xr.DataArray(rng.standard_normal((members, *fields[T2M].shape)), dims=("member", *fields[T2M].dims))
    return fields.assign({T2M: (fields[T2M] + noise).assign_attrs(units="K")})


# --- dimensions


@pytest.mark.parametrize("name", MEMBERS)
def test_members_by_any_of_their_names(name: str) -> None:
    expected = verify(ensemble(), truth())
    xr.testing.assert_identical(verify(ensemble().rename(member=name), truth()), expected)


def test_members_by_their_standard_name() -> None:
    numbers = xr.DataArray(np.arange(5), dims="run", attrs={"standard_name": "realization"})
    for coords in ({"run": numbers}, {"which": numbers}):
        found = verify(ensemble().rename(member="run").assign_coords(coords), truth())
        xr.testing.assert_identical(found, verify(ensemble(), truth()))


def test_other_dimensions_are_refused_by_name() -> None:
    for name in ("quantile", "experiment", "model"):
        ds = ensemble().rename(member=name)
        with pytest.raises(DatasetError, match=rf"not understood: '{name}' \(5\).*ds.rename\({name}='member'\)"):
            verify(ds, truth())
        with pytest.raises(DatasetError, match=f"The reference: Dimensions.*'{name}'"):
            verify(truth(), ds)
        with pytest.raises(DatasetError, match=f"The baseline 'other': Dimensions.*'{name}'"):
            verify(truth(), truth(), baselines={"other": ds})
        with pytest.raises(DatasetError, match=f"has the dimensions .*'{name}'"):
            ds.appa.observe(places())
        assert any(f"'{name}'" in line for line in ds.appa.check().of_values)
        xr.testing.assert_identical(verify(ds.isel({name: [0]}), truth()), verify(ds.isel({name: 0}), truth()))


def test_a_reference_of_one_member_is_that_member() -> None:
    for name in ("number", "ensemble"):
        one = truth().expand_dims({name: [0]})
        np.testing.assert_allclose(verify(truth() + 1, one)[T2M].sel(metric="rmse"), 1)
        with pytest.raises(DatasetError, match=rf"2 members along '{name}'.*isel\({name}=0\)"):
            verify(truth(), xr.concat([one, one], name))


@pytest.mark.parametrize("closed", ["both", "analysis", "reference"])
def test_a_closed_circle_counts_once(closed: str) -> None:
    def close(ds: xr.Dataset) -> xr.Dataset:
        return xr.concat([ds, ds.isel(longitude=[0]).assign_coords(longitude=[360.0])], "longitude")

    analysis, fields = ensemble(), truth()
    analysis[T2M][{"longitude": 0}] += 10
    expected = verify(analysis, fields)
    left = analysis if closed == "reference" else close(analysis)
    xr.testing.assert_allclose(verify(left, fields if closed == "analysis" else close(fields)), expected)


def test_versions_are_joined() -> None:
    fields = truth()
    old, new = fields.where(fields.time < fields.time[4]), fields.where(fields.time >= fields.time[4])
    both = xr.concat([old, new], "expver").assign_coords(expver=[1, 5])
    for left, right in ((both, fields), (fields, both)):
        found = verify(left, right)[T2M]
        assert found.sel(metric="rmse") == 0 and found.sel(metric="count") == fields[T2M].size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xr.testing.assert_allclose(verify(both, places())[T2M], verify(fields, places())[T2M])


def hybrid(**attrs: str) -> xr.Dataset:
    field = truth()[T2M].drop_attrs().rename("t").expand_dims(lev=np.arange(1, 6))
    field = field.assign_attrs(units="K").assign_coords(lev=("lev", np.arange(1, 6), attrs))
    return field.assign_coords(truth().drop_vars(T2M).coords).to_dataset()


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"standard_name": "atmosphere_hybrid_sigma_pressure_coordinate"},
        {"long_name": "model level number"},
        {"formula_terms": "a: hyam b: hybm ps: sp"},
        {"units": "1"},
    ],
)
def test_levels_of_a_model_are_refused_by_name(attrs: dict[str, str]) -> None:
    ds = hybrid(**attrs)
    table = {"time": [START], "lat": [10.0], "lon": [20.0], "level": [500.0], "variable": ["t"], "observation": [280.0]}
    for call in (
        lambda: verify(ds, ds),
        lambda: verify(ds, pd.DataFrame(table)),
        lambda: ds.appa.observe(pd.DataFrame(table)),
    ):
        with warnings.catch_warnings(), pytest.raises(DatasetError, match="level 'lev' has .*expected hPa or Pa"):
            warnings.simplefilter("ignore")
            call()
    sigma = ds.assign_coords(lev=[0.1, 0.3, 0.5, 0.8, 1.0])
    with pytest.raises(DatasetError, match="level 'lev'"):
        verify(sigma, sigma)


# --- gaps


def test_a_failed_member_is_named_and_the_others_are_scored() -> None:
    ds = ensemble()
    ds[T2M][{"member": 2, "time": slice(3, 5)}] = np.nan
    with pytest.warns(
        GapWarning, match=r"2m_temperature of the analysis: 2 of 60 states .*\(member 2; time 2020-02-27T18"
    ):
        found = verify(ds.assign_coords(member=range(5)), truth())[T2M]
    others = verify(ensemble().isel(member=[0, 1, 3, 4]), truth(), by="time")[T2M].sel(metric="rmse")
    each = verify(ensemble(), truth(), by="time")[T2M].sel(metric="rmse").copy()
    each[3:5] = others[3:5]
    np.testing.assert_allclose(found.sel(metric="rmse"), np.sqrt((each**2).mean()))
    assert found.sel(metric="count") == truth()[T2M].size


def test_a_half_written_store_is_told_once_it_is_computed() -> None:
    ds = ensemble().chunk(time=1)
    ds[T2M] = ds[T2M].where(ds.time < ds.time[8])
    with warnings.catch_warnings():
        warnings.simplefilter("error", GapWarning)
        lazy = verify(ds, truth())
    with pytest.warns(
        GapWarning, match=r"of the analysis: 20 of 60 states .*time 2020-02-29T00:00, .* and 1 more"
    ) as said:
        found = lazy.compute()
    assert len([w for w in said if w.category is GapWarning]) == 1
    assert found[T2M].sel(metric="count") == 8 * 9 * 12
    xr.testing.assert_allclose(found, verify(ensemble().isel(time=slice(8)), truth()))


def test_missing_times_of_the_reference_are_named() -> None:
    fields = truth()
    fields[T2M][5] = np.nan
    with pytest.warns(GapWarning, match="of the reference: 1 of 12 states .*time 2020-02-28T06:00"):
        found = verify(ensemble(), fields)[T2M]
    assert found.sel(metric="count") == 11 * 9 * 12
    with pytest.warns(GapWarning, match="the reference lacks 2 of 12 times: 2020-02-27T00:00, 2020-02-27T06:00"):
        assert verify(ensemble(), truth().isel(time=slice(2, None)))[T2M].sel(metric="count") == 10 * 9 * 12


def test_a_reference_of_a_region_is_scored_there() -> None:
    region = {"latitude": slice(2, 6), "longitude": slice(3, 9)}
    with pytest.warns(GapWarning, match="lacks 5 of 9 latitudes: -80, -60, 0 and 2 more|lacks 5 of 9 latitudes"):
        found = verify(ensemble(), truth().isel(region))
    xr.testing.assert_allclose(found, verify(ensemble().isel(region), truth().isel(region)))
    seam = truth().roll(longitude=3, roll_coords=True).isel(longitude=slice(0, 6))
    with pytest.warns(GapWarning, match="lacks 6 of 12 longitudes"):
        assert verify(ensemble(), seam)[T2M].sel(metric="count") == 12 * 9 * 6


def test_whole_states_are_scored_without_a_word() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verify(ensemble(), truth())
        verify(ensemble().isel(time=slice(3)), truth())


# --- periods


def over_a_day(method: str = "maximum", **attrs: str) -> xr.Dataset:
    """Extremes of the days, with CF bounds."""
    daily = truth().resample(time="1D").max()
    start = daily.time.values
    daily = daily.assign_coords(
        time=("time", start + np.timedelta64(12, "h"), {"bounds": "time_bnds", "standard_name": "time"}),
        time_bnds=(("time", "bnds"), np.stack([start, start + np.timedelta64(24, "h")], 1)),
    )
    daily[T2M].attrs = {"units": "K", "cell_methods": f"time: {method}"} | attrs
    return daily


@pytest.mark.parametrize(
    "ds",
    [
        over_a_day(),
        over_a_day("mean"),
        over_a_day(cell_methods="area: mean time: minimum within days"),
        over_a_day(cell_methods="area: time: mean"),
        over_a_day(cell_methods=""),
        over_a_day(cell_methods="", GRIB_stepType="max").drop_vars("time_bnds"),
    ],
)
def test_fields_over_a_day_are_no_instants(ds: xr.Dataset) -> None:
    for call in (lambda: verify(truth(), ds), lambda: verify(ds, truth()), lambda: verify(ds, places())):
        with warnings.catch_warnings(), pytest.raises(DatasetError, match="'2m_temperature' is the .*over.*instant"):
            warnings.simplefilter("ignore")
            call()
    with pytest.raises(DatasetError, match="is the .*time: point"):
        ds.appa.observe(places())
    assert any("expected values of an instant" in line for line in ds.appa.check().of_values)
    assert verify(ds, ds)[T2M].sel(metric="rmse") == 0


def test_other_statistics_of_the_same_day_are_refused() -> None:
    with pytest.raises(DatasetError, match="of the analysis, .*maximum over 24 h.*\n.*of the reference, .*minimum"):
        verify(over_a_day(), over_a_day("minimum"))
    later = over_a_day()
    later["time_bnds"] = later["time_bnds"] + np.timedelta64(6, "h")
    with pytest.raises(DatasetError, match="maximum over 24 h"):
        verify(over_a_day(), later)


def test_instants_with_bounds_of_sums_are_instants() -> None:
    ds = over_a_day(cell_methods="time: point")
    assert verify(ds, ds)[T2M].sel(metric="rmse") == 0
    rain = over_a_day(cell_methods="").assign(tp=over_a_day()[T2M] / 1e5)
    rain["tp"].attrs = {"units": "m", "cell_methods": "time: sum (interval: 1 hour)"}
    assert verify(rain[[T2M, "tp"]], truth().assign_coords(time=truth().time))[T2M].sel(metric="count") > 0


def places(n: int = 10) -> xr.Dataset:
    rng = np.random.default_rng(2)
    coords = {
        "time": ("obs", START + rng.integers(0, 8, n) * np.timedelta64(6, "h")),
        "latitude": ("obs", rng.uniform(-60, 60, n), {"units": "degrees_north"}),
        "longitude": ("obs", rng.uniform(0, 360, n), {"units": "degrees_east"}),
    }
    return xr.Dataset({T2M: ("obs", np.full(n, 280.0), {"units": "K"})}, coords)


def test_amounts_and_extremes_over_periods_are_scored() -> None:
    nature = xappa.tutorial.nature_run().load()
    amounts, extremes = (6, 12, 24), (12, 24)
    rows = [("tp", 0.004, hours, "m", 0.001) for hours in amounts]
    rows += [
        (f"{which}_2m_temperature", 290.0, hours, "K", 1.0) for which in ("maximum", "minimum") for hours in extremes
    ]
    rows += [("t2m", 280.0, None, "K", 1.0)]
    names = ["variable", "observation", "period", "units", "error"]
    table = pd.DataFrame(rows, columns=names).assign(
        time=nature.time.values[5], lat=50.0, lon=10.0 * np.arange(len(rows)), elev=0.0, station=list("abcdefgh")
    )
    reports = xappa.read_observations(table)
    given = nature.appa.observe(reports)
    for name in ("total_precipitation", "maximum_2m_temperature", "minimum_2m_temperature", T2M):
        at = np.isfinite(given[name].values)
        reports[name].values[at] = given[name].values[at]
    for fields in (nature, nature.chunk(time=1)):
        found = verify(fields, reports)
        assert int(found["total_precipitation"].sel(metric="count")) == 3
        assert int(found["maximum_2m_temperature"].sel(metric="count")) == 2
        for name in ("total_precipitation", "maximum_2m_temperature", "minimum_2m_temperature", T2M):
            np.testing.assert_allclose(found[name].sel(metric="rmse"), 0, atol=1e-3)
        assert found["maximum_2m_temperature"].attrs["units"] == "K"


# --- how scores print


def test_scores_print_as_a_table_of_numbers() -> None:
    lazy = verify(ensemble().chunk(time=1), truth())
    assert isinstance(lazy, Scores) and lazy[T2M].chunks is not None and "print(scores)" in repr(lazy)
    text = str(lazy)
    assert text.startswith("Scores were computed to be printed")
    rmse = float(scores.rmse(ensemble()[T2M], truth()[T2M]))
    assert f"{rmse:.4g}" in text and "quantity" in text
    assert lazy[T2M].chunks is None and not str(lazy).startswith("Scores were computed")
    by_lead = str(verify(perfect().rename(lead="lead_time"), truth()))
    assert "lead_time" in by_lead and "24 h" in by_lead and "2.16e+13" not in by_lead
    starts = str(verify(perfect().rename(lead="lead_time"), truth(), by=("init", "lead")))
    assert "2020-02-27T06:00" in starts


def test_scores_are_an_ordinary_dataset(tmp_path) -> None:
    found = verify(ensemble().chunk(time=1), truth())
    assert isinstance(found, xr.Dataset)
    found.to_zarr(tmp_path / "scores.zarr")
    kept = xr.open_zarr(tmp_path / "scores.zarr").load()
    np.testing.assert_allclose(kept[T2M], found[T2M])


def test_reports_that_fields_cannot_tell_are_counted() -> None:
    obs = places(10)
    obs = obs.assign(surface_pressure=("obs", np.full(10, 1e5), {"units": "Pa"}))
    obs["time"][:3] = START - np.timedelta64(5, "D")
    with pytest.warns(GapWarning, match="the Dataset lacks 1 of 2 quantities: surface_pressure"):
        found = verify(truth(), obs)
    assert found[T2M].sel(metric="count") == 7
    assert "surface_pressure" in found.attrs["left_out"] and "3 reports of 2m_temperature cannot be" in str(found)
