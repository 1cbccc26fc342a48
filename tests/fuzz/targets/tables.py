"""Tables in memory and as Parquet: tidy, wide, of archives."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
import xarray as xr

from tests.fuzz.labelled import mutate_frame
from tests.fuzz.mutators import mutate_bytes
from tests.fuzz.oracle import absurd_reports, remarked_reports
from tests.fuzz.target import Target
from tests.fuzz.targets.delimited import WORDS, read, tidy, wide, without_units
from xappa.observations import read_observations


def seeds(folder: Path) -> Sequence[pd.DataFrame]:
    plain = pd.read_csv(io.StringIO(without_units(wide(quantities={"t2m": ("K", 280.5), "wind_speed": ("m/s", 3.0)}))))
    timed = plain.assign(time=pd.to_datetime(plain["time"]))
    aloft = pd.DataFrame(
        {
            "time": timed["time"][:4],
            "lat": 50.0,
            "lon": 8.0,
            "level": [1000.0, 850.0, 500.0, 250.0],
            "t": [280.0, 275.0, 253.0, 225.0],
        }
        | {"u": [3.0, 8.0, 20.0, 35.0], "v": [1.0, 2.0, 3.0, 4.0], "t_error": 0.8, "station": "10393"}
    )
    rain = pd.DataFrame(
        {
            "time": timed["time"][:4],
            "lat": 50.0,
            "lon": 8.0,
            "elev": 100.0,
            "total_precipitation": [0.0, 1.0, 2.0, 3.0],
            "period": "6h",
        }
    )
    return [plain, timed, aloft, rain, pd.read_csv(io.StringIO(tidy()))]


def mutate(seed: pd.DataFrame, rng: random.Random, folder: Path) -> pd.DataFrame:
    return mutate_frame(seed, rng, WORDS)


def mutate_file(seed: pd.DataFrame, rng: random.Random, folder: Path) -> Path:
    """A Parquet file of a damaged table, or a damaged file."""
    path, damaged = folder / "reports.parquet", rng.random() < 0.5
    with suppress(Exception):
        (seed if damaged else mutate_frame(seed, rng, WORDS)).to_parquet(path)
    if damaged or not path.exists():
        seed.to_parquet(path)
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    return path


def read_table(frame: pd.DataFrame) -> xr.Dataset:
    return read_observations(frame).load()


TARGETS = [
    Target("frame", seeds, mutate, read_table, absurd_reports, remarked_reports),
    Target("parquet", seeds, mutate_file, read, absurd_reports, remarked_reports),
]
