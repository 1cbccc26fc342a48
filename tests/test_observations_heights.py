"""Height and depth decide what a value is: soundings, flights, masts, buoys, ships and the water below them."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xappa.errors import RejectionWarning
from xappa.observations import Flag, read_observations
from xappa.observations.heights import falls_with, is_elsewhere, leaves_ground, spans_levels

pytestmark = pytest.mark.filterwarnings(
    "ignore::xappa.errors.AssumptionWarning", "ignore::xappa.errors.RejectionWarning"
)

T, UPPER, SST, U10 = "2m_temperature", "temperature", "sea_surface_temperature", "10m_u_component_of_wind"
KELVIN = {"standard_name": "air_temperature", "units": "K"}
WATER = {"standard_name": "sea_water_temperature", "units": "K"}
SPEED = {"standard_name": "wind_speed", "units": "m s-1"}
DIRECTION = {"standard_name": "wind_from_direction", "units": "degree"}
ALTITUDE = {"standard_name": "altitude", "units": "m", "positive": "up"}
DEPTH = {"standard_name": "depth", "units": "m", "positive": "down"}
PRESSURE = {"standard_name": "air_pressure", "units": "hPa"}
HOURS = pd.date_range("2018-11-02T11:00", periods=3, freq="h")


def flags(obs: xr.Dataset, name: str) -> list[int]:
    obs = obs.compute()
    return obs[f"{name}_flag"].values[obs[name].notnull().values].tolist()


def values(obs: xr.Dataset, name: str, flag: int = 0) -> list[float]:
    obs = obs.compute()
    return obs[name].values[(obs[name].notnull() & (obs[f"{name}_flag"] == flag)).values].tolist()


def platform(feature: str = "", freq: str = "10min", dim: str = "obs", **variables) -> xr.Dataset:
    """A platform whose reports follow each other, with latitude and longitude as plain variables."""
    size = len(next(iter(variables.values()))[0])
    time = pd.date_range("2018-11-02T11:00", periods=size, freq=freq)
    ds = xr.Dataset(
        {name: (dim, *value) for name, value in variables.items()}
        | {
            "lat": (dim, 52.2 + 0.01 * np.arange(size), {"standard_name": "latitude", "units": "degree_north"}),
            "lon": (dim, np.full(size, 14.1), {"standard_name": "longitude", "units": "degree_east"}),
        },
        {"time": (dim, time)},
    )
    return ds.assign_attrs({"featureType": feature} if feature else {})


BALLOON = {
    "temp": ([285.0, 278.0, 255.0, 222.0, 216.0], KELVIN),
    "wspeed": ([5.0, 10.0, 20.0, 40.0, 15.0], SPEED),
    "wdir": ([270.0] * 5, DIRECTION),
}
ASCENT = ([113.0, 1500.0, 5600.0, 10000.0, 16000.0], ALTITUDE)
PRESSURES = ([1000.0, 850.0, 500.0, 260.0, 100.0], PRESSURE)


@pytest.mark.parametrize("feature", ["trajectory", "profile", ""])
@pytest.mark.parametrize("falling", [False, True])
def test_a_sounding_is_on_the_pressures_that_it_has_as_a_plain_variable(feature, falling, tmp_path):
    pytest.importorskip("netCDF4")
    ds = platform(feature, **BALLOON, press=PRESSURES, alt=ASCENT)
    if falling:  # as a dropsonde does
        ds = ds.assign({name: ("obs", ds[name].values[::-1], ds[name].attrs) for name in ("temp", "press", "alt")})
    ds.to_netcdf(tmp_path / "sonde.nc")
    obs = read_observations(tmp_path / "sonde.nc").compute()
    assert T not in obs and U10 not in obs
    np.testing.assert_array_equal(obs["level"], ds["press"])
    np.testing.assert_array_equal(obs["altitude"], ds["alt"])
    assert values(obs, UPPER) == ds["temp"].values.tolist()
    np.testing.assert_allclose(values(obs, "u_component_of_wind"), ds["wspeed"])


def test_a_sounding_without_altitudes_is_on_its_pressures():
    for ds in (platform("trajectory", **BALLOON, press=PRESSURES), platform("", **BALLOON, press=PRESSURES)):
        np.testing.assert_array_equal(read_observations(ds)["level"], PRESSURES[0])
    level_flight = platform("trajectory", temp=([220.0] * 3, KELVIN), p=([250.0] * 3, PRESSURE))
    assert values(read_observations(level_flight), UPPER) == [220.0] * 3


@pytest.mark.parametrize("feature", ["trajectory", "profile", ""])
def test_an_ascent_without_pressures_is_kept_and_flagged(feature):
    obs = read_observations(platform(feature, **BALLOON, alt=ASCENT))
    assert T not in obs and "10m_wind_speed" not in obs
    assert np.isnan(obs["level"]).all()
    np.testing.assert_array_equal(obs["altitude"], ASCENT[0])
    for name in (UPPER, "wind_speed", "u_component_of_wind", "v_component_of_wind"):
        assert flags(obs, name) == [Flag.WRONG_HEIGHT] * 5
    np.testing.assert_array_equal(obs[UPPER], BALLOON["temp"][0])


def test_level_flights_are_too_high_for_stations():
    flight = platform("point", "h", x=([225.0] * 3, KELVIN), alt=([8000.0, 7900.0, 7000.0], ALTITUDE))
    assert flags(read_observations(flight), UPPER) == [Flag.WRONG_HEIGHT] * 3


def test_a_ship_has_heights_and_depths():
    ship = platform("trajectory", "h", x=([285.0] * 3, KELVIN), y=([286.0] * 3, WATER), d=([3.0, 1.0, 3.0], DEPTH))
    obs = read_observations(ship.assign(h=("obs", [2.0] * 3, {"standard_name": "height", "units": "m"})))
    assert flags(obs, T) == [0] * 3 and flags(obs, SST) == [Flag.WRONG_HEIGHT, 0, Flag.WRONG_HEIGHT]
    np.testing.assert_array_equal(obs["height"].values[obs[SST].notnull()], [-3.0, -1.0, -3.0])


def test_geopotential_heights_take_the_place_of_altitudes():
    heights = (ASCENT[0], {"standard_name": "geopotential_height", "units": "m"})
    obs = read_observations(platform("trajectory", **BALLOON, gph=heights))
    assert flags(obs, UPPER) == flags(obs, "geopotential_height") == [Flag.WRONG_HEIGHT] * 5
    obs = read_observations(platform("trajectory", **BALLOON, gph=heights, press=PRESSURES))
    assert flags(obs, UPPER) == [0] * 5 and values(obs, "geopotential_height", Flag.UNUSED) == ASCENT[0]


@pytest.mark.parametrize("lazy", [False, True])
def test_profiles_of_a_station_on_altitudes(lazy):
    wind = np.arange(6.0).reshape(3, 2)
    ds = xr.Dataset(
        {
            "u": (("time", "z"), wind, {"standard_name": "eastward_wind", "units": "m s-1"}),
            "p": (("time", "z"), np.array([[900.0, 850.0]] * 3), PRESSURE),
        },
        {"time": HOURS, "lat": 50.0, "lon": 8.0, "alt": ("z", [1000.0, 1500.0], ALTITUDE)},
        {"featureType": "timeSeriesProfile"},
    )
    obs = read_observations(ds.chunk() if lazy else ds)
    assert (obs["u_component_of_wind"].chunks is not None) == lazy
    np.testing.assert_array_equal(obs["level"], [900.0, 850.0] * 3)
    obs = read_observations((ds.chunk() if lazy else ds).drop_vars("p"))
    assert (obs["u_component_of_wind"].chunks is not None) == lazy
    assert flags(obs, "u_component_of_wind") == [Flag.WRONG_HEIGHT] * 6
    np.testing.assert_array_equal(obs["altitude"], [1000.0, 1500.0] * 3)


def test_a_mast_on_altitudes_is_at_heights_where_the_ground_is_known():
    ds = xr.Dataset(
        {"x": (("time", "alt"), 280.0 + np.arange(9.0).reshape(3, 3), KELVIN)},
        {"time": HOURS, "lat": 50.0, "lon": 8.0, "alt": ("alt", [202.0, 210.0, 280.0], ALTITUDE)},
    )
    assert flags(read_observations(ds), UPPER) == [Flag.WRONG_HEIGHT] * 9
    ds = ds.assign_coords(ground=((), 200.0, {"standard_name": "surface_altitude", "units": "m"}))
    obs = read_observations(ds)
    assert values(obs, T) == [280.0, 283.0, 286.0]
    assert set(obs["height"].values[obs[f"{T}_flag"].values != 0]) == {10.0, 80.0}


def stations(**attrs) -> xr.Dataset:
    """Two stations, one of them on a mountain, whose pressure is air_pressure."""
    return xr.Dataset(
        {
            "x": (("station", "time"), np.full((2, 3), 280.0), KELVIN),
            "p": (("station", "time"), [[1010.0, 1009.0, 1008.0], [700.0, 701.0, 702.0]], PRESSURE),
        },
        {
            "time": HOURS,
            "lat": ("station", [50.0, 50.1]),
            "lon": ("station", [8.0, 8.0]),
            "alt": ("station", [100.0, 3000.0], ALTITUDE),
        },
        attrs,
    )


def test_the_air_pressure_of_stations_is_that_at_the_ground():
    for ds in (stations(featureType="timeSeries"), stations(), stations().stack(obs=("station", "time"))):
        obs = read_observations(ds)
        assert "level" not in obs.coords and values(obs, T) == [280.0] * 6
        np.testing.assert_array_equal(obs["surface_pressure"], np.ravel(ds["p"]) * 100.0)
    reduced = stations().assign(p=stations()["p"].assign_attrs(long_name="Sea level pressure"))
    assert "surface_pressure" not in read_observations(reduced)
    both = stations().assign(ps=(("station", "time"), np.full((2, 3), 9e4), {"standard_name": "surface_air_pressure"}))
    obs = read_observations(both)
    np.testing.assert_array_equal(obs["surface_pressure"], 9e4)
    assert json.loads(obs.attrs["unknown_variables"]) == {"p": 6}


def test_stations_of_one_region_are_no_ascent():
    points = platform("point", x=([285.0, 270.0, 265.0], KELVIN), alt=([100.0, 2000.0, 3000.0], ALTITUDE))
    points["time"] = ("obs", [HOURS[0]] * 3)
    assert values(read_observations(points), T) == [285.0, 270.0, 265.0]
    ship = platform("trajectory", "h", x=([280.0] * 3, KELVIN), p=([1010.0, 1000.0, 985.0], PRESSURE))
    obs = read_observations(ship.assign(alt=("obs", [10.0, 12.0, 11.0], ALTITUDE)))
    assert values(obs, T) == [280.0] * 3 and "level" not in obs.coords
    assert "surface_pressure" not in obs  # a ship's barometer, at a height that is not told


def test_instruments_of_buoys_and_ships_are_where_their_height_says():
    buoy = xr.Dataset(
        {
            "ws": ("time", [5.0] * 3, SPEED),
            "at": ("time", [281.0] * 3, KELVIN),
            "sea": ("time", [283.0] * 3, {"standard_name": "sea_surface_temperature", "units": "K"}),
            "ap": ("time", [1010.0] * 3, PRESSURE),
        },
        {"time": HOURS, "lat": 50.0, "lon": -20.0},
    )
    for height in (
        {"z": ((), 4.0, {"standard_name": "height", "units": "m"})},
        {"z": ((), 4.0, {"units": "m", "positive": "up"})},
        {"sensor_height": ("time", [4.0] * 3, {"units": "m"})},
        {"depth": ((), -4.0, DEPTH)},
    ):
        obs = read_observations(buoy.assign(height))
        assert flags(obs, "10m_wind_speed") == flags(obs, T) == [Flag.WRONG_HEIGHT] * 3
        assert set(obs["height"].values[obs[T].notnull()]) == {4.0}
        assert flags(obs, SST) == flags(obs, "surface_pressure") == [0] * 3
    told = buoy.copy()
    told["ws"].attrs["sensor_height"], told["at"].attrs["sensor_height"] = "4.1 m", 1.9
    obs = read_observations(told)
    assert flags(obs, "10m_wind_speed") == [Flag.WRONG_HEIGHT] * 3 and flags(obs, T) == [0] * 3
    deck = platform("trajectory", "h", ws=([5.0] * 3, SPEED), wd=([90.0] * 3, DIRECTION))
    obs = read_observations(deck.assign(h=("obs", [25.0, 10.2, 25.0], {"standard_name": "height", "units": "m"})))
    assert flags(obs, U10) == [Flag.WRONG_HEIGHT, 0, Flag.WRONG_HEIGHT]
    np.testing.assert_array_equal(obs["height"], [25.0, 10.2, 25.0])


def test_what_is_at_its_height_makes_one_report():
    ds = xr.Dataset(
        {
            "ta": ("time", [285.0] * 3, KELVIN | {"sensor_height": 2.0}),
            "u": ("time", [5.0] * 3, {"standard_name": "eastward_wind", "units": "m s-1", "long_name": "wind at 10 m"}),
            "v": (("time", "h"), [[1.0]] * 3, {"standard_name": "northward_wind", "units": "m s-1"}),
            "ps": ("time", [9.9e4] * 3, {"standard_name": "surface_air_pressure", "units": "Pa"}),
        },
        {"time": HOURS, "lat": 50.0, "lon": 8.0, "alt": ((), 150.0, ALTITUDE)},
    ).assign_coords(h=("h", [10.0], {"standard_name": "height", "units": "m"}))
    obs = read_observations(ds)
    assert obs.sizes["obs"] == 3 and values(obs, "mean_sea_level_pressure")
    assert flags(obs, T) == flags(obs, U10) == flags(obs, "10m_v_component_of_wind") == [0] * 3
    high = ds.assign(ta=ds["ta"].drop_attrs().assign_attrs(KELVIN, long_name="temperature at 40 m"))
    assert flags(read_observations(high), T) == [Flag.WRONG_HEIGHT] * 3


def test_names_do_not_outweigh_what_is_measured():
    ds = platform("trajectory", temperature=([290.0, 289.0], WATER), depth=([0.5, 50.0], {"units": "m"}))
    assert flags(read_observations(ds), SST) == [0, Flag.WRONG_HEIGHT]
    soil = ({"standard_name": "soil_temperature", "units": "K"},)
    ds = platform(temperature=([290.0] * 3, *soil), t=([290.0] * 3, *soil), x=([280.0] * 3, KELVIN))
    obs = read_observations(ds.assign(z=("obs", [9.0] * 3, {"standard_name": "geopotential", "units": "m2 s-2"})))
    assert json.loads(obs.attrs["unknown_variables"]) == {"temperature": 3, "t": 3, "z": 3}
    assert values(obs, T) == [280.0] * 3


def test_the_height_of_a_station_is_not_that_of_its_instruments():
    ds = stations().assign(height=("station", [100.0, 3000.0], {"units": "m", "long_name": "Station elevation"}))
    obs = read_observations(ds)
    assert values(obs, T) == [280.0] * 6 and json.loads(obs.attrs["unknown_variables"]) == {"height": 2}
    with pytest.warns(RejectionWarning, match="rename={'<its name>': 'altitude'}"):
        assert flags(read_observations(ds.assign(height=ds["height"].drop_attrs())), T) == [Flag.WRONG_HEIGHT] * 6


def test_a_pressure_high_on_a_mast_is_not_that_of_the_station():
    ds = stations(featureType="timeSeries").assign_coords(h=((), 80.0, {"standard_name": "height", "units": "m"}))
    assert flags(read_observations(ds), "surface_pressure") == [Flag.WRONG_HEIGHT] * 6


def test_water_is_the_surface_only_near_it():
    glider = platform("trajectory", x=([290.0, 289.0, 280.0], WATER), d=([0.5, 5.0, 100.0], DEPTH))
    obs = read_observations(glider)
    assert flags(obs, SST) == [0, Flag.WRONG_HEIGHT, Flag.WRONG_HEIGHT]
    np.testing.assert_array_equal(obs["height"], [-0.5, -5.0, -100.0])
    nowhere = read_observations(glider.drop_vars("d").assign(t2m=("obs", [280.0] * 3, {"units": "K"})))
    assert SST not in nowhere and json.loads(nowhere.attrs["unknown_variables"]) == {"x": 3}
    for name in ("sst", "x"):
        surface = xr.Dataset({name: ("time", [283.0] * 3, {"standard_name": SST, "units": "K"})}, {"time": HOURS})
        surface = surface.assign_coords(lat=50.0, lon=-20.0, depth=((), 5.0, DEPTH))
        with pytest.warns(RejectionWarning, match=f"{name} at -5 m"):
            assert flags(read_observations(surface), SST) == [Flag.WRONG_HEIGHT] * 3
        assert flags(read_observations(surface.assign_coords(depth=((), 0.3, DEPTH))), SST) == [0] * 3


def argo() -> xr.Dataset:
    """Two profiles of floats: pressures of the sea, in decibars, and flags as characters."""
    floats = ("N_PROF", "N_LEVELS")
    table = {"conventions": "Argo reference table 2"}
    return xr.Dataset(
        {
            "TEMP": (floats, [[15.0, 14.9, 14.0], [16.0, 15.5, 15.0]], WATER | {"units": "degree_Celsius"}),
            "TEMP_QC": (floats, np.array([["1", "1", "1"], ["4", "1", "1"]], "S1"), table),
            "PRES": (
                floats,
                [[1.0, 5.0, 10.0], [0.5, 1.9, 10.0]],
                {"standard_name": "sea_water_pressure", "axis": "Z"},
            ),
            "LATITUDE": ("N_PROF", [40.0, 41.0], {"standard_name": "latitude", "units": "degree_north"}),
            "LONGITUDE": ("N_PROF", [-40.0, -41.0], {"standard_name": "longitude", "units": "degree_east"}),
            "POSITION_QC": ("N_PROF", np.array(["1", "1"], "S1"), table),
            "JULD": ("N_PROF", HOURS[:2], {"standard_name": "time"}),
        }
    ).assign_attrs(featureType="profile")


def test_the_pressure_of_the_sea_is_a_depth_and_no_level():
    ds = argo()
    ds["PRES"].attrs["units"] = "decibar"
    obs = read_observations(ds)
    assert "level" not in obs.coords
    wrong, failed = Flag.WRONG_HEIGHT, Flag.REJECTED_BY_SOURCE
    assert flags(obs, SST) == [0, wrong, wrong, failed, 0, wrong]
    np.testing.assert_allclose(obs["height"], -ds["PRES"].values.reshape(-1), rtol=0.01)
    ds["POSITION_QC"] = ("N_PROF", np.array(["4", "1"], "S1"), ds["POSITION_QC"].attrs)
    assert flags(read_observations(ds), SST)[0] == failed
    level = ds.rename(PRES="level").drop_vars("POSITION_QC")
    level["level"].attrs = {"units": "dbar"}
    air = level.assign(TEMP=level["TEMP"].assign_attrs(KELVIN)).drop_vars("TEMP_QC")
    with pytest.raises(ValueError, match=r"TEMP lies on level \(dbar\)"):
        read_observations(air)


def test_adjusted_values_come_before_raw_ones():
    ds = argo()
    ds["PRES"].attrs["units"] = "decibar"
    adjusted = ds["TEMP"] - 0.1
    adjusted[1] = np.nan  # not adjusted yet
    obs = read_observations(ds.assign(TEMP_ADJUSTED=adjusted.assign_attrs(ds["TEMP"].attrs)))
    np.testing.assert_allclose(sorted(values(obs, SST)), [288.05, 288.65])


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"time": [HOURS[0]] * 3, "lat": [50.0, 51.0, 52.0], "lon": 8.0} | columns)


def test_a_column_z_is_a_height_unless_there_are_levels():
    obs = read_observations(table(z=[3.0] * 3, t2m=[285.0] * 3))
    assert values(obs, T) == [285.0] * 3 and "geopotential" not in obs
    np.testing.assert_array_equal(obs["height"], 3.0)
    obs = read_observations(table(z=[5e4] * 3, t=[250.0] * 3, level=500.0))
    assert values(obs, "geopotential") == [5e4] * 3 and "height" not in obs.coords
    with pytest.raises(ValueError, match="geopotential: on pressure levels"):
        read_observations(table(z=[5e4] * 3, t2m=[285.0] * 3), units={"z": "m2 s-2"})


@pytest.mark.parametrize(
    ("columns", "name", "expected"),
    [
        ({"height": [10.0, 4.0, 80.0], "wind_speed": [5.0] * 3}, "10m_wind_speed", [0, 21, 21]),
        ({"sensor_height": [2.0, np.nan, 80.0], "temperature": [285.0] * 3}, T, [0, 0, 21]),
        ({"height": [2.0, 10.0, 80.0], "rh": [0.5] * 3}, "2m_relative_humidity", [0, 21, 21]),
        ({"depth": [0.5, 5.0, 1.0], "sst": [285.0] * 3}, SST, [0, 21, 0]),
        ({"height": [2.0, 10.0, 80.0], "t2m": [285.0] * 3}, T, [0, 0, 0]),
    ],
)
@pytest.mark.parametrize("tidy", [False, True])
def test_heights_in_tables(columns, name, expected, tidy):
    frame = table(**columns)
    if tidy:
        frame = frame.rename(columns={[*columns][1]: "observation"}).assign(variable=[*columns][1])
    assert flags(read_observations(frame), name) == expected


def test_flights_in_tables_are_not_near_the_ground():
    frame = table(
        lat=[50.0, 50.1, 50.2], alt=[100.0, 4000.0, 9500.0], temperature=[280.0, 250.0, 225.0], wind_speed=20.0
    )
    obs = read_observations(frame.assign(time=pd.date_range("2018-11-02", periods=3, freq="5min"), wind_direction=90.0))
    for name in (UPPER, "wind_speed", "u_component_of_wind"):
        assert flags(obs, name) == [Flag.WRONG_HEIGHT] * 3


@given(st.floats(-50, 200), st.sampled_from([T, U10, "wind_speed", SST]))
def test_a_height_is_right_or_not_and_an_unknown_one_may_be(height, name):
    assert not is_elsewhere(name, np.nan)
    assert is_elsewhere(name, height) == (
        not {T: 1.2 <= height <= 2.5, SST: height >= -2.0}.get(name, 8.0 <= height <= 12.0)
    )


@given(st.lists(st.floats(0, 4000), min_size=3, max_size=9))
def test_stations_at_fixed_places_never_leave_the_ground(altitudes):
    place = np.arange(len(altitudes), dtype=float)
    time = np.full(len(altitudes), np.datetime64("2024-01-01", "s"))
    altitude = np.array(altitudes)
    assert not leaves_ground(altitude, time, place, place, None, False)
    assert not leaves_ground(altitude, time, place, place, place.astype(str), False)
    spread = altitude.max() - altitude.min()
    assert leaves_ground(altitude, time, place, place, None, True) == (spread > 50.0)


def test_pressures_that_are_levels():
    assert spans_levels(np.array([1000.0, 700.0]), None) and spans_levels(np.array([250.0, 250.0]), None)
    assert not spans_levels(np.array([1040.0, 950.0]), None) and not spans_levels(np.array([np.nan]), None)
    assert not spans_levels(np.array([1010.0, 700.0]), np.array(["valley", "mountain"]))
    heights = np.array([0.0, 1000.0, 5000.0])
    assert falls_with(np.array([1000.0, 900.0, 540.0]), heights)
    assert not falls_with(np.array([1000.0, 1000.5, 999.9]), heights)
