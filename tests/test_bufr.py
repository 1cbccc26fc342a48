"""BUFR: the real SYNOP file, messages made here, and everything that can be wrong with a file."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from xappa.errors import MissingDependency, ObservationError
from xappa.observations import Flag, flag_counts, read_observations
from xappa.observations.readers.bufr import decode, reader

needs_eccodes = pytest.mark.skipif(importlib.util.find_spec("eccodes") is None, reason="ecCodes is not installed")

SYNOP = "real/synop-global-20181102/perf_synop.bufr"
T, P = "2m_temperature", "mean_sea_level_pressure"
U, V = "10m_u_component_of_wind", "10m_v_component_of_wind"

# ecCodes stays out of the process of the tests, as it stays out of the user's.
ENCODE = """
import sys
import eccodes as ec

def write(file, values, compressed, category=0):
    message = ec.codes_bufr_new_from_samples("BUFR4")
    size = len(values["latitude"])
    ec.codes_set(message, "masterTablesVersionNumber", 28)
    ec.codes_set(message, "dataCategory", category)
    ec.codes_set(message, "numberOfSubsets", size)
    ec.codes_set(message, "compressedData", compressed)
    ec.codes_set_array(message, "inputDelayedDescriptorReplicationFactor", [0] * (6 if compressed else 6 * size))
    ec.codes_set(message, "unexpandedDescriptors", 307080)
    for key, column in values.items():
        if compressed:
            ec.codes_set_array(message, key, column)
        else:
            for i, value in enumerate(column, 1):
                if value is not None:
                    ec.codes_set(message, f"#{i}#{key}", value)
    ec.codes_set(message, "pack", 1)
    ec.codes_write(message, file)
    ec.codes_release(message)

def reports(first, size, **columns):
    when = dict(year=2024, month=2, day=3, hour=12, minute=30)
    fixed = {key: [value] * size for key, value in when.items()}
    place = dict(latitude=[50.0 + i for i in range(size)], longitude=[8.0] * size, blockNumber=[1] * size,
        stationNumber=[first + i for i in range(size)], heightOfStationGroundAboveMeanSeaLevel=[100.0] * size)
    return fixed | place | columns

with open(sys.argv[1], "wb") as file:
    write(file, reports(1, 2, airTemperature=[280.0, 281.0], windSpeed=[5.0, 0.0], windDirection=[270, 0],
        pressureReducedToMeanSeaLevel=[101300.0, 101400.0], nonCoordinatePressure=[99000.0, 99100.0]), 1)
    write(file, reports(3, 3, airTemperature=[282.0, None, None], windSpeed=[2.0, None, None],
        windDirection=[0, None, None]), 0)
    write(file, reports(7, 1, airTemperature=[284.0]), 0, category=7)
    write(file, reports(6, 1, airTemperature=[283.0]), 0)
"""


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    path = tmp_path_factory.mktemp("bufr") / "messages.bufr"
    subprocess.run([sys.executable, "-c", ENCODE, str(path)], check=True, capture_output=True)
    return path


@needs_eccodes
def test_the_template_of_the_wmo(messages):
    obs = read_observations(messages)
    assert obs["station"].values.tolist() == ["01001", "01002", "01003", "01006"]
    assert (obs["time"] == np.datetime64("2024-02-03T12:30")).all()
    np.testing.assert_allclose(obs["latitude"], [50.0, 51.0, 50.0, 50.0])
    np.testing.assert_allclose(obs["altitude"], 100.0)
    np.testing.assert_allclose(obs[T], [280.0, 281.0, 282.0, 283.0], atol=1e-9)
    np.testing.assert_allclose(obs[P], [101300.0, 101400.0, np.nan, np.nan])
    np.testing.assert_allclose(obs["surface_pressure"], [99000.0, 99100.0, np.nan, np.nan])
    np.testing.assert_allclose(obs[U], [5.0, 0.0, np.nan, np.nan], atol=1e-12)
    np.testing.assert_allclose(obs[V], [0.0, 0.0, np.nan, np.nan], atol=1e-12)


@needs_eccodes
def test_nothing_is_lost_silently(messages):
    attrs = read_observations(messages).attrs
    assert (attrs["reports_read"], attrs["reports_empty"], attrs["reports_variable_wind"]) == (6, 2, 1)
    assert attrs["messages_skipped"] == 1
    assert "messages_broken" not in attrs


@needs_eccodes
def test_a_truncated_file_gives_what_comes_before(messages, tmp_path):
    (tmp_path / "cut.bufr").write_bytes(messages.read_bytes()[:-30])
    obs = read_observations(tmp_path / "cut.bufr")
    assert obs["station"].values.tolist() == ["01001", "01002", "01003"]
    assert obs.attrs["messages_broken"] == 1


@needs_eccodes
def test_what_is_no_bufr_file(tmp_path):
    (tmp_path / "text.bufr").write_text("no BUFR, although it says so")
    with pytest.raises(ObservationError, match=r"text.bufr: no report with.*Expected SYNOP or SHIP"):
        read_observations(tmp_path / "text.bufr")


def decoder(monkeypatch, tmp_path, code):
    (tmp_path / "decoder.py").write_text(code)
    (tmp_path / "reports.bufr").write_bytes(b"BUFR")
    monkeypatch.setattr(decode, "__file__", str(tmp_path / "decoder.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return tmp_path / "reports.bufr"


def test_a_crash_of_the_decoder_leaves_the_session_alive(monkeypatch, tmp_path):
    code = "import os, sys; print('heap is gone', file=sys.stderr, flush=True); os.abort()"
    path = decoder(monkeypatch, tmp_path, code)
    with pytest.raises(
        ObservationError, match=r"(?s)reports.bufr: the BUFR decoder was ended by SIGABRT.*heap is gone"
    ):
        read_observations(path)


def test_an_error_of_the_decoder_is_told(monkeypatch, tmp_path):
    path = decoder(monkeypatch, tmp_path, "raise RuntimeError('wrong tables')")
    with pytest.raises(ObservationError, match=r"(?s)the BUFR decoder failed.*RuntimeError: wrong tables"):
        read_observations(path)


def test_a_broken_installation_is_told(monkeypatch, tmp_path):
    path = decoder(monkeypatch, tmp_path, "import sys; sys.exit(3)")
    with pytest.raises(MissingDependency, match=r'pip install "xappa\[obs\]"'):
        read_observations(path)


def test_without_eccodes_the_command_is_named(monkeypatch, tmp_path):
    (tmp_path / "reports.bufr").write_bytes(b"BUFR")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r'pip install "xappa\[obs\]"'):
        reader.read_bufr(tmp_path / "reports.bufr")


@pytest.fixture(scope="module")
def synop(shared):
    if importlib.util.find_spec("eccodes") is None:
        pytest.skip("ecCodes is not installed")
    return read_observations(shared(SYNOP), error="ecmwf-like")


def test_real_counts(synop):
    # Counted with ecCodes alone. (The README of the data has 7117, 6931 and 6013 for temperature, wind and station
    # pressure: only the messages whose template has a pressure at sea level, which those of high stations have not.)
    assert synop.attrs["reports_read"] == 15824
    assert synop.attrs["reports_read"] - synop.attrs["reports_empty"] == 10505
    assert int(synop["period"].isnull().sum()) == 7873
    reported = {name: int(synop[name].notnull().sum()) for name in (T, P, "10m_wind_speed", "surface_pressure")}
    # Of the pressures at sea level 6314 were reported; the others are reduced from low stations that give none.
    assert reported == {T: 7803, P: 6314 + 198, "10m_wind_speed": 7611, "surface_pressure": 6649}
    assert int((synop["surface_pressure_flag"] == Flag.UNUSED).sum()) == 197
    assert synop.attrs["reports_variable_wind"] == 79
    assert int(synop[U].notnull().sum()) == 7611 - 79


def test_real_places_and_times(synop):
    assert (synop["time"] == np.datetime64("2018-11-02T12:00")).all()
    hours = synop["period"].dropna("obs") / np.timedelta64(1, "h")
    assert np.unique(hours, return_counts=True)[0].tolist() == [1.0, 3.0, 6.0, 12.0, 24.0]
    assert (float(synop["latitude"].min()), float(synop["latitude"].max())) == (-90.0, 83.66)
    assert np.unique(synop["station"]).size > 7800
    assert np.char.str_len(synop["station"].values).tolist() == [5] * synop.sizes["obs"]


def test_real_gross_errors_are_flagged_and_little_else(synop):
    assert synop["10m_wind_speed_flag"].values[synop["10m_wind_speed"] == 349.0].tolist() == [Flag.OUT_OF_RANGE]
    assert synop[f"{T}_flag"].values[synop[T] > 372.0].tolist() == [Flag.OUT_OF_RANGE]
    assert (synop[f"{U}_flag"].values[synop["10m_wind_speed"] == 349.0] == Flag.OUT_OF_RANGE).all()
    assert (synop["surface_pressure_flag"].values[synop["surface_pressure"] == 109890.0] == Flag.OUT_OF_RANGE).all()
    counts = flag_counts(synop)
    assert counts.loc[[T, U, V, P], "out_of_range"].tolist() == [1, 1, 1, 1]  # the pressure of a height of -350 m
    assert counts.loc[[T, U, V, P], "duplicate"].tolist() == [25, 25, 25, 23]
    assert counts.loc[[T, U, V, P], "missing_place"].tolist() == [0, 0, 0, 0]
    assert (counts.loc[[T, U, V, P], "good"] >= 0.99 * counts.loc[[T, U, V, P]].sum(axis=1)).all()
    assert counts.sum(axis=1).to_dict() == {name: int(synop[name].notnull().sum()) for name in counts.index}


def test_real_errors(synop):
    np.testing.assert_array_equal(synop[f"{T}_error"].notnull(), synop[T].notnull())
    assert float(synop[f"{U}_error"].max()) == 3.0


TEMP = "real/temp-global-20081208/temp.bufr"
HIRS = "real/hirs-metopa-20181122/M02-HIRS-HIRxxx1B-NA-1.0-20181122114854.000000000Z-20181122132602-1304602.bufr"


@needs_eccodes
def test_real_soundings(shared):
    obs = read_observations(shared(TEMP), error="ecmwf-like")
    # The README of the data: 420 ascents, 26,005 levels, 18,742 temperatures, 16,094 dew points, 13,758 winds.
    assert np.unique(obs["station"]).size > 400
    reported = {name: int(obs[name].notnull().sum()) for name in ("temperature", "dewpoint_temperature", "wind_speed")}
    assert reported == {"temperature": 18742, "dewpoint_temperature": 16094, "wind_speed": 13758}
    assert float(obs["level"].max()) < 1100.0
    good = flag_counts(obs)["good"]
    assert (good["temperature"], good["u_component_of_wind"]) == (18742, 13756)
    assert good["specific_humidity"] > 16000
    height = obs["geopotential"].where(abs(obs["level"] - 500.0) < 0.1) / 9.80665
    height = height.dropna("obs")
    assert float(((height > 4800.0) & (height < 6000.0)).mean()) > 0.99
    assert float(obs["temperature_error"].sel(obs=abs(obs["level"] - 500.0) < 0.1).max()) == 1.2


@needs_eccodes
def test_real_radiances(shared):
    obs = read_observations(shared(HIRS))
    name = "brightness_temperature"
    assert np.unique(obs["channel"]).tolist() == [float(channel) for channel in range(1, 20)]
    # 51,968 pixels in 19 channels, of which 5 % are missing; every one stays, though 19 share each place and time.
    assert 0.94 < obs.sizes["obs"] / (51968 * 19) < 0.96
    assert flag_counts(obs).loc[name, "good"] == obs.sizes["obs"]
    assert obs["time"].min() >= np.datetime64("2018-11-22T11:48")
    assert obs["time"].max() < np.datetime64("2018-11-22T13:28")
    assert float(obs[name].min()) > 149.0 and float(obs[name].max()) < 321.0


ENCODE_OTHERS = """
import sys
import eccodes as ec

def write(file, category, descriptors, values, replications=()):
    message = ec.codes_bufr_new_from_samples("BUFR4")
    ec.codes_set(message, "masterTablesVersionNumber", 28)
    ec.codes_set(message, "dataCategory", category)
    ec.codes_set(message, "numberOfSubsets", 1)
    ec.codes_set(message, "compressedData", 0)
    if replications:
        ec.codes_set_array(message, "inputExtendedDelayedDescriptorReplicationFactor", [replications[0]])
        ec.codes_set_array(message, "inputDelayedDescriptorReplicationFactor", [replications[1]])
    ec.codes_set_array(message, "unexpandedDescriptors", descriptors)
    for key, value in values.items():
        ec.codes_set(message, key, value)
    ec.codes_set(message, "pack", 1)
    ec.codes_write(message, file)

when = dict(year=2024, month=2, day=3, hour=12, minute=30)
with open(sys.argv[1], "wb") as file:
    write(file, 4, [311001], when | dict(aircraftFlightNumber="EU0246", latitude=50.0, longitude=8.0, height=10000.0,
        airTemperature=220.0, windDirection=270, windSpeed=40.0))
    sounding = when | dict(blockNumber=10, stationNumber=393, latitude=52.2, longitude=14.1,
        heightOfStationGroundAboveMeanSeaLevel=112.0)
    for n, (p, t, north, seconds) in enumerate([(100000.0, 280.0, 0.0, 0), (50000.0, 250.0, 0.1, 1500)], 1):
        sounding |= {f"#{n}#pressure": p, f"#{n}#airTemperature": t, f"#{n}#latitudeDisplacement": north,
            f"#{n}#longitudeDisplacement": 0.0, f"#{n}#timePeriod": seconds}
    write(file, 2, [309052], sounding, (2, 0))
    ship = when | dict(shipOrMobileLandStationIdentifier="DBLK", latitude=60.0, longitude=-20.0,
        pressureReducedToMeanSeaLevel=99000.0, airTemperature=281.0, windDirection=180, windSpeed=12.0,
        oceanographicWaterTemperature=282.5)
    write(file, 1, [1011, 301011, 301012, 301021, 10051, 12101, 11001, 11002, 22043], ship)
"""


@needs_eccodes
def test_aircraft_ships_and_drifting_balloons(tmp_path):
    path = tmp_path / "others.bufr"
    subprocess.run([sys.executable, "-c", ENCODE_OTHERS, str(path)], check=True, capture_output=True)
    obs = read_observations(path)
    flight = obs.sel(obs=obs["station"] == "EU0246")
    np.testing.assert_allclose(flight["level"], [264.4], atol=0.1)  # 10 km in the standard atmosphere
    np.testing.assert_allclose(flight["temperature"], [220.0], atol=0.1)
    np.testing.assert_allclose(flight["u_component_of_wind"], [40.0], atol=0.1)
    balloon = obs.sel(obs=obs["station"] == "10393")
    np.testing.assert_allclose(balloon["level"], [1000.0, 500.0])
    np.testing.assert_allclose(balloon["latitude"], [52.2, 52.3], atol=1e-4)
    assert (np.diff(balloon["time"].values) == np.timedelta64(1500, "s")).all()
    ship = obs.sel(obs=obs["station"] == "DBLK")
    np.testing.assert_allclose(ship["sea_surface_temperature"], [282.5], atol=0.01)
    np.testing.assert_allclose(ship[T], [281.0], atol=0.01)
    np.testing.assert_allclose(ship[P], [99000.0])
    np.testing.assert_allclose(ship[V], [12.0], atol=0.1)
