"""BUFR surface reports to arrays; run as a program of its own, because ecCodes can take its process down.

    python -P bufr_decode.py SOURCE TARGET

reads the BUFR file SOURCE and writes the NumPy archive TARGET. It imports nothing of xappa, so that nothing else is in
the process. Exit status 3 means that pdbufr or ecCodes is not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

STATION = ("WMO_station_id", "shipOrMobileLandStationIdentifier", "WIGOS_station_id")
TIME = ("data_datetime", "typical_datetime")
# Each quantity under the names of the WMO template, and of ECMWF's older ones.
NUMBERS = {
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "altitude": ("heightOfStationGroundAboveMeanSeaLevel", "heightOfStation"),
    "2m_temperature": ("airTemperatureAt2M", "airTemperature"),
    "10m_wind_speed": ("windSpeedAt10M", "windSpeed"),
    "10m_wind_from_direction": ("windDirectionAt10M", "windDirection"),
    "mean_sea_level_pressure": ("pressureReducedToMeanSeaLevel",),
    "surface_pressure": ("nonCoordinatePressure",),
}
SURFACE = (0, 1)  # BUFR table A: surface data, land and sea


def surface_messages(messages: Any, counts: dict[str, int]) -> Iterator[Any]:
    """Messages of surface reports; the others are counted."""
    for message in messages:
        counts["messages"] += 1
        category = int(message["dataCategory"])
        if category in SURFACE:
            yield message
        else:
            counts["messages_skipped"] += 1
            counts[f"category_{category}"] = counts.get(f"category_{category}", 0) + 1


def decode(source: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Rows of all reports that can be decoded, and counts of messages."""
    import pdbufr
    from pdbufr.high_level_bufr.bufr import BufrFile

    columns = [*STATION, *TIME, *(key for keys in NUMBERS.values() for key in keys)]
    counts = {"messages": 0, "messages_skipped": 0, "messages_broken": 0}
    rows: list[dict[str, Any]] = []
    with BufrFile(source) as messages:
        wanted = surface_messages(messages, counts)
        while True:
            try:
                rows.extend(pdbufr.stream_bufr(wanted, columns, required_columns=["latitude", "longitude"]))
                return rows, counts
            except Exception as error:  # one broken message must not take the others with it
                counts["messages_broken"] += 1
                print(f"message {counts['messages']}: {type(error).__name__}: {error}", file=sys.stderr)


def first(row: dict[str, Any], keys: tuple[str, ...]) -> Any:
    """Value of the first key that has one."""
    return next((row[key] for key in keys if row.get(key) not in (None, "")), None)


def arrays(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Columns of the reports: floats with NaN where missing, times in UTC, station names."""
    result: dict[str, np.ndarray] = {
        name: np.array([np.nan if (value := first(row, keys)) is None else float(value) for row in rows])
        for name, keys in NUMBERS.items()
    }
    times = [first(row, TIME) for row in rows]
    result["time"] = np.array(
        [np.datetime64("NaT") if time is None else time for time in times], dtype="datetime64[us]"
    )
    stations = [first(row, STATION) for row in rows]
    result["station"] = np.array(
        ["" if s is None else f"{s:05d}" if isinstance(s, int) else str(s).strip() for s in stations], dtype=str
    )
    return result


def main(source: str, target: str) -> int:
    """Decode `source` into `target`; returns the exit status."""
    try:
        rows, counts = decode(source)
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    with open(target, "wb") as file:
        contents: dict[str, Any] = arrays(rows) | {f"count_{name}": np.array(n) for name, n in counts.items()}
        np.savez(file, **contents)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
