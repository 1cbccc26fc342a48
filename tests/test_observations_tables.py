"""Tables: tidy, wide and CF give the same Dataset; names, units, times and what is missing."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import ObservationError, OptionError, UnitsError
from xappa.observations import Flag, is_one_form, read_observations

T, P = "2m_temperature", "mean_sea_level_pressure"


@pytest.fixture
def wide() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": pd.to_datetime(["2024-01-01T00", "2024-01-01T06", "2024-01-01T06"]),
            "lat": [50.8, -33.9, 71.0],
            "lon": [4.4, 151.2, -156.8],
            "elev": [104.0, 6.0, np.nan],
            "station": ["06451", "94767", "70026"],
            "t2m": [280.0, np.nan, 250.0],
            "msl": [101000.0, 102000.0, np.nan],
            "t2m_error": [1.0, np.nan, 2.0],
        }
    )


def to_tidy(wide: pd.DataFrame) -> pd.DataFrame:
    names = ["time", "lat", "lon", "elev", "station"]
    tidy = wide.melt(names, ["t2m", "msl"], "variable", "observation").dropna(subset=["observation"])
    error = wide.melt(names, ["t2m_error"], "variable", "error").assign(variable="t2m").dropna(subset=["error"])
    return tidy.merge(error, how="left")


def to_cf(wide: pd.DataFrame) -> xr.Dataset:
    def on(name, **attrs):
        return ("report", wide[name].to_numpy(dtype=object if name == "station" else None), attrs)

    return xr.Dataset(
        {
            "a": on("t2m", standard_name="air_temperature", units="K", ancillary_variables="a_sd"),
            "a_sd": on("t2m_error", standard_name="air_temperature standard_error", units="K"),
            "b": on("msl", standard_name="air_pressure_at_mean_sea_level", units="Pa"),
            "name": on("station", cf_role="timeseries_id"),
        },
        coords={
            "when": on("time", standard_name="time"),
            "y": on("lat", standard_name="latitude", units="degrees_north"),
            "x": on("lon", standard_name="longitude", units="degrees_east"),
            "h": on("elev", standard_name="surface_altitude", units="m"),
        },
    )


def plain(obs: xr.Dataset) -> xr.Dataset:
    """Without what tells the sources apart."""
    for name in obs.data_vars:
        obs[name].attrs.pop("units_read", None)
    return obs.sortby(["time", "latitude"]).drop_attrs(deep=False)


def test_tidy_wide_and_cf_are_the_same(wide):
    from_wide = plain(read_observations(wide))
    xr.testing.assert_identical(plain(read_observations(to_tidy(wide))), from_wide)
    xr.testing.assert_identical(plain(read_observations(to_cf(wide))), from_wide)


def test_the_one_form(wide):
    obs = read_observations(wide)
    assert is_one_form(obs)
    assert dict(obs.sizes) == {"obs": 3}
    assert set(obs.coords) == {"time", "latitude", "longitude", "altitude", "station"}
    assert set(obs.data_vars) == {T, P, f"{T}_error", f"{T}_flag", f"{P}_flag"}
    assert np.issubdtype(obs["time"].dtype, np.datetime64)
    assert obs["station"].values.tolist() == ["06451", "94767", "70026"]
    assert obs[T].attrs["units"] == obs[f"{T}_error"].attrs["units"] == "K"
    assert obs[T].attrs["ancillary_variables"] == f"{T}_error {T}_flag"
    assert obs["longitude"].attrs["standard_name"] == "longitude"
    assert obs.attrs["units_assumed"] == f"{T} {P}"
    assert obs.attrs["featureType"] == "point"


def test_what_is_in_the_one_form_passes_unchanged(wide):
    obs = read_observations(wide)
    xr.testing.assert_identical(read_observations(obs), obs)


def test_the_usual_spellings(wide):
    spelt = wide.rename(columns={"time": "DATE", "lat": "LATITUDE", "lon": "Longitude", "elev": "height_of_station"})
    xr.testing.assert_identical(read_observations(spelt), read_observations(wide))


def test_named_index_levels_are_columns(wide):
    xr.testing.assert_identical(read_observations(wide.set_index(["station", "time"])), read_observations(wide))


def test_an_index_named_like_a_column_counts_once(wide):
    index = pd.MultiIndex.from_arrays([wide["time"], ["a", "b", "c"]], names=["time", "icao"])
    for indexed in (wide.set_index(pd.Index(wide["time"], name="time")), wide.set_index(index)):
        xr.testing.assert_identical(plain(read_observations(indexed)), plain(read_observations(wide)))


@pytest.mark.parametrize("name", ["t2m", "lon", "time", "station", "t2m_error", "gust"])
def test_columns_of_one_name(wide, name):
    wide["gust"] = 10.0
    twice = pd.concat([wide, wide[[name]]], axis=1)
    for table, stations in ((twice, None), (twice.set_index("msl"), None), (twice.drop(columns="lat"), wide)):
        with pytest.raises(ObservationError, match=f"more than one column named '{name}'.*drop all but one"):
            read_observations(table, stations=stations)


def test_rename_and_units_of_the_caller(wide):
    frame = wide.assign(temp=wide["t2m"] - 273.15, msl=wide["msl"] / 100).drop(columns=["t2m", "t2m_error"])
    obs = read_observations(frame, rename={"temp": T}, units={"temp": "degC", "msl": "hPa"})
    np.testing.assert_allclose(obs[T], wide["t2m"])
    np.testing.assert_allclose(obs[P], wide["msl"])
    assert "units_assumed" not in obs.attrs


def test_errors_convert_as_deviations(wide):
    obs = read_observations(wide.assign(t2m=wide["t2m"] - 273.15), units={"t2m": "degC"})
    np.testing.assert_array_equal(obs[f"{T}_error"], [1.0, np.nan, 2.0])
    np.testing.assert_allclose(obs[T], wide["t2m"])


def test_units_by_the_row():
    frame = pd.DataFrame(
        {
            "time": "2024-01-01",
            "lat": [0.0, 1.0, 2.0, 3.0],
            "lon": 0.0,
            "variable": ["t2m", "2t", "t2m", "mslp"],
            "value": [20.0, 300.0, 50.0, 1000.0],
            "units": ["degC", None, "degF", "hPa"],
            "error": [1.0, 1.0, 1.8, 1.0],
        }
    )
    obs = read_observations(frame)
    np.testing.assert_allclose(obs[T], [293.15, 300.0, 283.15, np.nan])
    np.testing.assert_allclose(obs[f"{T}_error"], [1.0, 1.0, 1.0, np.nan])
    np.testing.assert_allclose(obs[f"{P}_error"][3], 100.0)
    assert obs.attrs["units_assumed"] == T


def test_tidy_rows_join_into_reports_and_duplicates_stay():
    frame = pd.DataFrame(
        {
            "time": "2024-01-01",
            "lat": [0.0, 0.0, 0.0, 1.0, 0.0],
            "lon": 0.0,
            "level": [np.nan] * 3 + [500.0] * 2,
            "variable": ["t2m", "msl", "t2m", "t", "t"],
            "observation": [280.0, 101000.0, 281.0, 250.0, 251.0],
        }
    )
    obs = read_observations(frame)
    np.testing.assert_array_equal(obs[T], [280.0, 281.0, np.nan, np.nan])
    np.testing.assert_array_equal(obs[P], [101000.0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(obs["temperature"], [np.nan, np.nan, 250.0, 251.0])
    assert obs[f"{T}_flag"].values.tolist() == [0, Flag.DUPLICATE, 0, 0]


def test_times_with_zone_become_utc():
    given = ["2024-01-01T06:00+02:00", "2024-01-01 06:00", "2024-01-01T06Z", "2024-01-02", "20240101T0600-0330"]
    frame = pd.DataFrame({"time": given, "lat": np.arange(5.0), "lon": 0.0, "t2m": 280.0}, index=[1, 0, 1, 2, 0])
    expected = np.array(["2024-01-01T04", "2024-01-01T06", "2024-01-01T06", "2024-01-02", "2024-01-01T09:30"], "M8[s]")
    np.testing.assert_array_equal(read_observations(frame)["time"], expected)
    zoned = frame.assign(time=pd.DatetimeIndex(expected, tz="UTC").tz_convert("Europe/Brussels"))
    np.testing.assert_array_equal(read_observations(zoned)["time"], expected)


@pytest.mark.parametrize(
    ("time", "said"),
    [([0.0, 6.0], "numbers"), (["01/02/24 6 pm", "tomorrow"], "order is not clear"), (["x", "y"], "read")],
)
def test_times_that_cannot_be_read_at_all(time, said):
    frame = pd.DataFrame({"time": time, "lat": [0.0, 1.0], "lon": 0.0, "t2m": 280.0})
    with pytest.raises(ObservationError, match=rf"'time'.*{said}"):
        read_observations(frame)


def test_dates_of_another_calendar():
    times = xr.date_range("2024-02-28", periods=3, calendar="360_day", use_cftime=True)
    frame = pd.DataFrame({"time": np.array(times), "lat": [0.0, 1.0, 2.0], "lon": 0.0, "t2m": 280.0})
    with pytest.raises(ObservationError, match=r"360_day.*convert_calendar"):
        read_observations(frame)


def test_unknown_variables_are_left_out_and_counted(wide):
    obs = read_observations(wide.assign(gust=[1.0, np.nan, 3.0], remark="fine"))
    assert json.loads(obs.attrs["unknown_variables"]) == {"gust": 2, "remark": 3}
    tidy = pd.concat([to_tidy(wide), to_tidy(wide).assign(variable="gust")])
    assert json.loads(read_observations(tidy).attrs["unknown_variables"]) == {"gust": 4}


def test_values_that_are_no_numbers_are_missing_and_counted(wide):
    obs = read_observations(wide.assign(t2m=["280", "M", None]))
    np.testing.assert_array_equal(obs[T], [280.0, np.nan, np.nan])
    assert json.loads(obs.attrs["unreadable_values"]) == {T: 1}


def test_no_known_variable_offers_the_nearest_names(wide):
    frame = wide.drop(columns=["msl", "t2m_error"]).rename(columns={"t2m": "2m_temprature"})
    with pytest.raises(ObservationError, match=r"'2m_temprature'; did you mean '2m_temperature'.*rename="):
        read_observations(frame)
    with pytest.raises(ObservationError, match=r"'2m_temprature'; did you mean '2m_temperature'"):
        read_observations(to_tidy(wide).assign(variable="2m_temprature"))


def test_missing_columns_are_named_all_at_once(wide):
    with pytest.raises(ObservationError) as error:
        read_observations(wide.rename(columns={"lat": "northing"}).drop(columns="time"))
    for part in ("time and latitude not found among", "northing", "latitude: latitude, lat", "rename={"):
        assert part in str(error.value)


def test_two_columns_for_one_quantity(wide):
    with pytest.raises(ObservationError, match=r"2m_temperature \(t2m, tas\).*rename="):
        read_observations(wide.assign(tas=280.0))


def test_two_columns_for_the_time(wide):
    other = wide.assign(date="2024-01-01T03:00")
    with pytest.raises(ObservationError, match=r"time \(time, date\)"):
        read_observations(other)
    dates = wide.assign(date="2024-01-01")  # the day alone adds nothing
    for obs in (read_observations(other, rename={"time": "time"}), read_observations(dates)):
        np.testing.assert_array_equal(obs["time"], wide["time"])


def test_upper_air_without_any_level(wide):
    with pytest.raises(ObservationError, match=r"temperature: on pressure levels.*rename=\{'temperature': '2m_temp"):
        read_observations(wide.rename(columns={"t2m": "temperature", "t2m_error": "temperature_error"}))


def test_rename_to_or_from_nothing(wide):
    with pytest.raises(OptionError, match=r"'2m_temprature' \(for 't2m'\); did you mean '2m_temperature'"):
        read_observations(wide, rename={"t2m": "2m_temprature"})
    with pytest.raises(ObservationError, match=r"'tmp2'.*did you mean 't2m'"):
        read_observations(wide, rename={"tmp2": T})


@pytest.mark.parametrize("form", [lambda wide: wide, to_tidy, to_cf])
def test_units_of_nothing(wide, form):
    source = form(wide)
    own = "a" if form is to_cf else "t2m"
    for name in (own, T, "latitude"):
        read_observations(source, units={name: "degree" if name == "latitude" else "K"})
    with pytest.raises(ObservationError, match=r"units names 't2n', 'wind_speed', but the source has "):
        read_observations(source, units={"t2n": "K", "wind_speed": "kt", own: "K"})


def test_all_names_of_nothing_are_told_at_once(wide):
    with pytest.raises(
        ObservationError,
        match=r"^rename names 'tmp2' and units names 'msk', but the source has .*did you mean 't2m'.*'msl'",
    ):
        read_observations(wide, rename={"tmp2": T}, units={"msk": "hPa", "t2m": "K"})


def test_units_of_what_a_name_is_renamed_to(wide):
    table = wide.rename(columns={"t2m": "temp"}).assign(temp=[7.0, np.nan, -20.0])
    for target, key in ((T, T), ("t2m", "t2m"), ("t2m", T), ("t2m", "temp")):
        obs = read_observations(table, rename={"temp": target}, units={key: "degC"})
        np.testing.assert_allclose(obs[T], [280.15, np.nan, 253.15])


def test_units_of_another_quantity_are_refused(wide):
    with pytest.raises(
        UnitsError, match=r"2m_temperature: units 'hPa' cannot be converted to 'K'; expected K.*rename="
    ):
        read_observations(wide, units={"t2m": "hPa"})


@pytest.mark.parametrize("source", [pd.DataFrame({"time": [], "lat": [], "lon": [], "t2m": []}), [], {}])
def test_empty_sources(source):
    with pytest.raises(ObservationError, match="no rows|is empty"):
        read_observations(source)


def test_another_type_of_source():
    with pytest.raises(ObservationError, match="type int are not read; expected a path"):
        read_observations(3)  # type: ignore[arg-type]
