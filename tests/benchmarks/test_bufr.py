"""Reading BUFR beside pdbufr, with the same columns, and beside ecCodes, which only unpacks.

Run with ``OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_bufr.py``. What counts are ratios to pdbufr,
measured in the same minute: of the processor time of all processes, and of the time on the clock. Each runs in a
process of its own, as xappa's decoder does, so that its start counts.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bufr_messages import MISSING, message, write
from xappa.observations.readers.bufr.reader import read_bufr

pytest.importorskip("pytest_benchmark")

SYNOP = "real/synop-global-20181102/perf_synop.bufr"
TEMP = "real/temp-global-20081208/temp.bufr"
PLACE = "WMO_station_id,data_datetime,latitude,longitude"
SURFACE = (
    f"{PLACE},heightOfStation,airTemperatureAt2M,dewpointTemperatureAt2M,windSpeedAt10M,windDirectionAt10M,"
    "pressureReducedToMeanSeaLevel,nonCoordinatePressure,totalPrecipitationPast1Hour,totalPrecipitationPast3Hours,"
    "totalPrecipitationPast6Hours,totalPrecipitationPast12Hours,totalPrecipitationPast24Hours,"
    "maximumTemperatureAt2MPast12Hours,maximumTemperatureAt2MPast24Hours,minimumTemperatureAt2MPast12Hours,"
    "minimumTemperatureAt2MPast24Hours"
)
ALOFT = f"{PLACE},heightOfStation,pressure,airTemperature,dewpointTemperature,windSpeed,windDirection"
FLIGHTS = "aircraftFlightNumber,data_datetime,latitude,longitude,flightLevel,airTemperature,windSpeed,windDirection"
FILES = {"SYNOP": SURFACE, "TEMP": f"{ALOFT},nonCoordinateGeopotential", "AMDAR": FLIGHTS}

PDBUFR = """
import sys
import pdbufr
columns = sys.argv[2].split(",")
assert len(pdbufr.read_bufr(sys.argv[1], columns=columns, required_columns=["latitude", "longitude"]))
"""
ECCODES = """
import sys
import eccodes
with open(sys.argv[1], "rb") as file:
    while (handle := eccodes.codes_bufr_new_from_file(file)) is not None:
        eccodes.codes_set(handle, "unpack", 1)
        eccodes.codes_release(handle)
"""
CLOCKS = {"processor": lambda: sum(os.times()[:4]), "clock": time.perf_counter}


def amdar(path: Path, messages: int = 1500, size: int = 8) -> Path:
    """Reports of aircraft: messages of several, half of them compressed."""
    descriptors = [1006, 301011, 301013, 301021, 7010, 8004, 11001, 11002, 12101]
    made = []
    for number in range(messages):
        when = {"year": 2024, "month": 2, "day": 3, "hour": 12, "minute": number % 60, "second": MISSING}
        values = {f"#1#{key}": value for key, value in when.items()} | {"longitude": 8.0, "phaseOfAircraftFlight": 3}
        values |= {"latitude": [40.0 + i for i in range(size)], "flightLevel": [9000 + 10 * i for i in range(size)]}
        values |= {"airTemperature": [220.0 + i for i in range(size)], "windSpeed": [30.0 + i for i in range(size)]}
        values |= {"windDirection": 270, "aircraftFlightNumber": f"EU{number:04d}"}
        if number % 2:
            values = _unpacked(values, size)
        made.append(message(descriptors, values, category=4, subsets=size, compressed=not number % 2))
    return write(path, *made)


def _unpacked(values: dict[str, object], size: int) -> dict[str, object]:
    columns = {key.removeprefix("#1#"): v if isinstance(v, list) else [v] * size for key, v in values.items()}
    return {f"#{i + 1}#{key}": column[i] for key, column in columns.items() for i in range(size)}


@pytest.fixture(scope="module")
def flights(tmp_path_factory) -> Path:
    return amdar(tmp_path_factory.mktemp("bufr") / "amdar.bufr")


@pytest.mark.parametrize("tool", ["xappa", "pdbufr", "eccodes"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("clock", CLOCKS)
def test_read(benchmark, shared, flights, clock, name, tool):
    if importlib.util.find_spec("pdbufr") is None:
        pytest.skip("pdbufr is not installed")
    path = flights if name == "AMDAR" else shared({"SYNOP": SYNOP, "TEMP": TEMP}[name])
    programs = {"pdbufr": PDBUFR, "eccodes": ECCODES}

    def read() -> object:
        if tool == "xappa":
            return read_bufr(path)
        command = [sys.executable, "-W", "ignore", "-c", programs[tool], str(path), FILES[name]]
        return subprocess.run(command, check=True, capture_output=True)

    benchmark.group, benchmark._timer = f"{name}, {clock}", CLOCKS[clock]
    benchmark.pedantic(read, rounds=3, warmup_rounds=0)
