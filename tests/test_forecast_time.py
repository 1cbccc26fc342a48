"""Starts, leads and valid times: recognised in every layout, or refused with the names of the candidates."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tests.forecasts import HOURS, LAYOUTS, LEADS, START, perfect
from xappa.errors import DatasetError
from xappa.grids import flatten_valid_time, recognise
from xappa.grids.forecast_time import find_forecast_times
from xappa.tasks.check import check
from xappa.tasks.observe import observe


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_recognised(layout: str) -> None:
    write, start, lead = LAYOUTS[layout]
    ds = write(perfect())
    times, problems = find_forecast_times(ds)
    assert times is not None and not problems
    assert times.names[:2] == (start, lead)
    np.testing.assert_array_equal(times.valid.transpose(start, lead), perfect().time.values[:, None] + LEADS)
    overlapping = check(ds)
    assert not overlapping and "select one step or one start" in str(overlapping)
    assert f"the start is '{start}', the lead '{lead}'" in str(overlapping)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("part", ["one lead", "one start", "both"])
def test_what_is_selected_lies_at_its_valid_time(layout: str, part: str) -> None:
    write, start, lead = LAYOUTS[layout]
    if layout == "any name with its type" and part != "one start":
        pytest.skip("one length of time by an unknown name need not be a lead")
    ds = write(perfect())
    ds = ds.isel({lead: 3} if part == "one lead" else {start: 2} if part == "one start" else {start: 2, lead: 3})
    series = flatten_valid_time(ds)
    found = np.atleast_1d(series[recognise(series).time].values)
    first = perfect().time.values
    expected = {"one lead": first + LEADS[3], "one start": first[2] + LEADS, "both": first[[2]] + LEADS[3]}
    np.testing.assert_array_equal(found, expected[part])
    assert flatten_valid_time(series).identical(series)


def test_forecasts_that_follow_each_other_become_a_series() -> None:
    ds = perfect(starts=3, step=2, leads=LEADS[:2]).isel(time=[1, 0, 2]).sortby("time")
    series = flatten_valid_time(ds.rename(lead="lead_time"))
    assert series["2m_temperature"].dims == ("valid_time", "latitude", "longitude")
    np.testing.assert_array_equal(series.valid_time, START + np.arange(6) * np.timedelta64(6, "h"))
    assert series["time"].attrs["standard_name"] == "forecast_reference_time"


def test_observations_of_forecasts_are_taken_at_the_valid_time() -> None:
    one = perfect().rename(lead="prediction_timedelta").isel(prediction_timedelta=3)
    places = xr.Dataset(
        {"2m_temperature": ("obs", [1.0, 1.0], {"units": "K"})},
        {
            "time": ("obs", one.time.values[:2] + LEADS[3]),
            "latitude": ("obs", [0.0, 20.0]),
            "longitude": ("obs", [30.0, 30.0]),
        },
    )  # fmt: skip
    seen = observe(one, places)["2m_temperature"]
    field = one["2m_temperature"].sel(longitude=30)
    np.testing.assert_allclose(seen, [field.sel(latitude=0)[0], field.sel(latitude=20)[1]])


@pytest.mark.parametrize(
    ("units", "length"),
    [("hours", "h"), ("hour", "h"), ("h", "h"), ("days", "D"), ("minutes", "m"), ("seconds", "s"), ("weeks", "W")],
)
def test_numbers_are_leads_in_their_units(units: str, length: str) -> None:
    ds = perfect().rename(time="init").assign_coords(lead=("lead", [1, 2, 3, 4], {"units": units}))
    times, _ = find_forecast_times(ds)
    assert times is not None
    np.testing.assert_array_equal(times.valid[0], START + np.arange(1, 5).astype(f"m8[{length}]"))


def test_months_are_those_of_the_calendar() -> None:
    ds = perfect(1).rename(time="init").assign_coords(init=[np.datetime64("2019-11-01", "ns")])
    times, _ = find_forecast_times(ds.assign_coords(lead=("lead", [1, 2, 3, 4], {"units": "months"})))
    assert times is not None
    expected = np.array(["2019-12-01", "2020-01-01", "2020-02-01", "2020-03-01"], "M8[ns]")
    np.testing.assert_array_equal(times.valid[0], expected)


def test_a_forecast_of_ours_has_its_valid_time() -> None:
    ds = perfect(1).isel(time=0, drop=True).rename(lead="time")
    ds = ds.assign_coords(time=("time", START + LEADS, {"standard_name": "time"}), lead_time=("time", LEADS))
    for part in (ds, ds.isel(time=2), ds.drop_attrs()):
        assert flatten_valid_time(part)["2m_temperature"].dims == part["2m_temperature"].dims
        assert recognise(flatten_valid_time(part)).time == "time"


def test_an_analysis_is_no_forecast() -> None:
    ds = perfect().isel(lead=0).rename(lead="step")
    assert find_forecast_times(ds) == (None, [])
    assert flatten_valid_time(ds) is ds


def stamped(ds: xr.Dataset) -> xr.Dataset:
    return ds.rename(lead="lead_time").assign_coords(time=("time", ds.time.values, {"standard_name": "time"}))


@pytest.mark.parametrize(
    ("ds", "words"),
    [
        (stamped(perfect()), "'time' has standard_name 'time'.*'lead_time'.*forecast_reference_time"),
        (perfect().rename(time="init").assign_coords(lead=HOURS), "lead 'lead' holds numbers with no units.*'hours'"),
        (
            perfect()
            .rename(time="init", lead="step")
            .assign_coords(base_time=("init", perfect().time.values + LEADS[1])),
            "'init' and 'base_time' may each be the start of forecasts",
        ),
        (
            perfect().rename(lead="step").assign_coords(lead_time=("step", LEADS + LEADS[1])),
            "'step' and 'lead_time' may each be the lead of forecasts",
        ),
        (
            LAYOUTS["cfgrib"][0](perfect()).assign_coords(time=perfect().time + LEADS[1]),
            "valid time 'valid_time' is not start 'time' plus lead 'step'",
        ),
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_refused_with_its_candidates(ds: xr.Dataset, words: str) -> None:
    assert ds.appa.check().problems
    for call in (
        lambda: recognise(flatten_valid_time(ds)),
        lambda: ds.appa.verify(perfect(1)),
        lambda: ds.appa.encode(),
    ):
        with pytest.raises(DatasetError, match=words):
            call()
