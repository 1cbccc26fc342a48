"""METAR bulletins to arrays; run as a program of its own, because MetPy changes pint's registry of the process.

    python -P metar_decode.py SOURCE TARGET DATE

reads the bulletins SOURCE, dates the reports next to DATE (ISO 8601) and writes the NumPy archive TARGET. It imports
nothing of xappa. Exit status 3 means that MetPy is not installed.
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np

# A report begins with its station and time, and ends with "=", an empty line, or where the next begins.
REPORT = re.compile(r"\b([A-Z][A-Z0-9]{3})\s+(\d{6})Z\b(.*?)(?==|\n\s*\n|\b[A-Z][A-Z0-9]{3}\s+\d{6}Z\b|\Z)", re.DOTALL)
PRECISE = re.compile(r"\bT([01])(\d{3})(?:([01])(\d{3}))?\b")
SEA_LEVEL = re.compile(r"\bSLP(\d{3})\b")
COLUMNS = ("temperature", "dewpoint", "wind_speed", "wind_direction", "altimeter", "sea_level")


def reports(text: str) -> Iterator[tuple[str, str, str]]:
    """Station, time (ddhhmm) and the rest of each report, on one line."""
    for station, time, rest in REPORT.findall(text):
        yield station, time, " ".join(rest.split())


def dated(time: str, near: datetime) -> np.datetime64:
    """The day, hour and minute ``ddhhmm`` in the month that brings it nearest to a date; NaT if there is none."""
    day, hour, minute = int(time[:2]), int(time[2:4]), int(time[4:])
    month = np.datetime64(near.strftime("%Y-%m"), "M")
    candidates = []
    for shift in (-1, 0, 1):
        first = month + shift
        days = ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")) // np.timedelta64(1, "D")
        if 1 <= day <= days and hour < 24 and minute < 60:
            candidates.append(first.astype("datetime64[D]") + (day - 1) + np.timedelta64(hour * 60 + minute, "m"))
    return min(candidates, key=lambda c: abs(c - np.datetime64(near))) if candidates else np.datetime64("NaT", "m")


def remarks(text: str) -> tuple[float, float, float]:
    """Temperature and dew point in tenths (degrees Celsius) and pressure at sea level (hPa), of the remarks."""
    temperature = dewpoint = pressure = np.nan
    if found := PRECISE.search(text):
        sign, tenths, other, more = found.groups()
        temperature = (-1 if sign == "1" else 1) * int(tenths) / 10
        if more is not None:
            dewpoint = (-1 if other == "1" else 1) * int(more) / 10
    if found := SEA_LEVEL.search(text):
        tenths = int(found.group(1))
        pressure = (900 if tenths >= 500 else 1000) + tenths / 10
    return temperature, dewpoint, pressure


def decode(text: str, near: datetime) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Columns of the reports, and counts."""
    from metpy.io.metar import ParseError, parse_metar

    rows: dict[str, list[float]] = {name: [] for name in COLUMNS}
    stations, times, corrected, broken = [], [], [], 0
    for station, time, rest in reports(text):
        if rest.startswith("NIL"):
            continue
        try:
            # Without tables of stations, which MetPy would fetch. The year and month do not matter here.
            report = parse_metar(f"{station} {time}Z {rest}", 2000, 1, station_metadata={})
        except (ParseError, ValueError, IndexError, AttributeError, TypeError):
            broken += 1
            continue
        temperature, dewpoint, pressure = remarks(report.remarks)
        stations.append(station)
        times.append(dated(time, near))
        corrected.append(bool(re.match(r"(AUTO )?CO?[RC][A-Z]?\b", rest)))
        rows["temperature"].append(report.temperature if np.isnan(temperature) else temperature)
        rows["dewpoint"].append(report.dewpoint if np.isnan(dewpoint) else dewpoint)
        rows["wind_speed"].append(report.wind_speed)
        rows["wind_direction"].append(report.wind_direction)
        rows["altimeter"].append(report.altimeter)
        rows["sea_level"].append(pressure)
    # Of several reports of a station and time the first is used: corrections come before what they correct.
    order = np.argsort(~np.array(corrected, dtype=bool), kind="stable")
    columns = {name: np.array(values, dtype=float)[order] for name, values in rows.items()}
    columns["station"] = np.array(stations, dtype=str)[order]
    columns["time"] = np.array(times, dtype="datetime64[s]")[order]
    return columns, {"reports": len(stations) + broken, "broken": broken}


def main(source: str, target: str, near: str) -> int:
    """Decode `source` into `target`; returns the exit status."""
    opened = gzip.open if source.endswith(".gz") else open
    with opened(source, "rt", errors="replace") as file:
        text = file.read()
    try:
        columns, counts = decode(text, datetime.fromisoformat(near))
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    contents: dict[str, Any] = {f"reports.{name}": column for name, column in columns.items()}
    contents |= {f"count.{name}": np.array(n) for name, n in counts.items()}
    with open(target, "wb") as archive:
        np.savez(archive, **contents)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
