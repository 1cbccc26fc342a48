"""GHCNh, ISD and ISD-Lite: lines as the archives write them, and their own quality control."""

import gzip

import numpy as np
import pandas as pd
import pytest

from xappa.errors import ObservationError
from xappa.observations import Flag, flag_counts, read_observations

T, TD, P = "2m_temperature", "2m_dewpoint_temperature", "mean_sea_level_pressure"
SPEED, DIRECTION, RAIN = "10m_wind_speed", "10m_wind_from_direction", "total_precipitation"
HOUR = np.timedelta64(3600, "s")


def used(obs, name):
    """Values that the archive does not reject, NaN in place of others."""
    return obs[name].where(obs[f"{name}_flag"] != Flag.REJECTED_BY_SOURCE)


GHCNH = """\
Station_ID|Station_name|Year|Month|Day|Hour|Minute|Latitude|Longitude|Elevation|temperature|temperature_Measurement_Code\
|temperature_Quality_Code|dew_point_temperature|dew_point_temperature_Quality_Code|station_level_pressure\
|station_level_pressure_Quality_Code|sea_level_pressure|sea_level_pressure_Quality_Code|wind_direction\
|wind_direction_Measurement_Code|wind_direction_Quality_Code|wind_speed|wind_speed_Quality_Code|precipitation\
|precipitation_Quality_Code|precipitation_6_hour|precipitation_6_hour_Quality_Code|relative_humidity
NOM00001001|JAN MAYEN|2020|1|2|6|0|70.9333|-8.6667|9.0|-3.4||1|-6.1|1|1001.2||1002.4||350||1|12.3|1|0.2||3.0||81
NOM00001001|JAN MAYEN|2020|1|2|7|0|70.9333|-8.6667|9.0|45.0||3|-6.0|L|1001.3||1002.5||||V|||||||
NOM00001001|JAN MAYEN|2020|1|2|8|0|70.9333|-8.6667|9.0|-3.0|||||||||100|V|1|3.0|1|||||
"""


def test_ghcnh(tmp_path):
    (tmp_path / "GHCNh_NOM00001001_por.psv").write_text(GHCNH)
    obs = read_observations(tmp_path / "GHCNh_NOM00001001_por.psv")
    instant = obs.isel(obs=np.isnat(obs["period"].values))
    np.testing.assert_allclose(instant[T], [269.75, 318.15, 270.15])  # what is rejected keeps its value
    np.testing.assert_allclose(used(instant, T), [269.75, np.nan, 270.15])
    np.testing.assert_allclose(used(instant, TD), [267.05, np.nan, np.nan])
    np.testing.assert_allclose(instant["surface_pressure"], [100120.0, 100130.0, np.nan])
    np.testing.assert_allclose(instant[P], [100240.0, 100250.0, np.nan])
    np.testing.assert_allclose(instant[SPEED], [12.3, np.nan, 3.0])
    np.testing.assert_allclose(instant[DIRECTION], [350.0, np.nan, np.nan])  # the last one is variable
    np.testing.assert_allclose(instant["2m_relative_humidity"], [0.81, np.nan, np.nan])
    assert instant["time"].values[0] == np.datetime64("2020-01-02T06:00")
    assert set(obs["station"].values) == {"NOM00001001"}
    np.testing.assert_allclose(obs["altitude"], 9.0)
    rain = obs[RAIN].dropna("obs")
    assert dict(zip(rain["period"].values / HOUR, rain.values.round(7), strict=True)) == {1.0: 0.0002, 6.0: 0.003}
    assert obs.attrs["reports_refused"] == 2


def test_ghcnh_by_year_as_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {
            "STATION": ["NOM00001001"] * 2,
            "DATE": ["2020-01-02T06:00:00", "2020-01-02T07:00:00"],
            "LATITUDE": 70.9,
            "LONGITUDE": -8.7,
            "ELEVATION": 9.0,
            "temperature": [-3.4, 5.0],
            "temperature_Quality_Code": ["1", "o"],
            "precipitation_24_hour": [12.0, None],
        }
    )
    frame.to_parquet(tmp_path / "GHCNh.parquet")
    obs = read_observations(tmp_path / "GHCNh.parquet")
    np.testing.assert_allclose(used(obs, T).dropna("obs"), [269.75])
    np.testing.assert_allclose(obs[RAIN].dropna("obs"), [0.012])
    assert obs.attrs["reports_refused"] == 1


def isd(*more: str, temperature: str = "-01281", wind: str = "3201N00721", pressure: str = "102681") -> str:
    """A line of ISD; what is known of 1950-01-01 03 UTC at 51.317 N, 28.783 E is in the books."""
    control = "0057" + "332130" + "99999" + "19500101" + "0300" + "4" + "+51317" + "+028783" + "FM-12" + "+0171"
    mandatory = "99999" + "V020" + wind + "004501CN" + "0100001N9" + temperature + "-01391" + pressure
    return control + mandatory + "".join(more)


def test_the_positions_of_isd():
    line = isd()
    assert (line[60:63], line[65:69], line[87:92], line[93:98], line[99:104]) == (
        "320",
        "0072",
        "-0128",
        "-0139",
        "10268",
    )
    assert len(line) == 105


def test_isd_in_full(tmp_path):
    lines = [
        isd("ADD", "AA106003091", "KA1120M-00501", "MA1102501100801", "REMSYN1234"),
        isd(temperature="-01283", wind="9999V00303", pressure="999999"),
        isd("ADDAA199999999"),
    ]
    path = tmp_path / "332130-99999-1950.gz"
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")
    obs = read_observations(path)
    instant = obs.isel(obs=np.isnat(obs["period"].values))
    np.testing.assert_allclose(instant[T], 260.35)
    np.testing.assert_allclose(used(instant, T), [260.35, np.nan, 260.35])
    np.testing.assert_allclose(instant[TD], 259.25)
    np.testing.assert_allclose(instant[P], [102680.0, np.nan, 102680.0])
    np.testing.assert_allclose(used(instant, SPEED), [7.2, np.nan, 7.2])
    np.testing.assert_allclose(instant[DIRECTION], [320.0, np.nan, 320.0])
    np.testing.assert_allclose(instant["surface_pressure"].values[0], 100800.0)
    np.testing.assert_allclose(instant["altimeter_setting"].values[0], 102500.0)
    assert (obs["time"] == np.datetime64("1950-01-01T03:00")).all()
    np.testing.assert_allclose(obs["latitude"], 51.317)
    np.testing.assert_allclose(obs["longitude"], 28.783)
    np.testing.assert_allclose(obs["altitude"], 171.0)
    assert set(obs["station"].values) == {"332130-99999"}
    rain, high = obs[RAIN].dropna("obs"), obs["maximum_2m_temperature"].dropna("obs")
    assert (rain.values.round(6).tolist(), (rain["period"].values / HOUR).tolist()) == ([0.003], [6.0])
    assert (high.values.round(6).tolist(), (high["period"].values / HOUR).tolist()) == ([268.15], [12.0])
    assert obs.attrs["reports_refused"] == 2


def test_isd_as_csv(tmp_path):
    table = pd.DataFrame(
        {
            "STATION": ["01001099999", "01001099999"],
            "DATE": ["2020-01-02T06:00:00", "2020-01-02T07:00:00"],
            "LATITUDE": 70.93,
            "LONGITUDE": -8.67,
            "ELEVATION": 9.0,
            "WND": ["350,1,N,0123,1", "999,9,9,9999,9"],
            "TMP": ["-0034,1", "+9999,9"],
            "DEW": ["-0061,1", "-0050,2"],
            "SLP": ["10024,1", "99999,9"],
            "AA1": ["06,0030,9,1", None],
        }
    )
    table.to_csv(tmp_path / "01001099999.csv", index=False)
    obs = read_observations(tmp_path / "01001099999.csv")
    np.testing.assert_allclose(obs[T].dropna("obs"), [269.75])
    np.testing.assert_allclose(used(obs, TD).dropna("obs"), [267.05])
    np.testing.assert_allclose(obs[P].dropna("obs"), [100240.0])
    np.testing.assert_allclose(obs[RAIN].dropna("obs"), [0.003])
    assert set(obs["station"].values) == {"01001099999"}


LITE = """\
2020 01 02 06   -34   -61 10024   350   123     8     2    30
2020 01 02 07 -9999 -9999 -9999 -9999 -9999 -9999    -1 -9999
"""


def test_isd_lite(tmp_path):
    path = tmp_path / "010010-99999-2020"
    path.write_text(LITE)
    history = pd.DataFrame(
        {"USAF": ["010010"], "WBAN": ["99999"], "LAT": ["+70.933"], "LON": ["-008.667"], "ELEV(M)": ["+0009.0"]}
    )
    history.to_csv(tmp_path / "isd-history.csv", index=False)
    obs = read_observations(path, stations=tmp_path / "isd-history.csv")
    np.testing.assert_allclose(obs[T].dropna("obs"), [269.75])
    np.testing.assert_allclose(obs[P].dropna("obs"), [100240.0])
    np.testing.assert_allclose(obs[SPEED].dropna("obs"), [12.3])
    rain = obs[RAIN].dropna("obs")
    assert sorted(zip(rain["period"].values / HOUR, rain.values.round(6), strict=True)) == [
        (1.0, 0.0),
        (1.0, 0.0002),
        (6.0, 0.003),
    ]
    assert (obs["latitude"] == 70.933).all() and (obs["altitude"] == 9.0).all()
    for stations in (None, history.assign(USAF="999999")):
        with pytest.raises(ObservationError, match=r"do not say where.*isd-history.csv"):
            read_observations(path, stations=stations)


def test_any_table_may_name_its_stations_only():
    stations = pd.DataFrame({"icao": ["ENJA"], "wmo": [1001], "lat": [70.9], "lon": [-8.7], "elev": [9.0]})
    frame = pd.DataFrame({"time": "2020-01-02", "station": ["ENJA", "01001", "XXXX"], "t2m": [270.0, 271.0, 272.0]})
    obs = read_observations(frame, stations=stations)
    np.testing.assert_array_equal(obs["latitude"], [70.9, 70.9, np.nan])
    assert obs[f"{T}_flag"].values.tolist()[2] == 1
    with pytest.raises(ObservationError, match="latitude and longitude not found"):
        read_observations(frame)


def test_tables_of_stations_that_are_none(tmp_path):
    frame = pd.DataFrame({"time": "2020-01-02", "station": ["ENJA"], "t2m": 270.0})
    with pytest.raises(ObservationError, match=r"gives no station and no longitude \(found lat"):
        read_observations(frame, stations=pd.DataFrame({"lat": [1.0]}))
    with pytest.raises(ObservationError, match="No table of stations"):
        read_observations(frame, stations=tmp_path / "nothing.tbl")


def test_an_archive_of_which_nothing_is_accepted():
    frame = pd.read_csv(pd.io.common.StringIO(GHCNH), sep="|").iloc[:1].assign(temperature_Quality_Code="3")
    keep = ["Station_ID", "Year", "Month", "Day", "Hour", "Minute", "Latitude", "Longitude", "Elevation"]
    obs = read_observations(frame[[*keep, "temperature", "temperature_Quality_Code"]])
    assert flag_counts(obs).loc[T, "rejected_by_source"] == 1
    with pytest.raises(ObservationError, match="all are missing"):
        read_observations(frame.assign(temperature=np.nan)[[*keep, "temperature", "temperature_Quality_Code"]])


def test_what_is_derived_from_a_rejected_value_is_rejected():
    frame = pd.read_csv(pd.io.common.StringIO(GHCNH), sep="|").iloc[:1]
    obs = read_observations(frame.assign(wind_speed_Quality_Code="V", temperature_Quality_Code="3"))
    instant = obs.isel(obs=np.isnat(obs["period"].values))
    for name in (T, SPEED, "10m_u_component_of_wind", "10m_v_component_of_wind"):
        assert np.isfinite(instant[name].values[0])
        assert instant[f"{name}_flag"].values[0] == Flag.REJECTED_BY_SOURCE
