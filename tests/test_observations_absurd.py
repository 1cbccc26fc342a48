"""Places, times, levels, periods and values that can be none: flagged, or refused, in every form that is read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import ObservationError
from xappa.observations import Flag, flag_counts, read_observations

pytestmark = pytest.mark.filterwarnings("ignore::xappa.errors.UnitsWarning")

T, ALOFT, RAIN = "2m_temperature", "temperature", "total_precipitation"
SPELT = {"latitude": "lat", "longitude": "lon", "altitude": "elev", "2m_temperature": T}
COORDINATES = ("time", "latitude", "longitude", "level", "altitude", "height", "period")
SIZE = 5
YEARS = ["0001-01-01", "1500-06-01", "1599-12-31T23:59", "2262-01-01", "3000-01-01", "9999-12-31"]


def table(name: str = T, **columns) -> pd.DataFrame:
    value = {T: 280.0, ALOFT: 250.0, RAIN: 0.001}[name] + 0.0 * np.arange(SIZE)
    frame = {"time": "2018-11-02T12", "lat": 50.0 + np.arange(SIZE), "lon": 5.0, "elev": 10.0, name: value}
    return pd.DataFrame(frame | {SPELT.get(key, key): column for key, column in columns.items()})


def tidy(name: str = T, **columns) -> pd.DataFrame:
    frame = table(name, **columns)
    return frame.rename(columns={name: "observation"}).assign(variable=name)


def points(name: str = T, **columns) -> xr.Dataset:
    """A CF Dataset of points."""
    return one_form(name, **columns).rename(obs="x", latitude="lat", longitude="lon")


def one_form(name: str = T, **columns) -> xr.Dataset:
    base = table(name, **({"level": 500.0} if name == ALOFT else {}))
    obs = read_observations(base, units={name: "K" if name != RAIN else "m"}).drop_vars(f"{name}_flag")
    for key, column in columns.items():
        attrs = obs[key].attrs if key in obs.variables else {}
        array = np.array(column)
        obs = (
            obs.assign({key: ("obs", array, attrs)}) if key == name else obs.assign_coords({key: ("obs", array, attrs)})
        )
    return obs


FORMS = {"table": table, "tidy": tidy, "points": points, "one form": one_form}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def flags(source, name: str = T) -> list[int]:
    return read_observations(source)[f"{name}_flag"].values.tolist()


def with_first(value, others) -> np.ndarray:
    """One value before others; of several types, as objects."""
    several = not isinstance(value, int | float) or isinstance(value, bool)
    return np.array([value] + [others] * (SIZE - 1), dtype=object if several else None)


@pytest.mark.parametrize(
    "year", ["0001-01-01", "1500-06-01", "1599-12-31T23:59", "2262-01-01", "3000-01-01", "9999-12-31"]
)
class TestTimes:
    def test_a_time_outside_1600_to_2261_is_none(self, form, year):
        time = np.array([year] + ["2018-11-02T12"] * 4, "datetime64[s]")
        assert flags(form(time=time)) == [Flag.MISSING_TIME, 0, 0, 0, 0]

    def test_if_most_are_so_the_column_is_wrong(self, form, year):
        time = np.array([year] * 3 + ["2018-11-02T12"] * 2, "datetime64[s]")
        with pytest.raises(ObservationError, match=r"time runs from .*, expected the years 1600 to 2261"):
            read_observations(form(time=time))

    def test_checks_do_not_reach_over_the_centuries_between(self, tiny_model, year):
        time = np.array([year] + ["2001-03-13T00"] * 4, "datetime64[s]")
        found = xappa.quality_control(table(time=time), model=tiny_model)
        assert found[f"{T}_flag"].values.tolist() == [Flag.MISSING_TIME, 0, 0, 0, 0]


def test_the_first_and_the_last_year_are_years(form):
    time = np.array(["1600-01-01", "2261-12-31T23"] + ["2018-11-02"] * 3, "datetime64[s]")
    assert flags(form(time=time)) == [0] * SIZE


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_of_time_make_no_difference(unit):
    time = np.array(["2018-11-02T12", "1700-01-01", "NaT", "2261-12-31", "2018-11-02"], f"datetime64[{unit}]")
    assert flags(one_form(time=time)) == [0, 0, Flag.MISSING_TIME, 0, 0]


@pytest.mark.parametrize("name", ["altitude", "height"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_height_is_no_place(name, value):
    for form in (one_form, table) if name == "altitude" else (one_form,):
        assert flags(form(**{name: with_first(value, 2.0)})) == [Flag.MISSING_PLACE, 0, 0, 0, 0]
    assert flags(table(elev=np.inf)) == [Flag.MISSING_PLACE] * SIZE


@pytest.mark.parametrize("value", [1100.1, 1200.0, 1e4, 1e30, np.inf, -np.inf, 0.0, -5.0])
def test_a_level_beyond_any_pressure_is_none(form, value):
    assert flags(form(ALOFT, level=with_first(value, 500.0)), ALOFT) == [Flag.MISSING_PLACE, 0, 0, 0, 0]


def test_a_level_of_1100_hpa_is_one(form):
    assert flags(form(ALOFT, level=with_first(1100.0, 500.0)), ALOFT) == [0] * SIZE


class TestPeriods:
    @pytest.mark.parametrize("value", [-6, -0.5, np.inf, -np.inf, 1e9, "six", "-6h", "2018-11-02", True, 1j])
    def test_what_is_no_length_of_time_rejects_the_value(self, value):
        obs = read_observations(table(RAIN, period=with_first(value, 6)))
        assert obs[f"{RAIN}_flag"].values.tolist() == [Flag.PERIOD_UNKNOWN, 0, 0, 0, 0]
        assert (obs["period"].values[1:] == np.timedelta64(6, "h")).all()

    @pytest.mark.parametrize("hours", [-6, 0, 10**7])
    @pytest.mark.parametrize("form", [points, one_form])
    def test_a_dataset_with_such_a_period(self, form, hours):
        period = np.array(with_first(hours, 6), "timedelta64[h]").astype("timedelta64[s]")
        expected = 0 if form is points and hours == 0 else Flag.PERIOD_UNKNOWN  # 0 stands for an instant in files
        assert flags(form(RAIN, period=period), RAIN) == [expected, 0, 0, 0, 0]

    @pytest.mark.parametrize("column", [True, 1j, pd.Timestamp("2018-11-02")])
    def test_a_column_of_none_is_refused(self, column):
        with pytest.raises(ObservationError, match=r"period: found .*, expected lengths of time"):
            read_observations(table(RAIN, period=[column] * SIZE))

    @pytest.mark.parametrize("value", ["6h", "6 hours", 6, 6.0, np.timedelta64(6, "h"), "06:00:00"])
    def test_lengths_are_read_beside_each_other(self, value):
        period = read_observations(table(RAIN, period=[value, None, "12h", np.nan, 24]))["period"]
        hours = (period / np.timedelta64(1, "h")).values
        np.testing.assert_array_equal(hours[[0, 2, 4]], [6, 12, 24])
        assert np.isnan(hours[[1, 3]]).all()

    def test_the_periods_of_bufr_keys_count_backwards(self):
        obs = read_observations(table(RAIN, timePeriod=-6))
        assert flag_counts(obs).loc[RAIN, "good"] == SIZE and (obs["period"] == np.timedelta64(6, "h")).all()


@pytest.mark.parametrize("kind", [bool, complex])
@pytest.mark.parametrize("name", ["latitude", "longitude", "altitude", "level", "value", "error"])
class TestNumbers:
    def test_truth_values_and_complex_numbers_are_refused(self, form, name, kind):
        quantity = ALOFT if name == "level" else T
        key = {"value": quantity, "error": f"{quantity}_error"}.get(name, name)
        if name == "error" and form is tidy:
            key = "error"
        column = np.array([1, 0, 1, 1, 0]).astype(kind)
        with pytest.raises(ObservationError, match=r"found (true and false|complex numbers|other values than numbers)"):
            read_observations(form(quantity, **{key: column}))


@pytest.mark.parametrize("value", [True, 1 + 1j, pd.Timestamp("2018-11-02"), "abc"])
@pytest.mark.parametrize("form", [table, tidy])
class TestSingleOnes:
    def test_among_numbers_they_are_missing(self, form, value):
        obs = read_observations(form(**{T: with_first(value, 280.0)}))
        assert np.isnan(obs[T].values[0]) and (obs[T].values[1:] == 280.0).all()
        assert sum(pd.Series(obs.attrs["unreadable_values"]).map(lambda text: text.count("1"))) == 1

    def test_among_places_they_are_none(self, form, value):
        latitude = np.array([value, 51.0, 52.0, 53.0, 54.0], dtype=object)
        assert flags(form(latitude=latitude)) == [Flag.MISSING_PLACE, 0, 0, 0, 0]


def test_text_for_heights_in_the_one_form_is_read_as_numbers():
    obs = one_form(altitude=["10", "20", "x", "", "30"])
    np.testing.assert_array_equal(read_observations(obs)["altitude"], [10.0, 20.0, np.nan, np.nan, 30.0])
