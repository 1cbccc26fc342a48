"""Files of BUFR messages of all sorts: no subset is lost, and every one that gives no report is counted."""

import importlib.util
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import xappa
from tests.bufr_messages import MISSING, STATION, message, station, write
from xappa.errors import ObservationError
from xappa.observations import Flag, read_observations
from xappa.observations.readers import decoders
from xappa.observations.readers.bufr import reader

pytestmark = pytest.mark.skipif(importlib.util.find_spec("eccodes") is None, reason="ecCodes is not installed")

T = "2m_temperature"
TEMPLATE = [*STATION, 12101, 11001, 11002]


@pytest.fixture
def read(tmp_path):
    return lambda *messages: read_observations(write(tmp_path / "reports.bufr", *messages))


def stations(obs):
    return sorted(np.unique(obs["station"].values).tolist())


def unranked(values):
    return {key.removeprefix("#1#"): value for key, value in values.items()}


def unnamed():
    """Values of a station without its number."""
    return {key: value for key, value in station().items() if "Number" not in key}


def compressed(first, temperatures, **values):
    size = len(temperatures)
    values = station(**values) | {"stationNumber": [first + i for i in range(size)], "airTemperature": temperatures}
    return message(TEMPLATE, values, subsets=size, compressed=True)


def plain(first, temperatures):
    values = {}
    for i, temperature in enumerate(temperatures, 1):
        one = unranked(station(first + i - 1)) | {"airTemperature": temperature}
        values |= {f"#{i}#{key}": value for key, value in one.items()}
    return message(TEMPLATE, values, subsets=len(temperatures))


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_messages_with_and_without_compression(read, order):
    messages = [compressed(100, [280.0, 281.0, 282.0]), plain(200, [283.0, 284.0, 285.0])]
    messages += [compressed(300, [286.0, 287.0]), plain(400, [288.0])]
    obs = read(*messages[order])
    assert stations(obs) == [f"10{n}" for n in (100, 101, 102, 200, 201, 202, 300, 301, 400)]
    found = dict(zip(obs["station"].values, obs[T].values, strict=True))
    np.testing.assert_allclose([found[name] for name in stations(obs)], np.arange(280.0, 289.0))


def test_sequences_of_several_kinds(read):
    ship = unnamed() | {"shipOrMobileLandStationIdentifier": "DBLK", "airTemperature": 275.0}
    obs = read(
        plain(1, [280.0]),
        message([308009], ship, category=1, D=[0]),
        message([307080], station(2, airTemperature=281.0), D=[0] * 6),
        plain(3, [282.0, 283.0]),
    )
    assert obs["station"].values.tolist() == ["10001", "DBLK", "10002", "10003", "10004"]
    np.testing.assert_allclose(obs[T], [280.0, 275.0, 281.0, 282.0, 283.0])


@pytest.mark.parametrize("kind", [plain, compressed])
def test_many_messages_of_one_structure(read, kind):
    # From the third on they are read another way than the first.
    obs = read(*[kind(i, [280.0 + i, 250.0 + i]) for i in range(0, 12, 2)])
    assert stations(obs) == [f"10{i:03d}" for i in range(12)]
    np.testing.assert_allclose(obs[T], np.ravel([(280.0 + i, 250.0 + i) for i in range(0, 12, 2)]))


def test_associated_fields_and_changed_widths_do_not_shift_values(read):
    descriptors = [*STATION, 204008, 31021, 12101, 204000, 201132, 202129, 11002, 202000, 201000, 10004]
    values = {"windSpeed": 5.0, "nonCoordinatePressure": 99000.0}
    obs = read(*[message(descriptors, station(i, airTemperature=280.0 + i, **values)) for i in range(4)])
    np.testing.assert_allclose(obs[T], [280.0, 281.0, 282.0, 283.0])
    np.testing.assert_allclose(obs["10m_wind_speed"], 5.0)
    np.testing.assert_allclose(obs["surface_pressure"], 99000.0)


@pytest.mark.parametrize("size", [1, 3])
def test_quality_information_holds_no_values(read, size):
    plainly = [1001, 1002, 4001, 4002, 4003, 4004, 4005, 5001, 6001, 7030, 12101, 11001, 11002]
    descriptors = [*plainly, 222000, 236000, 101013, 31031, 1031, 1032, 101013, 33007]
    values = {}
    for i in range(1, size + 1):
        values |= {f"#{i}#{k}": v for k, v in unranked(station(i, airTemperature=280.0 + i, windSpeed=7.0)).items()}
    obs = read(*[message(descriptors, values, subsets=size, bitmap=13 * size) for _ in range(3)])
    np.testing.assert_allclose(obs[T], [280.0 + i for i in range(1, size + 1)] * 3)
    np.testing.assert_allclose(obs["10m_wind_speed"], 7.0)


def test_subsets_with_other_numbers_of_levels(read):
    values, level = {}, 0
    for i, pressures in enumerate([(85000.0,), (92500.0, 70000.0, 50000.0), (), (30000.0, 20000.0)], 1):
        values |= {f"#{i}#{key}": value for key, value in unranked(station(400 + i)).items()}
        for pressure in pressures:
            level += 1
            values |= {f"#{level}#pressure": pressure, f"#{level}#airTemperature": 200.0 + level}
    descriptors = [*STATION, 102000, 31001, 7004, 12101]
    obs = read(message(descriptors, values, category=2, subsets=4, D=[1, 3, 0, 2]))
    assert obs["station"].values.tolist() == ["10401", *["10402"] * 3, *["10404"] * 2]
    assert obs["level"].values.tolist() == [850.0, 925.0, 700.0, 500.0, 300.0, 200.0]
    np.testing.assert_allclose(obs["temperature"], np.arange(201.0, 207.0))
    assert json.loads(obs.attrs["subsets_without_report"]) == {"no_known_quantity": 1}


def test_soundings_in_compressed_form(read):
    values = station() | {"stationNumber": [1, 2, 3], "#2#pressure": 50000.0}
    values |= {"#1#pressure": [92500.0, 92400.0, 92300.0], "#1#airTemperature": [280.0, -1e100, 282.0]}
    values |= {"#2#airTemperature": [250.0, 251.0, -1e100]}
    obs = read(message([309052], values, category=2, subsets=3, compressed=True, ExtendedD=[2], D=[0]))
    places = zip(obs["station"].values.tolist(), np.round(obs["level"].values).tolist(), strict=True)
    found = dict(zip(places, obs["temperature"].values.tolist(), strict=True))
    right = {("10001", 925.0): 280.0, ("10001", 500.0): 250.0, ("10002", 500.0): 251.0, ("10003", 923.0): 282.0}
    assert found == pytest.approx(right)


def test_what_is_partly_missing_in_a_compressed_message(read):
    obs = read(compressed(1, [280.0, -1e100, 282.0], windSpeed=[5.0, 6.0, -1e100], windDirection=[90, MISSING, 180]))
    np.testing.assert_allclose(obs[T], [280.0, np.nan, 282.0])
    np.testing.assert_allclose(obs["10m_wind_speed"], [5.0, 6.0, np.nan])
    np.testing.assert_allclose(obs["10m_wind_from_direction"], [90.0, np.nan, 180.0])
    parts = {"#1#hour": [12, MISSING, 12], "#1#minute": [MISSING, 5, 7]}
    times = read(compressed(1, [280.0, 281.0, 282.0], **parts))
    assert times[f"{T}_flag"].values.tolist() == [Flag.GOOD, Flag.MISSING_TIME, Flag.GOOD]
    minutes = times["time"].values.astype("datetime64[m]").astype(str).tolist()
    assert minutes == ["2018-11-02T12:00", "NaT", "2018-11-02T12:07"]


@pytest.mark.parametrize("names", [["DBLK", "", "OVYA2"], "DBLK"])
def test_names_in_a_compressed_message(read, names):
    values = unnamed() | {"shipOrMobileLandStationIdentifier": names, "airTemperature": [280.0, 281.0, 282.0]}
    obs = read(message([1011, *STATION[1:], 12101], values, category=1, subsets=3, compressed=True))
    assert obs["station"].values.tolist() == ([names] * 3 if isinstance(names, str) else names)


def test_wigos_identifiers(read):
    wigos = {"wigosIdentifierSeries": 0, "wigosIssuerOfIdentifier": 20000, "wigosIssueNumber": 0}
    values = unnamed() | wigos | {"wigosLocalIdentifierCharacter": "15520", "airTemperature": 280.0}
    obs = read(message([301150, *STATION[1:], 12101], values))
    assert obs["station"].values.tolist() == ["0-20000-0-15520"]


def test_radiances_without_compression(read):
    channels = {f"#{i}#tovsOrAtovsOrAvhrrInstrumentationChannelNumber": i + 3 for i in (1, 2)}
    channels |= {f"#{i}#brightnessTemperature": 260.0 - 10.0 * i for i in (1, 2)}
    obs = read(message([*STATION, 2150, 12063, 2150, 12063], station() | channels, category=21))
    assert obs["channel"].values.tolist() == [4.0, 5.0]
    np.testing.assert_allclose(obs["brightness_temperature"], [250.0, 240.0])


def test_subsets_without_a_report_are_counted_by_reason(read):
    obs = read(
        plain(1, [280.0, 281.0]),
        plain(3, [-1e100, -1e100, 282.0]),
        message(TEMPLATE, station(9), category=7),
        message(STATION, station(6)),
        compressed(7, [283.0, 284.0]),
    )
    reasons = {"other_category": 1, "no_known_quantity": 1, "all_missing": 2}
    assert json.loads(obs.attrs["subsets_without_report"]) == reasons
    assert obs.attrs["subsets_found"] == 9 == len(stations(obs)) + sum(reasons.values())


def test_a_broken_message_loses_its_own_subsets_only(tmp_path):
    path = write(tmp_path / "reports.bufr", plain(1, [280.0]), compressed(2, [281.0, 282.0]), plain(4, [283.0]))
    data = bytearray(path.read_bytes())
    unknown, sequence = bytes([0xFF, 0xFF]), bytes([0b11000001, 11])  # 3 01 011
    place = data.index(sequence, data.index(b"BUFR", 4))
    data[place : place + 2] = unknown
    path.write_bytes(data)
    obs = read_observations(path)
    assert stations(obs) == ["10001", "10004"]
    assert obs.attrs["messages_broken"] == 1
    assert json.loads(obs.attrs["subsets_without_report"]) == {"broken": 2}


def test_what_lies_between_messages_is_passed_over(tmp_path):
    path = write(tmp_path / "reports.bufr", plain(1, [280.0]), plain(2, [281.0]))
    first, second = (b"BUFR" + part for part in path.read_bytes().split(b"BUFR")[1:])
    path.write_bytes(b"\r\r\nISMD01 EDZW 021200\r\r\n" + first + b"\r\r\n\x03\x01\r\r\n" + second + b"\x03")
    assert stations(read_observations(path)) == ["10001", "10002"]


def test_parts_of_a_file_give_what_the_whole_gives(tmp_path, monkeypatch):
    messages = [plain(i, [280.0, 281.0 + i]) if i % 3 else compressed(i, [270.0 + i, 260.0]) for i in range(0, 30, 2)]
    path = write(tmp_path / "reports.bufr", *messages)
    whole = reader.read_bufr(path)
    monkeypatch.setattr(reader, "plan_parts", lambda path: [(str(i), "4") for i in range(4)])
    xr.testing.assert_identical(reader.read_bufr(path), whole)


def test_a_large_file_is_read_by_as_many_processes_as_there_are_processors(tmp_path, monkeypatch):
    (tmp_path / "reports.bufr").write_bytes(bytes(3 * decoders.PART + 1))
    for processors, number in ((1, 1), (2, 2), (16, 3)):
        monkeypatch.setattr(decoders.os, "sched_getaffinity", lambda _, n=processors: set(range(n)), raising=False)
        assert len(decoders.plan_parts(tmp_path / "reports.bufr")) == number
    (tmp_path / "reports.bufr").write_bytes(b"")
    assert decoders.plan_parts(tmp_path / "reports.bufr") == [("0", "1")]


def program(tmp_path, code):
    (tmp_path / "decoder.py").write_text(code)
    (tmp_path / "reports.bufr").write_bytes(b"BUFR" * 1250)
    return decoders.DecoderProcess(str(tmp_path / "decoder.py"), "numpy", "", "BUFR"), tmp_path / "reports.bufr"


def test_a_crash_of_one_part_ends_the_others(tmp_path):
    decoder, source = program(tmp_path, "import os, sys, time\nos.abort() if sys.argv[3] == '1' else time.sleep(600)\n")
    start = time.monotonic()
    with pytest.raises(ObservationError, match="ended by SIGABRT"):
        decoder(source, ("0",), ("1",))
    assert time.monotonic() - start < 300.0


def test_progress_is_shown_of_files_that_take_long(tmp_path, capfd):
    decoder, source = program(
        tmp_path,
        "import sys, time, numpy\nfor i in range(5):\n    print(1000, flush=True)\n    time.sleep(0.6)\n"
        "numpy.savez(sys.argv[2], **{'count.messages': 1})\n",
    )
    with xappa.set_options(progress=True):
        tables, _ = decoder(source, ())
    assert "Reading reports.bufr" in capfd.readouterr().err
    assert int(tables[0]["count"]["messages"]) == 1
    with xappa.set_options(progress=False):
        decoder(source, ())
    assert capfd.readouterr().err == ""


COUNT = """
import sys
import eccodes as ec

messages = subsets = told = 0
keys = sys.argv[2].split(",")
with open(sys.argv[1], "rb") as file:
    while (handle := ec.codes_bufr_new_from_file(file)) is not None:
        messages += 1
        size = ec.codes_get(handle, "numberOfSubsets")
        subsets += size
        ec.codes_set(handle, "unpack", 1)
        seen = [False] * size
        for key in keys:
            try:
                values = ec.codes_get_double_array(handle, key).tolist()
            except ec.KeyValueNotFoundError:
                continue
            there = [value != ec.CODES_MISSING_DOUBLE for value in values]
            there = [any(there)] * size if size == 1 or len(there) == 1 else there
            seen = [old or new for old, new in zip(seen, there, strict=True)]
        told += sum(seen)
        ec.codes_release(handle)
print(messages, subsets, told)
"""

SURFACE = (
    "airTemperatureAt2M,dewpointTemperatureAt2M,windSpeedAt10M,windDirectionAt10M,pressureReducedToMeanSeaLevel,"
    "nonCoordinatePressure,totalPrecipitationPast1Hour,totalPrecipitationPast3Hours,totalPrecipitationPast6Hours,"
    "totalPrecipitationPast12Hours,totalPrecipitationPast24Hours,maximumTemperatureAt2MPast12Hours,"
    "maximumTemperatureAt2MPast24Hours,minimumTemperatureAt2MPast12Hours,minimumTemperatureAt2MPast24Hours"
)
ALOFT = "airTemperature,dewpointTemperature,windSpeed,windDirection,nonCoordinateGeopotential"
HIRS = "real/hirs-metopa-20181122/M02-HIRS-HIRxxx1B-NA-1.0-20181122114854.000000000Z-20181122132602-1304602.bufr"
REAL = {
    "real/synop-global-20181102/perf_synop.bufr": (SURFACE, (15824, 15824, 10505)),
    "real/temp-global-20081208/temp.bufr": (ALOFT, (420, 420, 420)),
    HIRS: (",".join(f"#{i}#brightnessTemperature" for i in range(1, 20)), (61, 51968, 49392)),
}
"""Keys of known quantities; messages, subsets, and subsets with one of these."""


@pytest.mark.parametrize("name", REAL)
def test_real_files_lose_no_subset(shared, name):
    keys, counts = REAL[name]
    path = shared(name)
    told = subprocess.run([sys.executable, "-c", COUNT, str(path), keys], check=True, capture_output=True, text=True)
    assert tuple(map(int, told.stdout.split())) == counts
    attrs = read_observations(path).attrs
    assert attrs["subsets_found"] == counts[1]
    without = json.loads(attrs.get("subsets_without_report", "{}"))
    assert set(without) <= {"all_missing"}
    assert attrs["subsets_found"] - sum(without.values()) == counts[2]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_the_last_update_of_a_message_is_used(read, order):
    first, second = plain(1, [280.0, 270.0]), plain(1, [281.0])
    second["header"]["updateSequenceNumber"] = 1
    obs = read(*[first, second][order])
    good = obs[T].values[obs[f"{T}_flag"] == Flag.GOOD]
    assert sorted(good.tolist()) == [270.0, 281.0]
    assert obs[f"{T}_flag"].values[obs[T] == 280.0].tolist() == [Flag.DUPLICATE]


def test_a_correction_by_its_heading_is_used(tmp_path):
    path = write(tmp_path / "reports.bufr", *[plain(1, [temperature]) for temperature in (280.0, 281.0, 282.0)])
    headings = [b"\r\r\nISMD01 EDZW 021200" + of + b"\r\r\n" for of in (b"", b" CCA", b" RRA")]
    parts = [b"BUFR" + part for part in path.read_bytes().split(b"BUFR")[1:]]
    path.write_bytes(b"".join(heading + part for heading, part in zip(headings, parts, strict=True)))
    obs = read_observations(path)
    assert obs[T].values[obs[f"{T}_flag"] == Flag.GOOD].tolist() == [281.0]
