"""Names of columns: units in them or in a row below, CF standard names, and ``z``, which may be a height."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xappa.errors import ObservationError, UnitsError
from xappa.observations import read_observations
from xappa.observations.readers.tables.headers import split_bracketed_units, split_suffix_units
from xappa.observations.standard_names import ALIASES

T, P, SPEED = "2m_temperature", "mean_sea_level_pressure", "wind_speed"


def frame(**columns) -> pd.DataFrame:
    return pd.DataFrame({"time": ["2018-11-02T12:00"], "lat": [50.0], "lon": [8.0]} | columns)


def value(obs, name: str) -> float:
    assert obs.attrs.get("units_assumed", "") == ""
    return float(obs[name][0])


@pytest.mark.parametrize(
    ("heading", "given", "quantity", "converted"),
    [
        ("t2m (°C)", 7.5, T, 280.65),
        ("t2m (degree_C)", 7.5, T, 280.65),
        ("t2m [degC]", 7.5, T, 280.65),
        ("t2m {K}", 280.5, T, 280.5),
        ("T2M, °F", 32.0, T, 273.15),
        ("t2m(0.1 degC)", 75, T, 280.65),
        ("t2m_degC", 7.5, T, 280.65),
        ("t2m_celsius", 7.5, T, 280.65),
        ("t2m_f", 32.0, T, 273.15),
        ("wspd [kt]", 36.0, SPEED, 18.52),
        ("Wind Speed (km/h)", 36.0, SPEED, 10.0),
        ("wind_speed_kt", 36.0, SPEED, 18.52),
        ("Wind-Speed (m/s)", 3.0, SPEED, 3.0),
        ("Sea Level Pressure (hPa)", 1013.0, P, 101300.0),
        ("msl_hPa", 1013.0, P, 101300.0),
        ("altim_in_hg", 30.0, "altimeter_setting", 101591.65921),
        ("Relative Humidity (%)", 50, "2m_relative_humidity", 0.5),
        ("air_temperature (degree_C)", 7.5, T, 280.65),
        ("air_pressure_at_sea_level_hpa", 1013.0, P, 101300.0),
    ],
)
def test_units_in_names_of_columns(heading, given, quantity, converted):
    for source in (frame(**{heading: [given]}), xr.Dataset.from_dataframe(frame(**{heading: [given]}))):
        assert value(read_observations(source, derive=False), quantity) == pytest.approx(converted, rel=1e-9)


def test_coordinates_with_units_in_their_names():
    table = pd.DataFrame(
        {
            "time (UTC)": ["2018-11-02T12:00:00Z"],
            "latitude (degrees_north)": [42.3],
            "longitude (degrees_east)": [-70.7],
            "Station ID": ["44013"],
            "Elevation (ft)": [1000.0],
            "level (Pa)": [50000.0],
            "t (degC)": [-20.0],
        }
    )
    obs = read_observations(table)
    places = [float(obs[name][0]) for name in ("latitude", "longitude", "altitude", "level", "temperature")]
    np.testing.assert_allclose(places, [42.3, -70.7, 304.8, 500.0, 253.15])
    assert obs["station"].values.tolist() == ["44013"]


@pytest.mark.parametrize("zone", ["CET", "local", "America/New_York", "LST", "UTC+1"])
def test_times_of_other_zones_are_refused(zone):
    table = frame(t2m=280.0).rename(columns={"time": f"time ({zone})"})
    with pytest.raises(ObservationError, match="Expected UTC: convert them"):
        read_observations(table)
    said = read_observations(table, rename={f"time ({zone})": "time"})
    assert said["time"].values[0] == np.datetime64("2018-11-02T12:00")


@pytest.mark.parametrize("heading", ["t2m (mean)", "wspd (80 m)", "t2m_raw", "u_k", "q_c", "tp_m2"])
def test_what_is_no_unit_of_the_quantity_makes_no_name(heading):
    obs = read_observations(frame(msl=[101300.0], **{heading: [1.0]}), units={"msl": "Pa"})
    assert json.loads(obs.attrs["unknown_variables"]) == {heading: 1}


def test_units_of_something_else_in_brackets_are_an_error():
    with pytest.raises(UnitsError, match="2m_temperature: units 'hPa' cannot be converted"):
        read_observations(frame(**{"t2m (hPa)": [1013.0]}))


@pytest.mark.parametrize("key", ["Temp", "Temp (°C)"])
def test_rename_and_units_take_a_name_with_or_without_its_units(key):
    table = frame(**{"Temp (°C)": [7.5]})
    assert value(read_observations(table, rename={key: T}), T) == pytest.approx(280.65)
    assert value(read_observations(table, rename={key: T}, units={key: "degF"}), T) == pytest.approx(259.5388889)


def test_the_caller_counts_for_more_than_the_name():
    assert value(read_observations(frame(**{"t2m (°C)": [280.0]}), units={"t2m": "K"}), T) == 280.0


def test_errors_have_units_of_their_own():
    obs = read_observations(frame(**{"msl (hPa)": [1013.0], "msl_error (Pa)": [50.0]}))
    assert float(obs[f"{P}_error"][0]) == 50.0
    obs = read_observations(frame(**{"msl (hPa)": [1013.0], "msl_error": [0.5]}))
    assert float(obs[f"{P}_error"][0]) == 50.0


@given(st.sampled_from(["t2m", "Wind Speed", "a b", "x"]), st.sampled_from(["K", "°C", "m s-1", "", "0.1 hPa"]))
def test_brackets_are_split_from_names(name, units):
    for left, right in ("()", "[]", "{}"):
        assert split_bracketed_units(f"{name} {left}{units}{right}") == (name, units)
    assert split_bracketed_units(name) == (name, None)


def test_suffixes_of_one_letter_need_a_name():
    assert split_suffix_units("t2m_c") == ("t2m", "c")
    assert split_suffix_units("t_c") == ("t_c", None)


ROW = """time,latitude,longitude,station,t2m,wspd,note
{}
2018-11-02T12:00:00Z,42.346,-70.651,04401,12.1,5.0,1
2018-11-02T13:00:00Z,42.346,-70.651,04401,12.4,6.0,2
"""


@pytest.mark.parametrize(
    "row",
    [
        "UTC,degrees_north,degrees_east,,degree_C,m s-1,",
        "(UTC),(deg),(deg),(-),(°C),(m/s),(-)",
        "[UTC],[deg],[deg],[],[degC],[m/s],[count]",
        "-,-,-,-,celsius,m.s-1,1",
        ",,,,C,,",
    ],
)
@pytest.mark.parametrize("source", ["file", "table", "blanks"])
def test_a_row_of_units(tmp_path, row, source):
    text = ROW.format(row)
    (tmp_path / "a.csv").write_text(text.replace(",", " \t") if source == "blanks" else text)
    path = tmp_path / "a.csv"
    obs = read_observations(pd.read_csv(path, dtype={"station": str}) if source == "table" else path, unknown="keep")
    np.testing.assert_allclose(obs[T], [285.25, 285.55])
    np.testing.assert_array_equal(obs[SPEED], [5.0, 6.0])
    assert obs["station"].values.tolist() == ["04401", "04401"]
    np.testing.assert_array_equal(obs["note"], [1.0, 2.0])
    assert "unreadable_values" not in obs.attrs


def test_a_row_of_units_in_comments(tmp_path):
    path = tmp_path / "buoy.txt"
    path.write_text(
        "#time lat lon WDIR WSPD t2m\n#iso deg deg degT m/s degC\n2018-11-02T12:00 42.3 -70.6 210 5.0 12.1\n"
    )
    obs = read_observations(path, derive=False)
    assert value(obs, T) == pytest.approx(285.25)
    assert value(obs, SPEED) == 5.0


def test_units_that_are_wrong_in_a_row_are_an_error(tmp_path):
    (tmp_path / "a.csv").write_text(ROW.format("UTC,deg,deg,,furlong,m/s,"))
    with pytest.raises(UnitsError, match="2m_temperature: units 'furlong'"):
        read_observations(tmp_path / "a.csv")


def test_a_first_report_of_text_is_no_row_of_units():
    table = pd.concat([frame(t2m=["M"]), frame(t2m=["280"])], ignore_index=True)
    obs = read_observations(table, units={"t2m": "K"})
    assert obs.sizes["obs"] == 2
    assert json.loads(obs.attrs["unreadable_values"]) == {T: 1}


NEAR = {
    "air_temperature": (280.0, T),
    "dew_point_temperature": (275.0, "2m_dewpoint_temperature"),
    "eastward_wind": (3.0, "10m_u_component_of_wind"),
    "northward_wind": (3.0, "10m_v_component_of_wind"),
    "air_pressure_at_mean_sea_level": (101300.0, P),
    "air_pressure_at_sea_level": (101300.0, P),
    "surface_air_pressure": (99000.0, "surface_pressure"),
    "atmosphere_water_vapor_content": (20.0, "total_column_water_vapour"),
    "specific_humidity": (0.005, "specific_humidity"),
}


@pytest.mark.parametrize("name", NEAR)
def test_standard_names_mean_the_same_in_tables_as_in_datasets(name):
    given, quantity = NEAR[name]
    table = frame(**{name: [given]})
    if name == "specific_humidity":
        table = table.assign(level=500.0)
    ds = xr.Dataset.from_dataframe(table.rename(columns={name: "x"}))
    ds["x"].attrs = {"standard_name": name}
    for source in (table, ds, xr.Dataset.from_dataframe(table)):
        obs = read_observations(source, derive=False)
        assert float(obs[quantity][0]) == given


def test_standard_names_on_levels_are_of_the_upper_air():
    obs = read_observations(frame(air_temperature=250.0, eastward_wind=10.0, level=500.0))
    assert {"temperature", "u_component_of_wind"} <= set(obs.data_vars)
    tidy = frame(variable="air_temperature", observation=250.0, level=500.0)
    assert "temperature" in read_observations(tidy)
    assert T in read_observations(tidy.drop(columns="level").assign(observation=280.0))


def test_stations_by_standard_names():
    obs = read_observations(frame(t2m=280.0, platform_id="a"))
    assert obs["station"].values.tolist() == ["a"]
    ds = xr.Dataset.from_dataframe(frame(t2m=280.0, x="a"))
    ds["x"].attrs = {"standard_name": "station_description"}
    assert read_observations(ds)["station"].values.tolist() == ["a"]
    assert read_observations(frame(t2m=280.0, platform_name="b", station="a"))["station"].values.tolist() == ["a"]


def test_aliases_stand_for_names_that_are_no_aliases():
    assert not set(ALIASES) & set(ALIASES.values())


@pytest.mark.parametrize("units", [None, "m"])
def test_z_without_levels_is_no_geopotential(units):
    told = {} if units is None else {"z": units}
    table = frame(t2m=280.0, z=3.0)
    obs = read_observations(table, units=told)
    assert "unknown_variables" not in obs.attrs and obs["height"].values.tolist() == [3.0]
    assert float(obs[T][0]) == 280.0 and "geopotential" not in obs
    ds = xr.Dataset.from_dataframe(table)
    ds["z"].attrs = {} if units is None else {"units": units}
    for source in (ds, ds.set_coords("z")):
        assert "geopotential" not in read_observations(source)
    assert float(read_observations(table, rename={"z": "altitude"})["altitude"][0]) == 3.0


def test_z_in_units_of_geopotential_is_one():
    on_level = read_observations(frame(z=54000.0, level=500.0), units={"z": "m2 s-2"})
    assert float(on_level["geopotential"][0]) == 54000.0
    assert float(read_observations(frame(**{"z (m)": [5500.0]}, level=500.0))["geopotential"][0]) == 5500.0 * 9.80665
    with pytest.raises(ObservationError, match="geopotential: on pressure levels, but the reports have no level"):
        read_observations(frame(z=54000.0, t2m=280.0), units={"z": "m2 s-2"})
    with pytest.raises(ObservationError, match="geopotential: on pressure levels"):
        read_observations(frame(variable="z", value=54000.0, units="m2 s-2"))


def test_heights_without_units_in_the_place_of_geopotentials_are_refused():
    assert "geopotential" in read_observations(frame(z=54000.0, level=500.0))
    with pytest.raises(UnitsError, match=r"values of 5500 .* are heights in m.*units=\{'z': 'm'\}"):
        read_observations(frame(z=5500.0, level=500.0))
    # Near the ground both are possible.
    assert "geopotential" in read_observations(frame(z=200.0, level=1000.0))
