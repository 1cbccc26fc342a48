"""Reports over a period: read from bounds, cell methods and columns, and what a model's states can represent."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations import Flag, flag_counts, is_one_form, read_observations
from xappa.observations.periods import PeriodStates, find_period_states, get_method, to_periods

RAIN, RAIN6, TMAX, T = "total_precipitation", "total_precipitation_6hr", "maximum_2m_temperature", "2m_temperature"
HOUR = np.timedelta64(3600, "s")
NAT = np.timedelta64("NaT", "s")
TIMES = np.array(["2024-01-01T06", "2024-01-01T18"], dtype="datetime64[s]")


def with_bounds(hours: int, **variables) -> xr.Dataset:
    """Times in the middle of their bounds, as a program that averages leaves them."""
    bounds = np.stack([TIMES - hours // 2 * HOUR, TIMES + hours // 2 * HOUR], axis=1)
    return xr.Dataset(
        {name: ("time", *value) for name, value in variables.items()} | {"edges": (("time", "nv"), bounds)},
        {"time": ("time", TIMES, {"bounds": "edges"}), "lat": 10.0, "lon": 20.0},
    )


def test_time_bounds_and_cell_methods():
    rain = {"standard_name": "precipitation_amount", "units": "kg m-2", "cell_methods": "time: sum"}
    mean = {"standard_name": "air_temperature", "units": "K", "cell_methods": "time: mean"}
    high = {"standard_name": "air_temperature", "units": "K", "cell_methods": "time: maximum"}
    now = {"standard_name": "air_temperature", "units": "K", "cell_methods": "time: point"}
    ds = with_bounds(12, pr=([3.0, 4.0], rain), a=([280.0, 281.0], mean), b=([285.0, 286.0], high))
    obs = read_observations(ds)
    assert is_one_form(obs)
    for name, values in ((RAIN, [0.003, 0.004]), (T, [280.0, 281.0]), (TMAX, [285.0, 286.0])):
        rows = obs[name].notnull().values
        np.testing.assert_allclose(obs[name].values[rows], values)
        np.testing.assert_array_equal(obs["period"].values[rows], 12 * HOUR)
        np.testing.assert_array_equal(obs["time"].values[rows], TIMES + 6 * HOUR)  # the end of the period
    assert obs[TMAX].attrs["cell_methods"] == "time: maximum"
    instant = read_observations(with_bounds(12, a=([280.0, 281.0], now)))
    assert "period" not in instant.coords
    np.testing.assert_array_equal(instant["time"], TIMES)


def test_bounds_that_are_missing_or_enclose_nothing_tell_no_period():
    mean = {"standard_name": "air_temperature", "units": "K", "cell_methods": "time: mean"}
    ds = with_bounds(12, a=([280.0, 281.0], mean))
    for first in (np.datetime64("NaT"), ds["edges"].values[0, 1]):
        broken = ds.copy(deep=True)
        broken["edges"].values[0, 0] = first
        obs = read_observations(broken)
        assert obs[f"{T}_flag"].values.tolist() == [Flag.PERIOD_UNKNOWN, 0]
        np.testing.assert_array_equal(obs["period"], [NAT, 12 * HOUR])
    turned = ds.assign(edges=ds["edges"].isel(nv=[1, 0]))
    xr.testing.assert_identical(read_observations(turned), read_observations(ds))


def test_the_period_of_the_definition_is_not_told_again():
    attrs = {"units": "m", "cell_methods": "time: sum (interval: 6 hours)"}
    obs = read_observations(with_bounds(6, tp06=([0.001, 0.002], attrs)))
    assert "period" not in obs.coords
    np.testing.assert_array_equal(obs["time"], TIMES + 3 * HOUR)


def test_lazy_values_over_a_period_stay_lazy():
    attrs = {"standard_name": "precipitation_amount", "units": "kg m-2", "cell_methods": "time: sum"}
    ds = with_bounds(12, pr=([3.0, 4.0], attrs))
    obs = read_observations(ds.chunk())
    assert obs[RAIN].chunks is not None
    assert obs["period"].chunks is None
    xr.testing.assert_identical(obs.compute(), read_observations(ds))


def test_columns_of_tables():
    place = {"time": ["2024-01-01T06"] * 3, "lat": [1.0, 2.0, 3.0], "lon": 0.0}
    wide = pd.DataFrame(place | {"tp": [1.0, 2.0, 3.0], "period": [6, 24, None]})
    obs = read_observations(wide, units={"tp": "mm"})
    np.testing.assert_array_equal(obs["period"], [6 * HOUR, 24 * HOUR, NAT])
    tidy = pd.DataFrame(place | {"variable": "tp", "value": [1.0, 2.0, 3.0], "duration": ["6h", "1 day", ""]})
    same = read_observations(tidy, units={"tp": "mm"})
    np.testing.assert_array_equal(same["period"], obs["period"])


def test_reports_of_two_periods_are_no_duplicates():
    frame = pd.DataFrame({"time": "2024-01-01T06", "lat": 1.0, "lon": 0.0, "tp": [0.001, 0.002], "period": [6, 24]})
    assert flag_counts(read_observations(frame)).loc[RAIN, "good"] == 2


@pytest.mark.parametrize(
    ("values", "units", "hours"),
    [
        ([6.0, -24.0, np.nan, 0.0], None, [6, -24, None, None]),
        ([360, 60], "minutes", [6, 1]),
        ([1.0], "days", [24]),
        (np.array([6, 12], "timedelta64[h]"), None, [6, 12]),
        (["6h", None, "", " ", "nonsense"], None, [6, None, None, None, 0]),
    ],
)
def test_lengths(values, units, hours):
    wanted = [NAT if hour is None else hour * HOUR for hour in hours]
    np.testing.assert_array_equal(to_periods(values, units), np.array(wanted))


def test_lengths_in_wrong_units():
    with pytest.raises(ObservationError, match="units 'kg'; expected seconds"):
        to_periods([1.0], "kg")


@pytest.mark.filterwarnings("ignore::Warning:zarr")
def test_periods_survive_a_file(tmp_path):
    pytest.importorskip("netCDF4")
    frame = pd.DataFrame({"time": "2024-01-01T06", "lat": [1.0, 2.0], "lon": 0.0, "tp": 0.001, "period": [6, None]})
    obs = read_observations(frame)
    obs.to_netcdf(tmp_path / "obs.nc")
    np.testing.assert_array_equal(read_observations(tmp_path / "obs.nc")["period"], [6 * HOUR, NAT])


HOURLY = (1 * HOUR, {RAIN, T, "u_component_of_wind"})
SIX = (6 * HOUR, {RAIN6, T})


@pytest.mark.parametrize(
    ("name", "period", "model", "wanted"),
    [
        (RAIN, 6 * HOUR, HOURLY, PeriodStates(RAIN, 6, "sum")),
        (RAIN, NAT, HOURLY, PeriodStates(RAIN, 1, "sum")),
        (RAIN, 24 * HOUR, SIX, PeriodStates(RAIN6, 4, "sum")),
        (RAIN6, NAT, SIX, PeriodStates(RAIN6, 1, "sum")),
        (RAIN6, NAT, HOURLY, PeriodStates(RAIN, 6, "sum")),
        (RAIN, 3 * HOUR, SIX, None),
        (RAIN, 9 * HOUR, SIX, None),
        (RAIN, 6 * HOUR, (6 * HOUR, {RAIN, T}), None),  # of amounts of an hour, five of six are not there
        (T, 24 * HOUR, SIX, PeriodStates(T, 4, "mean")),
        (T, NAT, SIX, PeriodStates(T, 1, "mean")),
        (T, 3 * HOUR, SIX, None),
        (TMAX, 24 * HOUR, SIX, PeriodStates(T, 5, "maximum")),  # both ends included
        (TMAX, 12 * HOUR, SIX, PeriodStates(T, 3, "maximum")),
        (TMAX, 9 * HOUR, SIX, PeriodStates(T, 2, "maximum")),
        (TMAX, 3 * HOUR, SIX, None),
        (TMAX, NAT, SIX, None),
        (RAIN, 6 * HOUR, (6 * HOUR, {T}), None),
        ("sea_surface_temperature", 6 * HOUR, SIX, None),
    ],
)
def test_what_states_represent(name, period, model, wanted):
    step, variables = model
    assert find_period_states(name, period, variables, step) == wanted


def test_methods():
    assert [get_method(name) for name in (RAIN, RAIN6, TMAX, T)] == ["sum", "sum", "maximum", "mean"]
