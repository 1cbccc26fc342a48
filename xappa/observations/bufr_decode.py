"""BUFR reports to arrays; run as a program of its own, because ecCodes can take its process down.

    python -P bufr_decode.py SOURCE TARGET

reads the BUFR file SOURCE and writes the NumPy archive TARGET, with an array ``<table>.<column>`` for each column of
the tables below. It imports nothing of xappa, so that nothing else is in the process. Exit status 3 means that pdbufr
or ecCodes is not installed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

STATION = (
    "WMO_station_id",
    "shipOrMobileLandStationIdentifier",
    "WIGOS_station_id",
    "aircraftFlightNumber",
    "aircraftRegistrationNumberOrOtherIdentification",
    "stationaryBuoyPlatformIdentifierEGCManBuoys",
    "marineObservingPlatformIdentifier",
)
TIME = ("data_datetime", "typical_datetime")
PLACE = {
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "altitude": ("heightOfStationGroundAboveMeanSeaLevel", "heightOfStation"),
}
RAIN = "totalPrecipitationOrTotalWaterEquivalent"
# Each quantity under the names of the WMO template, and of ECMWF's older ones.
SURFACE = PLACE | {
    "2m_temperature": ("airTemperatureAt2M", "airTemperature"),
    "2m_dewpoint_temperature": ("dewpointTemperatureAt2M", "dewpointTemperature"),
    "10m_wind_speed": ("windSpeedAt10M", "windSpeed"),
    "10m_wind_from_direction": ("windDirectionAt10M", "windDirection"),
    "mean_sea_level_pressure": ("pressureReducedToMeanSeaLevel",),
    "surface_pressure": ("nonCoordinatePressure",),
    "sea_surface_temperature": ("oceanographicWaterTemperature", "seaSurfaceTemperature"),
    "precipitation_1": ("totalPrecipitationPast1Hour",),
    "precipitation_3": ("totalPrecipitationPast3Hours",),
    "precipitation_6": ("totalPrecipitationPast6Hours",),
    "precipitation_12": ("totalPrecipitationPast12Hours",),
    "precipitation_24": ("totalPrecipitationPast24Hours",),
    "maximum_12": ("maximumTemperatureAt2MPast12Hours",),
    "maximum_24": ("maximumTemperatureAt2MPast24Hours",),
    "minimum_12": ("minimumTemperatureAt2MPast12Hours",),
    "minimum_24": ("minimumTemperatureAt2MPast24Hours",),
}
ALOFT = PLACE | {
    "level": ("pressure",),
    "flight_level": ("flightLevel", "globalNavigationSatelliteSystemAltitude", "height"),
    "temperature": ("airTemperature",),
    "dewpoint_temperature": ("dewpointTemperature",),
    "relative_humidity": ("relativeHumidity",),
    "wind_speed": ("windSpeed",),
    "wind_from_direction": ("windDirection",),
    "geopotential": ("nonCoordinateGeopotential",),
    "geopotential_height": ("nonCoordinateGeopotentialHeight",),
    "north": ("latitudeDisplacement",),
    "east": ("longitudeDisplacement",),
    "later": ("timePeriod",),
}
RAINS = PLACE | {"hours": ("timePeriod",), "precipitation": (RAIN,)}
# BUFR table A: surface data of land and sea; soundings; satellite soundings; single levels; radiances.
TABLE_OF = {0: "surface", 1: "surface", 2: "aloft", 4: "aloft", 3: "radiance", 21: "radiance"}
SOUNDING = 2
# Descriptors, and sequences of them, that hold precipitation with its period.
RAINY = frozenset({13011, 302040, 302033, 307079, 307080, 307081, 307082, 307083, 307084, 307086, 307087, 308009})
BROKEN = 1000  # after as many faults the rest is given up
CHANNEL = ("tovsOrAtovsOrAvhrrInstrumentationChannelNumber", "channelNumber", "satelliteChannelNumber")
RADIANCE = "brightnessTemperature"

Row = dict[str, Any]
Tables = dict[str, list[Any]]


def decode(source: str) -> tuple[Tables, dict[str, int]]:
    """Rows (or, of radiances, arrays) of all messages that can be decoded, by table, and counts of messages."""
    from pdbufr.high_level_bufr.bufr import BufrFile

    counts = {"messages": 0, "messages_skipped": 0, "messages_broken": 0}
    tables: Tables = {"surface": [], "aloft": [], "radiance": [], "rain": []}
    rainy: set[int] = set()
    with BufrFile(source) as messages:
        wanted = surface_messages(messages, counts, tables, rainy)
        while True:
            try:
                for row in stream(wanted, SURFACE):
                    tables["surface"].append(row)
                break
            except StopIteration:
                break
            except Exception as error:  # one broken message must not take the others with it
                broken(counts, error)
                if counts["messages_broken"] > BROKEN:
                    break
    # On their own, because a quantity that comes again, over another period, makes another row of everything.
    if rainy:
        with BufrFile(source) as messages:
            for number, message in enumerate(until_the_end(messages), 1):
                if number in rainy:
                    with contextlib.suppress(Exception):  # counted above
                        tables["rain"] += stream([message], RAINS, RAIN)
    return tables, counts


def surface_messages(messages: Any, counts: dict[str, int], tables: Tables, rainy: set[int]) -> Iterator[Any]:
    """Messages of surface reports; the others are decoded here, or skipped and counted."""
    for message in until_the_end(messages, counts):
        counts["messages"] += 1
        category = int(message["dataCategory"])
        table = TABLE_OF.get(category)
        if table == "surface":
            if not RAINY.isdisjoint(np.atleast_1d(message["unexpandedDescriptors"]).tolist()):
                rainy.add(counts["messages"])
            yield message
        elif table is None:
            counts["messages_skipped"] += 1
            counts[f"category_{category}"] = counts.get(f"category_{category}", 0) + 1
        else:
            try:
                tables[table] += profile(message, category) if table == "aloft" else radiances(message)
            except Exception as error:
                broken(counts, error)


def until_the_end(messages: Any, counts: dict[str, int] | None = None) -> Iterator[Any]:
    """Messages of a file; what breaks between two of them is counted."""
    iterator, faults = iter(messages), 0
    while faults < BROKEN:
        try:
            message = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            faults += 1
            if counts is not None:
                counts["messages"] += 1
                broken(counts, error)
        else:
            yield message


def broken(counts: dict[str, int], error: Exception) -> None:
    """Count a message that cannot be decoded, and say why."""
    counts["messages_broken"] += 1
    print(f"message {counts['messages']}: {type(error).__name__}: {error}", file=sys.stderr)


def stream(messages: Any, numbers: dict[str, tuple[str, ...]], *required: str) -> Iterator[Row]:
    """Reports of messages as pdbufr gives them."""
    import pdbufr

    columns = [*STATION, *TIME, *(key for keys in numbers.values() for key in keys)]
    return iter(pdbufr.stream_bufr(messages, columns, required_columns=["latitude", "longitude", *required]))


def profile(message: Any, category: int) -> list[Row]:
    """Reports of one message that say at which level they are: by pressure, or of aircraft by flight level."""
    levels = ALOFT["level"] if category == SOUNDING else ALOFT["level"] + ALOFT["flight_level"]
    return [row for row in stream([message], ALOFT) if first(row, levels) is not None]


def radiances(message: Any) -> list[dict[str, np.ndarray]]:
    """Brightness temperatures (channel, pixel) of one compressed message, with places and times (pixel)."""
    message["unpack"] = 1
    if not int(message["compressedData"]):
        raise ValueError("radiances in uncompressed messages are not read")
    size = int(message["numberOfSubsets"])

    def column(key: str, kind: type = float) -> np.ndarray:
        return np.broadcast_to(np.asarray(message[key]).astype(kind), size)

    numbers, values, channel = [], [], None
    keys = list(message.keys())
    for key in keys:
        rank, _, name = key.rpartition("#")
        if key == "operator":  # what follows are statistics of the values, under the same names
            break
        if "->" in name:
            continue
        if name in CHANNEL:
            channel = int(np.asarray(message[key]).flat[0])
        elif name == RADIANCE and rank and channel is not None:
            numbers.append(channel)
            values.append(column(key))
            channel = None
    if not values:
        raise ValueError("no brightness temperature that belongs to a channel")
    parts = [column(key, int) for key in ("year", "month", "day", "hour", "minute")]
    date = np.array([f"{y:04d}-{m:02d}" for y, m in zip(parts[0], parts[1], strict=True)], dtype="datetime64[M]")
    minutes = (parts[2] - 1) * 1440 + parts[3] * 60 + parts[4]
    milliseconds = np.round(np.nan_to_num(column("second")) * 1000).clip(0, 60000).astype("timedelta64[ms]")
    time = date.astype("datetime64[ms]") + minutes.astype("timedelta64[m]") + milliseconds
    places = {"time": time, "latitude": column("latitude"), "longitude": column("longitude")}
    return [places | {"channel": np.array(numbers), "value": np.stack(values)}]


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Radiances of all messages, one row a pixel and channel; missing ones are left out."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("time", "latitude", "longitude", "channel", "value")}
    for part in parts:
        channel, pixel = np.nonzero((part["value"] > 0) & (part["value"] < 1e4))
        columns["channel"].append(part["channel"][channel].astype(float))
        columns["value"].append(part["value"][channel, pixel])
        for name in ("time", "latitude", "longitude"):
            columns[name].append(part[name][pixel])
    return {name: np.concatenate(arrays) for name, arrays in columns.items()} if parts else {}


def first(row: Row, keys: tuple[str, ...]) -> Any:
    """Value of the first key that has one."""
    return next((row[key] for key in keys if row.get(key) not in (None, "")), None)


def arrays(rows: list[Row], numbers: dict[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Columns of the reports: floats with NaN where missing, times in UTC, station names."""
    result: dict[str, np.ndarray] = {
        name: np.array([np.nan if (value := first(row, keys)) is None else float(value) for row in rows])
        for name, keys in numbers.items()
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
        tables, counts = decode(source)
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    contents: dict[str, Any] = {f"count.{name}": np.array(n) for name, n in counts.items()}
    for table, numbers in (("surface", SURFACE), ("aloft", ALOFT), ("rain", RAINS)):
        if tables[table]:
            contents |= {f"{table}.{name}": column for name, column in arrays(tables[table], numbers).items()}
    contents |= {f"radiance.{name}": column for name, column in joined(tables["radiance"]).items()}
    with open(target, "wb") as file:
        np.savez(file, **contents)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
