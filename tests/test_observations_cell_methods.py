"""Cell methods of CF files: instants, periods with and without bounds, and statistics that are no values."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import AssumptionWarning, ObservationError, RejectionWarning
from xappa.observations import Flag, read_observations
from xappa.observations.readers.cf.cell_methods import (
    explain_unusable,
    find_cell_methods,
    find_period_method,
    parse_cell_methods,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::xappa.errors.AssumptionWarning", "ignore::xappa.errors.RejectionWarning"
)

T, TMAX, RAIN, RAIN6 = "2m_temperature", "maximum_2m_temperature", "total_precipitation", "total_precipitation_6hr"
KELVIN = {"standard_name": "air_temperature", "units": "K"}
AMOUNT = {"standard_name": "precipitation_amount", "units": "kg m-2"}


def series(times, methods: str | None, name: str = "x", attrs=KELVIN, values=None) -> xr.Dataset:
    times = pd.DatetimeIndex(times)
    attrs = attrs | ({} if methods is None else {"cell_methods": methods})
    given = np.arange(280.0, 280.0 + len(times)) if values is None else values
    return xr.Dataset({name: ("time", given, attrs)}, {"time": times, "lat": 50.0, "lon": 8.0})


def days(start: str = "2018-11-02", freq: str = "D", number: int = 3) -> pd.DatetimeIndex:
    return pd.date_range(start, periods=number, freq=freq)


def periods(obs: xr.Dataset, name: str) -> list[tuple[str, float]]:
    """Ends and lengths (hours) of the periods of values that would be used."""
    rows = (obs[name].notnull() & (obs[f"{name}_flag"] == 0)).values
    if "period" not in obs.coords:
        return [(str(time), 0.0) for time in obs["time"].values[rows].astype("M8[h]")]
    hours = obs["period"].values[rows] / np.timedelta64(1, "h")
    return list(zip(obs["time"].values[rows].astype("M8[h]").astype(str).tolist(), hours.tolist(), strict=True))


@pytest.mark.parametrize("start", ["2018-11-02T00", "2018-11-02T12"])
@pytest.mark.parametrize("methods", ["time: mean", "area: time: mean", "time: mean (interval: 1 hour)", "time:mean"])
def test_daily_means_are_over_the_day_in_which_their_time_lies(start, methods):
    with pytest.warns(AssumptionWarning, match="the UTC day in which their time lies. Say otherwise with bounds"):
        obs = read_observations(series(days(start), methods))
    assert periods(obs, T) == [(f"2018-11-0{day}T00", 24.0) for day in (3, 4, 5)]
    with pytest.raises(ObservationError, match="strict=True"):
        read_observations(series(days(start), methods), strict=True)


@pytest.mark.parametrize(
    ("name", "methods", "key"),
    [
        ("x", "time: maximum", None),
        ("tasmax", "time: maximum within days", None),
        ("tmax", None, None),
        ("temp_max", None, None),
        ("t2m", None, "max"),
    ],
)
def test_daily_maxima_are_extremes_of_their_day(name, methods, key):
    ds = series(days(), methods, name)
    ds[name].attrs |= {"GRIB_stepType": key} if key else {}
    obs = read_observations(ds)
    assert T not in obs
    assert periods(obs, TMAX) == [(f"2018-11-0{day}T00", 24.0) for day in (3, 4, 5)]


def test_days_with_gaps_and_days_on_their_own():
    times = days(number=9)[[0, 1, 4, 5, 6]]
    assert len(periods(read_observations(series(times, "time: mean")), T)) == 5
    one = read_observations(series(days(number=1), "time: maximum within days"))
    assert periods(one, TMAX) == [("2018-11-03T00", 24.0)]


@pytest.mark.parametrize("start", ["2018-11-01", "2018-11-16"])
def test_monthly_means_are_over_their_month(start):
    times = pd.DatetimeIndex([np.datetime64(start) + np.timedelta64(31 * k, "D") for k in range(2)])
    times = times if start == "2018-11-16" else days("2018-11-01", "MS", 2)
    found = periods(read_observations(series(times, "time: mean")), T)
    assert found == [("2018-12-01T00", 720.0), ("2019-01-01T00", 744.0)]


@pytest.mark.parametrize(
    ("times", "methods"),
    [
        (days("2018-11-02T06"), "time: mean"),  # which end of the day?
        (days(freq="h"), "time: mean"),
        (days(freq="3h"), "time: maximum"),
        (days(number=1), "time: mean"),
        (days(number=1), "time: mean (interval: 1 hour)"),
        (days(freq="h"), "time: mean (interval: 1 day)"),
        (pd.DatetimeIndex(["2018-11-02", "2018-11-03T07", "2018-11-03T11"]), "time: mean"),
        (days(freq="YS"), "time: mean"),
    ],
)
def test_what_has_a_period_that_nothing_tells_is_kept_and_flagged(times, methods):
    with pytest.warns(RejectionWarning, match=r"Nothing tells the period of x \(time: .*Give bounds of time"):
        obs = read_observations(series(times, methods))
    name = T if T in obs else TMAX
    assert (obs[f"{name}_flag"] == Flag.PERIOD_UNKNOWN).all()
    np.testing.assert_array_equal(obs["time"], times)


def test_means_beside_instants_are_reports_of_their_own():
    ds = series(days(), "time: mean").assign(t2m=("time", [270.0] * 3, {"units": "K"}))
    obs = read_observations(ds)
    instant = np.isnat(obs["period"].values)
    np.testing.assert_array_equal(obs[T].values[instant], 270.0)
    np.testing.assert_array_equal(obs[T].values[~instant], [280.0, 281.0, 282.0])
    point = read_observations(series(days(), "time: point"))
    assert "period" not in point.coords and (point[f"{T}_flag"] == 0).all()


@pytest.mark.parametrize("lazy", [False, True])
def test_amounts(lazy):
    def read(times, methods, name="pr", **attrs):
        ds = series(times, methods, name, AMOUNT | attrs, np.full(len(times), 6.0))
        return read_observations(ds.chunk() if lazy else ds)

    assert periods(read(days(), "time: sum"), RAIN)[0] == ("2018-11-03T00", 24.0)
    assert periods(read(days(), "time: sum (interval: 1 hour)"), RAIN)[0] == ("2018-11-03T00", 24.0)
    assert periods(read(days(freq="3h"), "time: sum"), RAIN)[:2] == [("2018-11-02T00", 3.0), ("2018-11-02T03", 3.0)]
    # Of one hour they are total_precipitation as it is defined; so is what has its name and interval.
    assert periods(read(days(freq="h"), "time: sum"), RAIN)[0] == ("2018-11-02T00", 0.0)
    assert periods(read(days(freq="6h"), "time: sum (interval: 1 hour)", "tp"), RAIN)[0] == ("2018-11-02T00", 0.0)
    assert periods(read(days(freq="6h"), "time: sum (interval: 6 hours)", "tp06"), RAIN6)[0] == ("2018-11-02T00", 0.0)


def test_amounts_of_forecasts_may_be_sums_since_their_start():
    ds = series(days(freq="h"), None, "tp", {"units": "m"}, [0.001, 0.002, 0.003])
    for hours, expected in (([1, 2, 3], Flag.PERIOD_UNKNOWN), ([1, 1, 1], 0)):
        lead = np.array(hours) * np.timedelta64(3600, "s")
        obs = read_observations(ds.assign_coords(step=("time", lead.astype("m8[ns]"))))
        assert (obs[f"{RAIN}_flag"] == expected).all()


@pytest.mark.parametrize(
    ("methods", "attrs"),
    [
        ("time: standard_deviation", KELVIN),
        ("time: variance", KELVIN),
        ("area: range", KELVIN),
        ("time: median", KELVIN),
        ("time: mode", KELVIN),
        ("time: sum_of_squares", KELVIN),
        ("time: maximum within days time: mean over days", KELVIN),
        ("time: mean within years time: mean over years", KELVIN),
        ("time: sum", KELVIN),
        ("time: maximum", {"standard_name": "wind_speed", "units": "m s-1"}),
    ],
)
def test_statistics_are_left_out_and_counted(methods, attrs):
    ds = series(days(), methods, attrs=attrs)
    with pytest.raises(ObservationError, match=r"No values of a known quantity, but statistics: x \(time: |x \(area: "):
        read_observations(ds)
    obs = read_observations(ds.assign(msl=("time", [1e5] * 3, {"units": "Pa"})))
    assert json.loads(obs.attrs["statistics_left_out"]) == {"x": 3}
    assert "unknown_variables" not in obs.attrs and set(obs.data_vars) == {
        "mean_sea_level_pressure",
        "mean_sea_level_pressure_flag",
    }
    assert json.loads(read_observations([obs, obs]).attrs["statistics_left_out"]) == {"x": 6}


def test_times_of_a_climatology_are_no_times_of_reports():
    ds = series(days(), "time: mean").assign(msl=("time", [1e5] * 3, {"units": "Pa"}))
    ds["time"].attrs["climatology"] = "climatology_bounds"
    assert json.loads(read_observations(ds).attrs["statistics_left_out"]) == {"x": 3}


def test_cell_methods_are_parsed():
    text = "area: mean where land lat: lon: time: maximum within days (interval: 6 hours comment: of 4)"
    first, second = parse_cell_methods(text)
    assert (first.names, first.method, first.parts) == (("area",), "mean", "where land")
    assert (second.names, second.parts, second.interval) == (("lat", "lon", "time"), "within days", 21600.0)
    assert find_period_method("T: minimum", {"T"}).method == "minimum" and find_period_method("T: minimum") is None
    assert explain_unusable("area: mean time: point") is None and parse_cell_methods("weekly mean") == []
    assert (
        find_cell_methods({"GRIB_stepType": "avg"}) == "time: mean"
        and find_cell_methods({}, "time: sum") == "time: sum"
    )
