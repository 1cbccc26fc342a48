"""Tables of text: comma, tab, semicolon and blank separated, with headers and rows of units, tidy and wide."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

from tests.fuzz.mutators import encode, mutate_bytes, mutate_text
from tests.fuzz.oracle import absurd_reports, remarked_reports
from tests.fuzz.target import Target
from xappa.observations import read_observations

WORDS = (
    "time", "date", "hour", "latitude", "lat", "longitude", "lon", "elev", "altitude", "height", "level", "pressure",
    "station", "variable", "observation", "error", "units", "period", "t2m", "2m_temperature", "temperature", "msl",
    "u10", "v10", "wind_speed", "wind_direction", "dew_point", "relative_humidity", "precipitation", "sst", "depth",
    "qc", "t2m_qc", "K", "degC", "hPa", "Pa", "m s-1", "kt", "%", "mm", "0.1 degC", "t2m (degC)", "year", "month",
    "day", "doy", "minute", "valid_time", "timePeriod", "-6h", "PT6H",
)  # fmt: skip


_WIND = {"wind_speed": ("m/s", 3.5), "wind_direction": ("degrees", 40.0)}
_MASS = {"t2m": ("degC", 7.5), "msl": ("hPa", 1013.2)}


def wide(mark: str = ",", decimal: str = ".", quantities: Mapping[str, tuple[str, float]] = _MASS) -> str:
    """A few stations, one column a quantity, with a row of units."""
    lines = [["time", "lat", "lon", "elev", "station", *quantities]]
    lines.append(["", "degrees", "degrees", "m", "", *(units for units, _ in quantities.values())])
    for k in range(5):
        numbers = [50.0 + k, 4.5 * k, 100.0 * k, 10433 + k, *(value + k for _, value in quantities.values())]
        lines.append([f"2018-11-02T{12 + k}:00", *(str(number).replace(".", decimal) for number in numbers)])
    return "\n".join(mark.join(line) for line in lines) + "\n"


def without_units(text: str) -> str:
    """The same without the row of units."""
    return "\n".join(line for line in text.split("\n") if "degrees" not in line)


def tidy() -> str:
    """One row a value, with levels, errors, units and periods."""
    rows = ["time,lat,lon,elev,station,level,variable,observation,error,units,period"]
    for k in range(4):
        head = f"2018-11-02T{10 + k}:00,{40 + k},{-10 * k},{50 * k},S{k}"
        rows += [f"{head},,2m_temperature,{8.5 + k},1.0,degC,", f"{head},{500 + k},temperature,{250 + k},0.7,K,"]
        rows += [f"{head},,total_precipitation,{k},0.5,mm,6h", f"{head},,mean_sea_level_pressure,{1010 + k},1,hPa,"]
    return "\n".join(rows) + "\n"


def parts_of_time() -> str:
    """Times from columns, heights of sensors, codes of quality."""
    rows = ["# made for tests", "year month day hour lat lon height t2m t2m_qc u10 v10 precipitation period"]
    rows += [f"2018 11 {2 + k} 06 {-30.5 + k} {150 + k} 2.0 {290.5 + k} 1 {k} {-k} 0.00{k} 6h" for k in range(5)]
    return "\n".join(rows) + "\n"


def seeds(folder: Path) -> Sequence[tuple[str, str]]:
    tables = {
        "wide.csv": without_units(wide(quantities={"t2m": ("K", 280.5), "msl": ("Pa", 101320.0)})),
        "wind.tsv": wide("\t", quantities=_WIND),
        "units.csv": wide(),
        "decimal.csv": wide(";", ","),
        "tidy.csv": tidy(),
        "parts.txt": parts_of_time(),
    }
    return [*tables.items()]


def mutate(seed: tuple[str, str], rng: random.Random, folder: Path) -> Path:
    name, text = seed
    path = folder / name
    if rng.random() < 0.1:
        path.write_bytes(mutate_bytes(text.encode(), rng))
    else:
        path.write_bytes(encode(mutate_text(text, rng, WORDS), rng))
    return path


def read(path: Path) -> xr.Dataset:
    return read_observations(path).load()


TARGETS = [Target("csv", seeds, mutate, read, absurd_reports, remarked_reports)]
