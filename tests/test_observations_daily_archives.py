"""Archives of daily and hourly values with units of their own: GHCN-Daily, GSOD, Meteostat, IEM ASOS."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from xappa.errors import AssumptionWarning, ObservationError
from xappa.observations import Flag, read_observations
from xappa.observations.readers.archives import TABLES, find_table_reader
from xappa.observations.readers.archives.days import compute_day_ends

T, TD, P = "2m_temperature", "2m_dewpoint_temperature", "mean_sea_level_pressure"
HIGH, LOW, RAIN, SPEED = "maximum_2m_temperature", "minimum_2m_temperature", "total_precipitation", "10m_wind_speed"
HOUR = np.timedelta64(3600, "s")

pytestmark = pytest.mark.filterwarnings("ignore::xappa.errors.AssumptionWarning")


def reported(obs, name: str) -> pd.DataFrame:
    """Values, flags, times and periods (hours) of what was reported of a quantity."""
    part = obs.isel(obs=np.flatnonzero(obs[name].notnull()))
    period = part["period"].values / HOUR if "period" in part.coords else np.full(part.sizes["obs"], np.nan)
    columns = {"value": part[name].values, "flag": part[f"{name}_flag"].values, "period": period}
    return pd.DataFrame(columns | {"time": part["time"].values})


BY_STATION = """"STATION","DATE","LATITUDE","LONGITUDE","ELEVATION","NAME","PRCP","PRCP_ATTRIBUTES","SNOW",\
"SNOW_ATTRIBUTES","TMAX","TMAX_ATTRIBUTES","TMIN","TMIN_ATTRIBUTES","TAVG","TAVG_ATTRIBUTES","AWND","AWND_ATTRIBUTES"
"USW00024233","2018-07-01","47.4444","-122.3138","112.5","SEATTLE, WA","    0","T,,W,2400","    0",",,W","  253",",,W",\
"  189",",D,W","  215","H,,S","   26",",,W"
"USW00024233","2018-07-02","47.4444","-122.3138","112.5","SEATTLE, WA","   13",",,W,0700",,,"  311",",,W",,,"  240",\
"H,,S","   31",",,W"
"""


def test_ghcn_daily_by_station(tmp_path):
    (tmp_path / "USW00024233.csv").write_text(BY_STATION)
    obs = read_observations(tmp_path / "USW00024233.csv")
    high, low, rain = reported(obs, HIGH), reported(obs, LOW), reported(obs, RAIN)
    np.testing.assert_allclose(high["value"], [298.45, 304.25])
    np.testing.assert_allclose(low["value"], [292.05])
    np.testing.assert_allclose(rain["value"], [0.0, 0.0013])
    np.testing.assert_allclose(reported(obs, T)["value"], [294.65, 297.15])
    np.testing.assert_allclose(reported(obs, SPEED)["value"], [2.6, 3.1])
    assert high["flag"].tolist() == [0, 0]
    assert low["flag"].tolist() == [Flag.REJECTED_BY_SOURCE]
    assert (high["period"] == 24.0).all()
    # Days end at midnight, or at the hour of observation, eight hours behind UTC.
    assert high["time"].tolist() == [pd.Timestamp("2018-07-02T08"), pd.Timestamp("2018-07-03T08")]
    assert rain["time"].tolist() == [pd.Timestamp("2018-07-02T08"), pd.Timestamp("2018-07-02T15")]
    assert set(obs["station"].values) == {"USW00024233"}
    assert json.loads(obs.attrs["unknown_variables"]) == {"SNOW": 1}
    assert "units_assumed" not in obs.attrs


def test_what_is_assumed_of_ghcn_daily_is_said(tmp_path):
    (tmp_path / "a.csv").write_text(BY_STATION)
    with pytest.warns(AssumptionWarning) as said:
        read_observations(tmp_path / "a.csv")
    texts = " ".join(str(warning.message) for warning in said)
    assert "local midnight" in texts and "tenths" in texts and "units={'TMAX': 'degF'}" in texts


def test_ghcn_daily_in_converted_units_is_refused_unless_told():
    frame = pd.DataFrame(
        {"STATION": "USW00024233", "DATE": ["2018-07-01"], "LATITUDE": 47.4, "LONGITUDE": -122.3, "ELEVATION": 112.5}
        | {"PRCP": 0.12, "PRCP_ATTRIBUTES": ",,W", "TMAX": 77, "TMAX_ATTRIBUTES": ",,W"}
    )
    with pytest.raises(ObservationError, match=r"PRCP has decimals.*units=\{'PRCP': 'mm'\}"):
        read_observations(frame)
    obs = read_observations(frame, units={"PRCP": "inch", "TMAX": "degF"})
    np.testing.assert_allclose(reported(obs, RAIN)["value"], 0.12 * 0.0254)
    np.testing.assert_allclose(reported(obs, HIGH)["value"], 298.15)


def test_rename_says_that_a_table_is_no_archive():
    frame = pd.DataFrame(
        {"STATION": "a", "DATE": ["2018-07-01"], "LATITUDE": 47.4, "LONGITUDE": 2.3}
        | {"TMAX": 290.0, "TMAX_ATTRIBUTES": ",,W"}
    )
    obs = read_observations(frame, rename={"TMAX": T}, units={"TMAX": "K"})
    np.testing.assert_array_equal(obs[T], 290.0)
    # What concerns another source leaves it one.
    other = pd.DataFrame({"time": ["2018-07-01"], "lat": 1.0, "lon": 1.0, "temp": 280.0})
    both = read_observations([frame, other], rename={"temp": T}, units={"temp": "K"})
    np.testing.assert_allclose(reported(both, HIGH)["value"], 302.15)
    with pytest.raises(ObservationError, match="rename names 'TMX'.*did you mean 'TMAX'"):
        read_observations(frame, rename={"TMX": T})


BY_YEAR = """\
USW00024233,20180701,TMAX,253,,,W,2400
USW00024233,20180701,TMIN,189,,D,W,
USW00024233,20180701,PRCP,13,T,,W,0700
USW00024233,20180701,SNOW,0,,,W,
XXX00000000,20180701,TMAX,253,L,,W,
"""
STATIONS = """\
USW00024233  47.4444 -122.3138  112.5 WA SEATTLE TACOMA AP              HCN 72793
AE000041196  25.3330   55.5170   34.0    SHARJAH INTER. AIRP            GSN     41196
"""


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("2018.csv.gz", gzip.compress(BY_YEAR.encode())),
        ("2018.csv", BY_YEAR.encode()),
        ("s.csv", b"ID,DATE,ELEMENT,DATA_VALUE,M_FLAG,Q_FLAG,S_FLAG,OBS_TIME\n" + BY_YEAR.encode()),
        ("s.csv", b"ID,DATE,ELEMENT,VALUE,MFLAG,QFLAG,SFLAG,OBSTIME\n" + BY_YEAR.encode()),
    ],
)
def test_ghcn_daily_by_year(tmp_path, name, contents):
    (tmp_path / name).write_bytes(contents)
    (tmp_path / "ghcnd-stations.txt").write_text(STATIONS)
    obs = read_observations(tmp_path / name, stations=tmp_path / "ghcnd-stations.txt")
    high = reported(obs, HIGH)
    np.testing.assert_allclose(high["value"], 298.45)
    assert high["flag"].tolist() == [0, Flag.PERIOD_UNKNOWN]
    np.testing.assert_allclose(obs["latitude"].values[0], 47.4444)
    assert reported(obs, LOW)["flag"].tolist() == [Flag.REJECTED_BY_SOURCE]
    assert reported(obs, RAIN)["time"].tolist() == [pd.Timestamp("2018-07-01T15")]
    assert json.loads(obs.attrs["unknown_variables"]) == {"SNOW": 1}
    with pytest.raises(ObservationError, match="names of stations only.*ghcnd-stations.txt"):
        read_observations(tmp_path / name)


def test_ghcn_daily_as_dly(tmp_path):
    days = ["  253  W", "  311 GW", "-9999   ", "    0P 7"] + ["-9999   "] * 27
    (tmp_path / "a.dly").write_text(f"USW00024233201807TMAX{''.join(days)}\nUSW00024233201807WT01{''.join(days)}\n")
    (tmp_path / "ghcnd-stations.txt").write_text(STATIONS)
    obs = read_observations(tmp_path / "a.dly", stations=tmp_path / "ghcnd-stations.txt")
    high = reported(obs, HIGH)
    np.testing.assert_allclose(high["value"], [298.45, 304.25, 273.15])
    assert high["flag"].tolist() == [0, Flag.REJECTED_BY_SOURCE, Flag.REJECTED_BY_SOURCE]
    assert high["time"].tolist() == [pd.Timestamp(f"2018-07-0{day}T08") for day in (2, 3, 5)]
    assert json.loads(obs.attrs["unknown_variables"]) == {"WT01": 3}


def test_ends_of_local_days():
    dates = np.array(["2018-07-01"] * 6, "datetime64[s]")
    clock = pd.Series(["2400", "0700", "", None, "9999", "1830"])
    longitude = np.array([0.0, -105.0, 150.0, 359.0, 7.4, 7.6])
    expected = ["2018-07-02T00", "2018-07-01T14", "2018-07-01T14", "2018-07-02T00", "2018-07-02T00", "2018-07-01T17:30"]
    np.testing.assert_array_equal(compute_day_ends(dates, longitude, clock), np.array(expected, "datetime64[s]"))
    assert np.isnat(compute_day_ends(dates[:1], np.array([np.nan]))).all()


GSOD = """"STATION","DATE","LATITUDE","LONGITUDE","ELEVATION","NAME","TEMP","TEMP_ATTRIBUTES","DEWP","DEWP_ATTRIBUTES",\
"SLP","SLP_ATTRIBUTES","STP","STP_ATTRIBUTES","WDSP","WDSP_ATTRIBUTES","MAX","MAX_ATTRIBUTES","MIN","MIN_ATTRIBUTES","PRCP",\
"PRCP_ATTRIBUTES","FRSHTT"
"01001099999","2018-01-01","70.9","-8.6","9.0","JAN MAYEN","  32.0","24","9999.9"," 0","1013.0","24","012.0","24",\
" 36.0","24","  50.0"," ","  14.0","*"," 1.00","G","010000"
"01001099999","2018-01-02","70.9","-8.6","9.0","JAN MAYEN","  50.0","24","  41.0","24","9999.9"," 0","999.9"," 0",\
"999.9"," 0","9999.9"," ","9999.9"," "," 0.00","I","000000"
"""


def test_gsod(tmp_path):
    (tmp_path / "01001099999.csv").write_text(GSOD)
    obs = read_observations(tmp_path / "01001099999.csv")
    np.testing.assert_allclose(reported(obs, T)["value"], [273.15, 283.15])
    np.testing.assert_allclose(reported(obs, TD)["value"], [278.15])
    np.testing.assert_allclose(reported(obs, P)["value"], [101300.0])
    np.testing.assert_allclose(reported(obs, SPEED)["value"], [18.52])
    np.testing.assert_allclose(reported(obs, HIGH)["value"], [283.15])
    np.testing.assert_allclose(reported(obs, LOW)["value"], [263.15])
    np.testing.assert_allclose(reported(obs, RAIN)["value"], [0.0254])
    assert reported(obs, T)["time"].tolist() == [pd.Timestamp("2018-01-02"), pd.Timestamp("2018-01-03")]
    assert (reported(obs, T)["period"] == 24.0).all()
    assert set(obs["station"].values) == {"01001099999"}


def test_meteostat_hourly():
    index = pd.date_range("2018-01-01", periods=2, freq="h", name="time")
    frame = pd.DataFrame(
        {"temp": [0.6, -1.1], "dwpt": [-5.0, None], "rhum": [63, 66], "prcp": [None, 1.5], "snow": [None, 10.0]}
        | {"wdir": [270.0, 180.0], "wspd": [18.0, 36.0], "wpgt": None, "pres": [1024.6, 1025.0], "coco": 1},
        index=index,
    ).assign(station="10637")
    places = pd.DataFrame({"station": ["10637"], "lat": [50.05], "lon": [8.6], "elev": [111.0]})
    obs = read_observations(frame, stations=places)
    np.testing.assert_allclose(reported(obs, T)["value"], [273.75, 272.05])
    np.testing.assert_allclose(reported(obs, TD)["value"], [268.15])
    np.testing.assert_allclose(reported(obs, "2m_relative_humidity")["value"], [0.63, 0.66])
    np.testing.assert_allclose(reported(obs, SPEED)["value"], [5.0, 10.0])
    np.testing.assert_allclose(reported(obs, "10m_u_component_of_wind")["value"], [5.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(reported(obs, P)["value"], [102460.0, 102500.0])
    rain = reported(obs, RAIN)
    assert rain[["value", "period", "time"]].values.tolist() == [[0.0015, 1.0, pd.Timestamp("2018-01-01T01")]]
    assert json.loads(obs.attrs["unknown_variables"]) == {"snow": 1, "wpgt": 0, "coco": 2}
    assert "units_assumed" not in obs.attrs


def test_meteostat_daily():
    frame = pd.DataFrame(
        {"time": ["2018-01-01"], "latitude": 50.0, "longitude": 8.6, "tavg": 5.0, "tmin": 0.0, "tmax": 10.0}
        | {"prcp": 2.0, "wdir": 270.0, "wspd": 36.0, "wpgt": 50.0, "pres": 1013.0, "tsun": 60}
    )
    obs = read_observations(frame)
    for name, expected in ((T, 278.15), (LOW, 273.15), (HIGH, 283.15), (RAIN, 0.002), (SPEED, 10.0), (P, 101300.0)):
        day = reported(obs, name)
        np.testing.assert_allclose(day["value"], expected)
        assert day[["period", "time"]].values.tolist() == [[24.0, pd.Timestamp("2018-01-02")]]
    # The mean of a speed and that of a direction are no mean wind.
    assert "10m_u_component_of_wind" not in obs
    assert json.loads(obs.attrs["unknown_variables"]) == {"wdir (daily mean)": 1, "wpgt": 1, "tsun": 1}


IEM = """#DEBUG: Format Typ    -> comma
#DEBUG: Time Period   -> 2018-11-02 00:00:00+00:00 2018-11-03 00:00:00+00:00
#DEBUG: Time Zone     -> Etc/UTC
station,valid,lon,lat,elevation,tmpf,dwpf,relh,drct,sknt,p01i,alti,mslp,vsby,gust
DSM,2018-11-02 12:54,-93.66,41.53,292.0,50.00,41.00,71.20,270.00,18.00,T,30.00,1018.20,10.00,M
DSM,2018-11-02 13:10,-93.66,41.53,292.0,M,M,M,M,M,0.05,30.00,M,10.00,M
DSM,2018-11-02 13:54,-93.66,41.53,292.0,32.00,M,M,M,M,0.10,M,M,10.00,M
"""


def test_iem(tmp_path):
    (tmp_path / "asos.txt").write_text(IEM)
    obs = read_observations(tmp_path / "asos.txt", derive=False)
    np.testing.assert_allclose(reported(obs, T)["value"], [283.15, 273.15])
    np.testing.assert_allclose(reported(obs, TD)["value"], [278.15])
    np.testing.assert_allclose(reported(obs, "2m_relative_humidity")["value"], [0.712])
    np.testing.assert_allclose(reported(obs, SPEED)["value"], [9.26])
    np.testing.assert_allclose(reported(obs, P)["value"], [101820.0])
    np.testing.assert_allclose(reported(obs, "altimeter_setting")["value"], 101591.659, rtol=1e-8)
    rain = reported(obs, RAIN)
    np.testing.assert_allclose(rain["value"], [0.0, 0.00127, 0.00254])
    # What is reported between the hours is over a part of one.
    assert rain["flag"].tolist() == [0, Flag.PERIOD_UNKNOWN, 0]
    assert (rain["period"] == 1.0).all()
    np.testing.assert_allclose(obs["altitude"], 292.0)
    assert "unreadable_values" not in obs.attrs
    assert json.loads(obs.attrs["unknown_variables"]) == {"vsby": 3, "gust": 3}


def test_iem_with_places_of_a_table():
    frame = pd.DataFrame(
        {"station": ["DSM", "CYUL"], "valid(UTC)": "2018-11-02 12:54", "tmpc": [10.0, "M"], "p01m": [1, 2]}
    )
    places = pd.DataFrame({"icao": ["KDSM", "CYUL"], "lat": [41.5, 45.5], "lon": [-93.7, -73.7], "elev": [292.0, 36.0]})
    obs = read_observations(frame, stations=places)
    np.testing.assert_allclose(reported(obs, T)["value"], 283.15)
    np.testing.assert_allclose(reported(obs, RAIN)["value"], [0.001, 0.002])
    np.testing.assert_allclose(obs["latitude"], [41.5, 41.5, 45.5])
    assert "assumptions" not in obs.attrs


def test_units_of_the_caller_count_for_more_than_those_of_an_archive(tmp_path):
    (tmp_path / "asos.csv").write_text(IEM)
    obs = read_observations(tmp_path / "asos.csv", units={"sknt": "m s-1"}, derive=False)
    np.testing.assert_allclose(reported(obs, SPEED)["value"], [18.0])


def test_tables_like_those_of_archives_are_none():
    for columns in (
        ["time", "lat", "lon", "t2m", "wspd", "wdir"],
        ["time", "lat", "lon", "tmax", "tmin"],
        ["station", "valid", "lat", "lon", "t2m"],
        ["STATION", "DATE", "TMAX"],
    ):
        assert find_table_reader(columns) is None
    assert len(TABLES) == 7
