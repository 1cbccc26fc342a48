"""Times of reports: parts in columns of their own, dates in digits, texts, and what is refused."""

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xappa.errors import AssumptionWarning, ObservationError, UnitsWarning
from xappa.observations import Flag, read_observations
from xappa.observations.readers.times import to_times

T = "2m_temperature"
DAY = np.datetime64("2018-11-02")
HOURS = [0, 6, 24]
EXPECTED = DAY + np.array(HOURS, "timedelta64[h]")


def table(**columns) -> pd.DataFrame:
    size = max(len(column) for column in columns.values() if isinstance(column, list | pd.Series | pd.DatetimeIndex))
    frame = pd.DataFrame(columns, index=range(size))
    return frame.assign(lat=50.0 + np.arange(size), lon=8.0, t2m=280.0)


def times(frame: pd.DataFrame, **options) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AssumptionWarning)
        warnings.simplefilter("ignore", UnitsWarning)
        return read_observations(frame, **options)["time"].values


@pytest.mark.parametrize(
    "hour",
    [
        HOURS,
        [0.0, 6.0, 24.0],
        ["0", "6", "24"],
        ["00Z", "06Z", "24Z"],
        ["0h", "6h", "24h"],
        ["00:00", "06:00", "24:00"],
        ["0:00", "6:00:00", "24:00:00"],
        [0, 600, 2400],
        ["0000", "0600", "2400"],
        [0, 60000, 240000],
        ["00 UTC", "06 UTC", "24 UTC"],
        ["12 AM", "6 AM", "24:00"],
        pd.to_timedelta([0, 6, 24], "h").to_series(index=range(3)),
    ],
)
@pytest.mark.parametrize("date", ["2018-11-02", 20181102, "20181102", datetime.date(2018, 11, 2), pd.Timestamp(DAY)])
def test_date_and_hour(date, hour):
    np.testing.assert_array_equal(times(table(date=[date] * 3, hour=hour)), EXPECTED)


@pytest.mark.parametrize(
    "names",
    ["date hour", "date time", "DATE TIME", "Date HH", "YEARMODA HRMN", "UTC_DATE UTC_TIME", "YYYYMMDD obs_hour"],
)
def test_names_of_date_and_time(names):
    date, clock = names.split()
    frame = table(**{date: [20181102] * 3, clock: ["0000", "0600", "2400"]})
    np.testing.assert_array_equal(times(frame), EXPECTED)


def test_years_months_and_days():
    parts = {"year": [2018] * 3, "month": [11] * 3, "day": [2] * 3}
    np.testing.assert_array_equal(times(table(**parts, hour=HOURS)), EXPECTED)
    np.testing.assert_array_equal(
        times(table(**parts, hour=[0, 6, 23], minute=[0, 30, 59], second=[1, 0, 59])),
        np.array(["2018-11-02T00:00:01", "2018-11-02T06:30", "2018-11-02T23:59:59"], "M8[s]"),
    )
    short = dict(zip(("yyyy", "mm", "dd", "hh", "mn"), ([2018] * 3, [11] * 3, [2] * 3, HOURS, [0] * 3), strict=True))
    np.testing.assert_array_equal(times(table(**short)), EXPECTED)
    buoys = {"#YY": [2018] * 3, "MM": [11] * 3, "DD": [2] * 3, "hh": [0, 6, 12], "mm": [0, 50, 0]}
    assert times(table(**buoys))[1] == np.datetime64("2018-11-02T06:50")
    np.testing.assert_array_equal(times(table(year=[2018] * 3, doy=[306] * 3, hour=HOURS)), EXPECTED)
    np.testing.assert_array_equal(times(table(Jahr=[2018] * 3, month=[11] * 3, day=[2] * 3, Std=HOURS),
                                        rename={"Jahr": "year", "Std": "hour"}), EXPECTED)  # fmt: skip


def test_a_day_beside_a_year_is_no_direction():
    wind = {"time": ["2018-11-02T06"] * 2, "dd": [90.0, 180.0], "ff": [1.0, 2.0]}
    assert "10m_wind_from_direction" in read_observations(table(**wind)) or "wind_from_direction" in read_observations(
        table(**wind)
    )


@pytest.mark.parametrize("kind", [int, float, str])
@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        (2018110212, "2018-11-02T12:00"),
        (2018110224, "2018-11-03T00:00"),
        (201811021210, "2018-11-02T12:10"),
        (20181102121005, "2018-11-02T12:10:05"),
    ],
)
def test_dates_in_digits(kind, digits, expected):
    assert times(table(time=[kind(digits)] * 2))[0] == np.datetime64(expected)
    lat = ("obs", [50.0, 51.0])
    ds = xr.Dataset({"t2m": ("obs", [280.0, 281.0])}, {"lat": lat, "lon": lat, "time": ("obs", [digits] * 2)})
    assert read_observations(ds)["time"].values[0] == np.datetime64(expected)


@given(st.datetimes(datetime.datetime(1850, 1, 1), datetime.datetime(2099, 12, 31)))
def test_digits_give_back_what_was_written(time):
    time = time.replace(microsecond=0)
    assert to_times(np.array([int(time.strftime("%Y%m%d%H%M%S"))]))[0] == np.datetime64(time)
    assert to_times([time.strftime("%Y-%m-%d %H:%M:%S")])[0] == np.datetime64(time)


@pytest.mark.parametrize(
    ("number", "units"),
    [
        (1541160000, "seconds since 1970-01-01"),
        (1541160000000, "milliseconds since 1970-01-01"),
        (1541160000000000000, "nanoseconds since 1970-01-01"),
        (17837.5, "days since 1970-01-01"),
        (428100, "hours since 1970-01-01"),
    ],
)
def test_numbers_need_units_and_the_advice_fits_them(number, units):
    frame = table(time=[number, number])
    with pytest.raises(ObservationError, match="holds numbers") as refusal:
        times(frame)
    assert f"units={{'time': {units!r}}} (2018-11-02T12:00" in str(refusal.value)
    assert times(frame, units={"time": units})[0] == np.datetime64("2018-11-02T12:00")


def test_advice_for_dates_of_which_one_is_wrong():
    with pytest.raises(ObservationError, match=r"dates in digits.*2018113112 is no date"):
        times(table(time=[2018110212, 2018113112, 2018110213]))


def test_digits_that_32_bits_do_not_hold_are_refused():
    with pytest.raises(ObservationError, match="32-bit"):
        times(table(time=pd.Series([2018110212, 2018110213], dtype="float32")))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2018-11-02T24:00", "2018-11-02 24:00:00Z"], ["2018-11-03", "2018-11-03"]),
        (["02.11.2018 06:00", "13.11.2018 12:00"], ["2018-11-02T06", "2018-11-13T12"]),
        (["11/02/2018 6:00 PM", "11/13/2018 12:00 AM"], ["2018-11-02T18", "2018-11-13T00"]),
        (["31.12.99 06:00", "01.12.99 06:00"], ["1999-12-31T06", "1999-12-01T06"]),
        (["02-Nov-2018 06:00", "3 November 2018 07:00"], ["2018-11-02T06", "2018-11-03T07"]),
        (["2018-11-02_06:00:00", "2018-11-02 6:00"], ["2018-11-02T06", "2018-11-02T06"]),
        (["2018-11-02 06:00 UTC", "2018-11-02T06:00+01:00"], ["2018-11-02T06", "2018-11-02T05"]),
        (["05.05.2018 06:00", "06.06.2018 06:00"], ["2018-05-05T06", "2018-06-06T06"]),
    ],
)
def test_texts(texts, expected):
    np.testing.assert_array_equal(times(table(time=texts)), np.array(expected, "M8[s]"))


@pytest.mark.parametrize("text", ["02.11.2018 06:00", "11/02/2018", "18-11-02 06:00", "02/11/18"])
def test_dates_whose_order_is_not_clear_are_refused(text):
    with pytest.raises(ObservationError, match="order is not clear"):
        times(table(time=[text, text]))


def test_a_month_is_no_time():
    flags = read_observations(table(time=["2018-11", "2018-11-02T06"]))[f"{T}_flag"]
    assert flags.values.tolist() == [Flag.MISSING_TIME, Flag.GOOD]


def test_an_hour_that_is_missing_is_no_midnight():
    for hour in ([6, -9999, np.nan], ["06", "", "-999"], ["06:00", None, "NA"]):
        obs = read_observations(table(date=["2018-11-02"] * 3, hour=hour))
        assert obs[f"{T}_flag"].values.tolist() == [Flag.GOOD, Flag.MISSING_TIME, Flag.MISSING_TIME]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"hour": ["early", "late"]}, "'hour'.*cannot be understood"),
        ({"obs_time": ["I", "II"]}, "'obs_time'.*cannot be understood"),
        ({"hour": [25, 61]}, "'hour'.*cannot be understood"),
        ({"local_time": ["06:00", "12:00"]}, "'local_time' holds local"),
        ({"LST_TIME": [600, 1200]}, "'LST_TIME' holds local"),
        ({"hour": [6, 12], "obs_time": ["07:00", "12:00"]}, "'hour' and 'obs_time'.*differ"),
    ],
)
def test_hours_that_are_not_understood_are_refused(more, said):
    with pytest.raises(ObservationError, match=said):
        times(table(date=["2018-11-02"] * 2, **more))


def test_local_times_beside_those_in_utc_are_left():
    frame = table(UTC_DATE=[20181102] * 2, UTC_TIME=[600, 1200], LST_DATE=[20181101] * 2, LST_TIME=[2200, 400])
    np.testing.assert_array_equal(times(frame), DAY + np.array([6, 12], "timedelta64[h]"))


def test_words_with_hours_in_them_are_no_hours():
    frame = table(date=["2018-11-02"] * 2, sunshine_hours=[6, 7]).drop(columns="t2m").assign(tmax=280.0)
    np.testing.assert_array_equal(times(frame), [DAY, DAY])


def test_dates_without_hours_are_said():
    frame = table(date=["2018-11-02", "2018-11-03"])
    with pytest.warns(AssumptionWarning, match="Dates come without hours: 2m_temperature"):
        assert read_observations(frame)["time"].values[0] == DAY
    with pytest.raises(ObservationError, match="without hours"):
        read_observations(frame, units={"t2m": "K"}, strict=True)
    times(frame.drop(columns="t2m").assign(tmax=280.0))  # of a day, the date is enough


def test_a_time_zone_that_is_not_utc_is_said():
    frame = table(time=["2018-11-02T06:00"] * 2)
    with pytest.warns(AssumptionWarning, match="'timezone' names a time zone .Europe/Berlin."):
        read_observations(frame.assign(timezone="Europe/Berlin"))
    times(frame.assign(timezone="UTC"))


def test_parts_of_a_dataset():
    places = {"lat": ("obs", [50.0, 51.0, 52.0]), "lon": ("obs", [8.0] * 3)}
    ds = xr.Dataset({"t2m": ("obs", [280.0] * 3, {"units": "K"}), "hour": ("obs", HOURS)}, places)
    date = ds.assign(date=("obs", [20181102] * 3))
    np.testing.assert_array_equal(read_observations(date)["time"], EXPECTED)
    years = ds.assign(year=("obs", [2018] * 3), month=("obs", [11] * 3), day=("obs", [2] * 3))
    np.testing.assert_array_equal(read_observations(years)["time"], EXPECTED)
    with pytest.raises(ObservationError, match="'hour'.*cannot be understood"):
        read_observations(date.assign(hour=("obs", ["x", "y", "z"])))
    with pytest.warns(AssumptionWarning, match="without hours"):
        read_observations(date.drop_vars("hour"))
    series = xr.Dataset(
        {"t2m": (("date", "hour"), np.full((2, 3), 280.0), {"units": "K"})},
        {"date": [20181102, 20181103], "hour": [0, 6, 12], "lat": 50.0, "lon": 8.0},
    )
    expected = DAY + np.array([0, 6, 12, 24, 30, 36], "timedelta64[h]")
    np.testing.assert_array_equal(read_observations(series)["time"], expected)


def test_codes_for_missing_times():
    flags = read_observations(table(time=[2018110212, -9999, 9999999999]))[f"{T}_flag"]
    assert flags.values.tolist() == [Flag.GOOD, Flag.MISSING_TIME, Flag.MISSING_TIME]


def test_times_of_day_without_a_date():
    with pytest.raises(ObservationError, match="no column holds dates"):
        times(table(time=["06:00", "12:00"]))
