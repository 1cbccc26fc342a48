"""What values in BUFR are: heights and depths, periods and statistics, times, levels."""

import importlib.util
import json

import numpy as np
import pytest

from tests.bufr_messages import DEPTH, HEIGHT, MISSING, STATION, WATER, message, station, write
from xappa.errors import ObservationError
from xappa.observations import Flag, read_observations

pytestmark = pytest.mark.skipif(importlib.util.find_spec("eccodes") is None, reason="ecCodes is not installed")

T, SST, SPEED = "2m_temperature", "sea_surface_temperature", "10m_wind_speed"
HOUR = np.timedelta64(3600, "s")


@pytest.fixture
def read(tmp_path):
    return lambda *messages: read_observations(write(tmp_path / "reports.bufr", *messages))


def good(obs, name):
    """Values of a quantity that nothing is wrong with."""
    return obs[name].values[(obs[f"{name}_flag"] == Flag.GOOD) & obs[name].notnull()].tolist()


def rejected(obs, name):
    """Values with their flags, of those that something is wrong with."""
    rows = obs[name].notnull() & (obs[f"{name}_flag"] != Flag.GOOD)
    values = np.round(obs[name].values[rows], 6).tolist()
    return dict(zip(values, map(Flag, obs[f"{name}_flag"].values[rows]), strict=True))


def times(obs, rows=slice(None)):
    """Times in hours, as text."""
    return obs["time"].values[rows].astype("datetime64[h]").astype(str).tolist()


def hours(obs, rows=slice(None)):
    """Lengths of periods, h."""
    return (obs["period"].values[rows] / HOUR).tolist()


def temperatures(*pairs, **values):
    """A report with temperatures (K) of sensors at heights (m)."""
    for i, (height, temperature) in enumerate(pairs, 1):
        values |= {f"#{i}#{HEIGHT}": height, f"#{i}#airTemperature": temperature}
    return message([*STATION, *[7032, 12101] * len(pairs)], station(**values))


@pytest.mark.parametrize(
    ("pairs", "right"),
    [
        ([(2.0, 286.15), (0.05, 293.05)], [286.15]),
        ([(0.05, 293.05), (2.0, 286.15)], [286.15]),
        ([(0.05, 293.05), (0.5, 290.0)], []),
        ([(1.25, 286.15)], [286.15]),
        ([(1.5, 286.0), (2.0, 286.15), (10.0, 285.0), (80.0, 284.0)], [286.15]),
        ([(30.0, 285.0)], []),
    ],
)
def test_the_temperature_at_2_m_is_that_of_a_sensor_there(read, pairs, right):
    obs = read(temperatures(*pairs))
    np.testing.assert_allclose(good(obs, T), right)
    wrong = {temperature: height for height, temperature in pairs if temperature not in right}
    assert rejected(obs, T) == dict.fromkeys(wrong, Flag.WRONG_HEIGHT)
    for temperature, height in wrong.items():
        assert obs["height"].values[obs[T] == temperature].tolist() == [height]


def test_a_sensor_without_a_height_is_where_its_quantity_is(read):
    obs = read(message([*STATION, 7032, 12101, 11001, 11002], station(airTemperature=280.0, windSpeed=5.0)))
    assert (good(obs, T), good(obs, SPEED)) == ([280.0], [5.0])
    assert "height" not in obs.coords


def test_names_that_tell_their_height_need_no_sensor(read):
    descriptors = [*STATION, 7032, 12004, 11011, 11012]
    values = station(**{HEIGHT: 25.0, "airTemperatureAt2M": 280.0, "windDirectionAt10M": 270, "windSpeedAt10M": 5.0})
    obs = read(message(descriptors, values))
    assert good(obs, T) == [280.0]
    np.testing.assert_allclose(good(obs, "10m_u_component_of_wind"), [5.0])


@pytest.mark.parametrize(("height", "right"), [(4.0, False), (10.0, True), (11.5, True), (25.0, False)])
def test_a_wind_at_sea_is_that_of_10_m_if_measured_there(read, height, right):
    descriptors = [1087, 301011, 301012, 301021, 7033, 11001, 11002, 7033, 12101]
    values = station() | {"windDirection": 270, "windSpeed": 5.0, f"#1#{WATER}": height, "airTemperature": 280.0}
    del values["blockNumber"], values["stationNumber"], values["heightOfStationGroundAboveMeanSeaLevel"]
    obs = read(message(descriptors, values | {"marineObservingPlatformIdentifier": 5101234}, category=1))
    names = (SPEED, "10m_u_component_of_wind", "10m_v_component_of_wind")
    components = [good(obs, name) for name in names[1:]]
    assert [len(part) for part in components] == ([1, 1] if right else [0, 0])
    if not right:
        assert all(set(rejected(obs, name).values()) == {Flag.WRONG_HEIGHT} for name in names)
        assert obs["height"].dropna("obs").values.tolist() == [height]
    assert good(obs, T) == [280.0]
    assert set(obs["station"].values) == {"5101234"}


def test_a_sensor_is_as_high_as_it_is_above_the_water_not_above_the_deck(read):
    descriptors = [*STATION, 7032, 7033, 12101]
    obs = read(message(descriptors, station(**{HEIGHT: 2.0, WATER: 21.0, "airTemperature": 280.0}), category=1))
    assert rejected(obs, T) == {280.0: Flag.WRONG_HEIGHT}
    assert obs["height"].values.tolist() == [21.0]


def buoy(surface, profile):
    """Sequence 315008: a temperature (K) at 1 m depth, and others below."""
    values = {"marineObservingPlatformIdentifier": 5101234, "#1#year": 2018, "#1#month": 11, "#1#day": 2}
    values |= {"#1#hour": 12, "#1#minute": 0, "latitude": 0.0, "longitude": -140.0, f"#1#{WATER}": 3.0}
    values |= {"airTemperature": 299.15}
    if surface is not None:
        values |= {f"#1#{DEPTH}": 1.0, "seaSurfaceTemperature": surface}
    for i, (depth, temperature) in enumerate(profile, 1):
        values |= {f"#{i + 1}#{DEPTH}": depth, f"#{i}#oceanographicWaterTemperature": temperature}
    return message([315008], values, category=1, ShortD=[0, 0, 0, 0, 1, 0, 0], D=[len(profile), 1, 1, 1])


@pytest.mark.parametrize(
    ("surface", "profile", "right"),
    [
        (300.15, [(20.0, 299.5), (100.0, 295.0), (300.0, 284.0)], [300.15]),
        (None, [(1.5, 300.0), (3.0, 299.9), (20.0, 299.5)], [300.0]),
        (None, [(20.0, 299.5), (0.5, 300.2)], [300.2]),
        (None, [(20.0, 299.5), (100.0, 295.0)], []),
    ],
)
def test_the_temperature_of_the_sea_surface_is_the_shallowest(read, surface, profile, right):
    obs = read(buoy(surface, profile))
    np.testing.assert_allclose(good(obs, SST), right)
    wrong = {round(t, 2): -depth for depth, t in profile if t not in right}
    assert rejected(obs, SST) == dict.fromkeys(wrong, Flag.WRONG_HEIGHT)
    heights = obs["height"].values[obs[f"{SST}_flag"] == Flag.WRONG_HEIGHT]
    np.testing.assert_allclose(sorted(heights), sorted(wrong.values()))
    assert rejected(obs, T) == {299.15: Flag.WRONG_HEIGHT}  # the air at 3 m


CLIMAT = {"#1#month": 10, "#1#day": 1, "#1#hour": 0, "#1#timePeriod": 0, "#2#timePeriod": 31}


@pytest.mark.parametrize("statistic", [4, MISSING])
def test_a_climat_report_is_over_its_month(read, statistic):
    values = station(**CLIMAT, airTemperature=284.15, nonCoordinatePressure=100900.0)
    values = {key if key != "airTemperature" else "#1#airTemperature": value for key, value in values.items()}
    values["#1#nonCoordinatePressure"] = values.pop("nonCoordinatePressure")
    obs = read(message([307073], values | {"#1#firstOrderStatistics": statistic}, sub=20))
    for name, value in ((T, 284.15), ("surface_pressure", 100900.0)):
        rows = np.isclose(obs[name].values, value)
        assert hours(obs, rows) == [31 * 24]
        assert times(obs, rows) == ["2018-11-01T00"]


def test_a_climat_report_without_a_period_is_no_instant(read):
    values = station(**(CLIMAT | {"#2#timePeriod": MISSING}), **{"#1#airTemperature": 284.15})
    obs = read(message([307073], values | {"#1#firstOrderStatistics": 4}, sub=20))
    assert rejected(obs, T) == {284.15: Flag.PERIOD_UNKNOWN}


def test_soundings_of_a_month_are_over_it(read):
    values = station(**{"#1#month": 10, "#1#day": 1, "#1#hour": 0, "#1#timePeriod": 31, "#1#firstOrderStatistics": 4})
    values |= {"#1#pressure": 85000.0, "nonCoordinateGeopotentialHeight": 1480, "#1#airTemperature": 277.0}
    obs = read(message([309054], values, category=2, sub=25, D=[1]))
    assert (obs["period"] == 31 * 24 * HOUR).all()
    assert obs["level"].values.tolist() == [850.0]
    np.testing.assert_allclose(obs["temperature"], [277.0])


def statistic(code, period, descriptors=(4024,), **values):
    values = {"timePeriod": period, "firstOrderStatistics": code, "airTemperature": 280.0} | values
    return message([*STATION, *descriptors, 8023, 12101], station(**values))


def test_a_daily_mean_is_over_its_day(read):
    obs = read(statistic(4, -24))
    assert good(obs, T) == [280.0]
    assert hours(obs) == [24]
    assert times(obs) == ["2018-11-02T12"]


@pytest.mark.parametrize(("code", "kind"), [(2, "maximum"), (3, "minimum")])
def test_an_extreme_by_first_order_statistics_is_one(read, code, kind):
    obs = read(statistic(code, -12))
    assert good(obs, f"{kind}_2m_temperature") == [280.0]
    assert hours(obs) == [12]
    assert T not in obs


@pytest.mark.parametrize(("key", "code"), [("firstOrderStatistics", 10), ("firstOrderStatistics", 5)])
def test_other_statistics_are_left_out_and_counted(read, key, code):
    obs = read(temperatures((2.0, 281.0)), statistic(code, -24, **{"stationNumber": 434}))
    assert good(obs, T) == [281.0]
    assert json.loads(obs.attrs["values_left_out"]) == {f"{T}: statistic": 1}
    assert json.loads(obs.attrs["subsets_without_report"]) == {"left_out": 1}


def test_a_mean_of_minutes_is_an_instant(read):
    obs = read(statistic(4, -10, (4025,)))
    assert good(obs, T) == [280.0]
    assert "period" not in obs.coords


@pytest.mark.parametrize(("minutes", "length"), [(-10, None), (MISSING, None), (-60, [1.0])])
def test_a_wind_is_the_usual_mean_unless_its_period_is_long(read, minutes, length):
    values = {"timeSignificance": 2, "timePeriod": minutes, "windDirection": 270, "windSpeed": 5.0}
    obs = read(message([*STATION, 8021, 4025, 11001, 11002], station(**values)))
    assert obs[SPEED].values.tolist() == [5.0]
    assert (hours(obs) if "period" in obs.coords else None) == length
    np.testing.assert_allclose(good(obs, "10m_u_component_of_wind"), [5.0])


@pytest.mark.parametrize("code", [4, 8, 16, 27])
def test_forecasts_and_analyses_are_no_observations(read, code):
    forecast = message([*STATION, 8021, 12101], station(434, timeSignificance=code, airTemperature=290.0))
    obs = read(temperatures((2.0, 281.0)), forecast)
    assert good(obs, T) == [281.0] and obs.sizes["obs"] == 1
    assert json.loads(obs.attrs["values_left_out"]) == {f"{T}: no_observation": 1}
    with pytest.raises(ObservationError, match="Left out:.*no_observation"):
        read(forecast)


def test_normals_are_no_observations(read):
    values = {"#1#year": 1981, "#2#year": 2010, "#1#month": 10, "#1#day": 1, "#1#hour": 0, "#2#timePeriod": 1}
    values |= {"latitude": 52.4, "longitude": 13.4, "#1#firstOrderStatistics": 4, "airTemperature": 283.0}
    normals = message([301004, 301021, 307072], values | {"blockNumber": 10, "stationNumber": 1}, sub=20)
    obs = read(temperatures((2.0, 281.0)), normals)
    assert obs[T].values.tolist() == [281.0]
    assert json.loads(obs.attrs["values_left_out"]) == {f"{T}: climatological_normal": 1}


def test_differences_from_a_background_are_no_observations(read):
    difference = message([*STATION, 8024, 12101], station(434, differenceStatistics=32, airTemperature=2.0))
    obs = read(temperatures((2.0, 281.0)), difference)
    assert obs[T].values.tolist() == [281.0]
    assert json.loads(obs.attrs["values_left_out"]) == {f"{T}: difference": 1}


def test_periods_of_two_displacements_begin_and_end_with_them(read):
    extremes = {f"#{i}#timePeriod": hours for i, hours in enumerate((-30, -6, -12, 0), 1)}
    extremes |= {"maximumTemperatureAtHeightAndOverPeriodSpecified": 290.0, HEIGHT: 2.0}
    extremes |= {"minimumTemperatureAtHeightAndOverPeriodSpecified": 275.0}
    obs = read(message([*STATION, 7032, 4024, 4024, 12111, 4024, 4024, 12112], station(**extremes)))
    for name, length, end in (("maximum_2m_temperature", 24, "06"), ("minimum_2m_temperature", 12, "12")):
        rows = obs[name].notnull().values
        assert (hours(obs, rows), times(obs, rows)) == ([length], [f"2018-11-02T{end}"])


def test_a_minimum_at_the_grass_is_none_at_2_m(read):
    values = {f"#1#{HEIGHT}": 2.0, f"#2#{HEIGHT}": 0.05, "timePeriod": -12}
    values |= {f"#{i}#minimumTemperatureAtHeightAndOverPeriodSpecified": t for i, t in ((1, 275.0), (2, 271.0))}
    obs = read(message([*STATION, 4024, 7032, 12112, 7032, 12112], station(**values)))
    assert good(obs, "minimum_2m_temperature") == [275.0]
    assert rejected(obs, "minimum_2m_temperature") == {271.0: Flag.WRONG_HEIGHT}


def test_amounts_have_periods_in_hours_or_minutes_or_are_flagged(read):
    values = {f"#{i}#timePeriod": period for i, period in enumerate((-6, -60, MISSING), 1)}
    values |= {f"#{i}#totalPrecipitationOrTotalWaterEquivalent": float(i) for i in (1, 2, 3)}
    obs = read(message([*STATION, 4024, 13011, 4025, 13011, 4024, 13011], station(**values)))
    rain = obs["total_precipitation"]
    found = dict(zip(np.round(rain.values * 1000).tolist(), obs["period"].values, strict=True))
    assert (found[1.0], found[2.0]) == (6 * HOUR, 1 * HOUR) and np.isnat(found[3.0])
    assert list(rejected(obs, "total_precipitation").values()) == [Flag.PERIOD_UNKNOWN]


def test_a_period_that_was_for_something_else_leaves_instants_alone(read):
    values = {"timePeriod": -6, "totalPrecipitationOrTotalWaterEquivalent": 1.0, "airTemperature": 280.0}
    obs = read(message([*STATION, 4024, 13011, 12101], station(**values)))
    assert np.isnat(obs["period"].values[obs[T].notnull()]).all()


def sounding(**values):
    for i, (pressure, seconds) in enumerate([(97800.0, 0), (85000.0, 300), (50000.0, 1500)], 1):
        values |= {f"#{i}#pressure": pressure, f"#{i}#airTemperature": 280.0 - i, f"#{i}#timePeriod": seconds}
        values |= {f"#{i}#latitudeDisplacement": 0.01 * i, f"#{i}#longitudeDisplacement": 0.02 * i}
        values |= {f"#{i}#nonCoordinateGeopotentialHeight": 100 * i}
    launch = {"#1#hour": 11, "#1#minute": 17, "second": 20} | values
    return message([309052], station(**launch), category=2, ExtendedD=[3], D=[0])


@pytest.mark.parametrize(
    ("missing", "first"), [((), "11:17:20"), (("second",), "11:17"), (("second", "#1#minute"), "11:00")]
)
def test_a_missing_second_or_minute_is_zero(read, missing, first):
    obs = read(sounding(**dict.fromkeys(missing, MISSING)))
    start = np.datetime64(f"2018-11-02T{first}")
    assert (obs["time"].values - start).astype("timedelta64[s]").astype(int).tolist() == [0, 300, 1500]


@pytest.mark.parametrize("missing", ["#1#hour", "#1#day", "#1#month", "#1#year"])
def test_a_missing_hour_or_date_is_a_missing_time(read, missing):
    obs = read(temperatures((2.0, 280.0), **{missing: MISSING}), temperatures((2.0, 281.0), stationNumber=434))
    assert rejected(obs, T) == {280.0: Flag.MISSING_TIME}
    assert good(obs, T) == [281.0]


def test_a_date_that_does_not_exist_is_a_missing_time(read):
    obs = read(temperatures((2.0, 280.0), **{"#1#month": 2, "#1#day": 30}))
    assert rejected(obs, T) == {280.0: Flag.MISSING_TIME}


def test_a_template_without_time_has_that_of_its_message(read):
    values = {"blockNumber": 10, "stationNumber": 1, "latitude": 50.0, "longitude": 8.0, "airTemperature": 280.0}
    obs = read(message([301001, 301021, 12101], values))
    assert times(obs) == ["2018-11-02T12"]


def test_a_level_of_a_balloon_is_where_and_when_the_balloon_was(read):
    obs = read(sounding())
    np.testing.assert_allclose(obs["level"], [978.0, 850.0, 500.0])
    np.testing.assert_allclose(obs["latitude"], [52.41, 52.42, 52.43])
    np.testing.assert_allclose(obs["longitude"], [13.42, 13.44, 13.46])
    # The height stands before the displacements of its level, the temperature after them.
    np.testing.assert_allclose(obs["geopotential_height"], [100.0, 200.0, 300.0])
    np.testing.assert_allclose(obs["temperature"], [279.0, 278.0, 277.0])


def flight(**values):
    descriptors = [1006, 301011, 301012, 301021, 7010, 12101, 11001, 11002]
    values = station(aircraftFlightNumber="EU0246", airTemperature=220.0, windDirection=270, windSpeed=40.0, **values)
    for key in ("blockNumber", "stationNumber", "heightOfStationGroundAboveMeanSeaLevel"):
        del values[key]
    return message(descriptors, values, category=4)


def test_an_aircraft_without_a_flight_level_has_no_place(read):
    obs = read(flight(flightLevel=10000), flight(**{"#1#hour": 13}))
    np.testing.assert_allclose(obs["level"], [264.4, np.nan], atol=0.1)
    assert rejected(obs, "temperature") == {220.0: Flag.MISSING_PLACE}
    assert len(good(obs, "temperature")) == 1


def test_winds_by_height_have_no_level(read):
    values = station(**{"#1#hour": 11, "#1#geopotentialHeight": 1500, "windDirection": 270, "windSpeed": 9.0})
    pilot = message([309051], values, category=2, ExtendedD=[1], D=[0])
    obs = read(pilot, sounding(stationNumber=434))
    for name in ("wind_speed", "wind_from_direction", "u_component_of_wind", "v_component_of_wind"):
        assert set(rejected(obs, name).values()) == {Flag.MISSING_PLACE}


def test_knots_are_no_metres_per_second(read):
    values = station(airTemperature=280.0, windSpeed=40)
    obs = read(message([*STATION, 12101, 11084], values))
    assert SPEED not in obs


def test_a_trace_of_precipitation_is_none(read):
    values = {"totalPrecipitationPast1Hour": -0.1, "#1#timePeriod": -6}
    values["totalPrecipitationOrTotalWaterEquivalent"] = -0.1
    obs = read(message([*STATION, 13019, 4024, 13011], station(**values)))
    assert good(obs, "total_precipitation") == [0.0, 0.0]


@pytest.mark.parametrize("descriptors", [[11002, 11083], [11083, 11002], [11084, 11002]])
def test_a_speed_in_other_units_is_not_taken_for_the_other_one(read, descriptors):
    speeds = {f"#{i}#windSpeed": 5.0 if code == 11002 else 18.0 for i, code in enumerate(descriptors, 1)}
    obs = read(message([*STATION, 11001, *descriptors], station(windDirection=270, **speeds)))
    np.testing.assert_allclose(good(obs, "10m_u_component_of_wind"), [5.0])
    assert obs[SPEED].dropna("obs").values.tolist() == [5.0]


@pytest.mark.parametrize(
    ("code", "key", "heights"), [(7006, "heightAboveStation", [2.0, 50.0]), (7007, "height", [50.0, 98.0])]
)
def test_heights_of_other_descriptors_are_those_of_sensors(read, code, key, heights):
    values = {f"#{i}#{key}": height for i, height in enumerate(heights, 1)}
    values |= {"#1#airTemperature": 280.0, "#2#airTemperature": 281.0}
    obs = read(message([*STATION, 102002, code, 12101], station(**values)))
    assert (good(obs, T), rejected(obs, T)) == ([280.0], {281.0: Flag.WRONG_HEIGHT})
    assert obs["height"].dropna("obs").values.tolist() == [50.0]


def test_aerodrome_reports_have_a_name_and_an_altimeter_setting(read):
    values = {"icaoLocationIndicator": "EDDF", "#1#year": 2018, "#1#month": 11, "#1#day": 2, "#1#hour": 12}
    values |= {"#1#minute": 0, "latitude": 50.0, "longitude": 8.6, "heightOfStation": 100.0}
    values |= {"#1#heightAboveStation": 10.0, "windDirection": 270, "windSpeed": 5.0, "#2#heightAboveStation": 2.0}
    values |= {"airTemperature": 285.0, "altimeterSettingQnh": 101300.0}
    obs = read(message([1063, 301011, 301012, 301024, 7006, 11001, 11002, 7006, 12001, 10052], values))
    assert obs["station"].values.tolist() == ["EDDF"]
    assert (good(obs, T), obs["altimeter_setting"].values.tolist()) == ([285.0], [101300.0])
    np.testing.assert_allclose(good(obs, "10m_u_component_of_wind"), [5.0])


def test_instants_that_one_sensor_reports_with_several_displacements_have_no_time(read):
    values = {f"#{i}#timePeriod": hours for i, hours in enumerate((-2, -1, 0), 1)}
    values |= {f"#{i}#airTemperature": 279.0 + i for i in (1, 2, 3)}
    obs = read(message([*STATION, 102003, 4024, 12101], station(**values)))
    assert good(obs, T) == [282.0]
    assert rejected(obs, T) == {280.0: Flag.PERIOD_UNKNOWN, 281.0: Flag.PERIOD_UNKNOWN}


@pytest.mark.parametrize(
    ("code", "key", "flag"),
    [(5012, "latitudeIncrement", Flag.MISSING_PLACE), (6012, "longitudeIncrement", Flag.MISSING_PLACE),
     (4015, "timeIncrement", Flag.MISSING_TIME), (4065, "timeIncrement", Flag.MISSING_TIME)],
)  # fmt: skip
def test_what_lies_in_steps_from_the_station_is_not_at_it(read, code, key, flag):
    obs = read(
        message(
            [*STATION, 12101, code, 12101], station(**{"#1#airTemperature": 280.0, "#2#airTemperature": 281.0, key: 1})
        )
    )
    assert (good(obs, T), rejected(obs, T)) == ([280.0], {281.0: flag})


@pytest.mark.parametrize("sequence", [307071, 307073])
def test_a_climat_report_is_known_by_its_sequence(read, sequence):
    values = station() | {"#1#month": 10, "#1#day": 1, "#1#hour": 0, "#1#timePeriod": 0, "#2#timePeriod": 31}
    obs = read(message([sequence], values | {"#1#airTemperature": 284.0}, sub=255))
    assert (good(obs, T), times(obs), hours(obs)) == ([284.0], ["2018-11-01T00"], [744.0])
