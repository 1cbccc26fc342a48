"""Archives of NOAA, Meteostat and IEM: GHCNh, GHCN-Daily, ISD, ISD-Lite, GSOD, as tables and as lines."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from tests import test_observations_archives as hourly
from tests import test_observations_daily_archives as daily
from tests.fuzz.mutators import encode, mutate_bytes, mutate_text
from tests.fuzz.oracle import absurd_reports, remarked_reports
from tests.fuzz.target import Target
from xappa.observations import read_observations

STATIONS = pd.DataFrame(
    {
        "station": ["010010-99999", "USW00024233", "KDSM", "10410"],
        "latitude": [70.9, 47.4, 41.5, 51.4],
        "longitude": [-8.7, -122.3, -93.7, 7.0],
        "elevation": [9.0, 112.5, 292.0, 150.0],
    }
)

DLY = "USW00024233201807TMAX" + "".join(f"{253 + day:5d}  W" for day in range(31)) + "\n"
DLY += "USW00024233201807PRCP" + "".join(f"{day:5d}T W" for day in range(28)) + "-9999   " * 3 + "\n"

ISD_TABLE = """\
STATION,DATE,LATITUDE,LONGITUDE,ELEVATION,WND,TMP,DEW,SLP,AA1
01001099999,2020-01-02T06:00:00,70.93,-8.67,9.0,"350,1,N,0123,1","-0034,1","-0061,1","10024,1","06,0030,9,1"
01001099999,2020-01-02T07:00:00,70.93,-8.67,9.0,"999,9,9,9999,9","+9999,9","-0050,2","99999,9",
"""
METEOSTAT = """\
station,date,hour,temp,dwpt,rhum,prcp,snow,wdir,wspd,wpgt,pres,tsun,coco
10410,2020-01-02,6,3.5,1.0,84,0.2,,250,18.0,,1012.3,,3
10410,2020-01-02,7,3.7,1.1,83,0.0,,255,17.0,,1012.1,,3
"""


def seeds(folder: Path) -> Sequence[tuple[str, str]]:
    lines = [hourly.isd("ADD", "AA106003091", "KA1120M-00501", "MA1102501100801", "REMSYN1234"), hourly.isd()]
    return [
        ("GHCNh_NOM00001001_por.psv", hourly.GHCNH),
        ("332130-99999-1950", "\n".join(lines) + "\n"),
        ("010010-99999-2020", hourly.LITE),
        ("01001099999.csv", ISD_TABLE),
        ("USW00024233.csv", daily.BY_STATION),
        ("2018.csv", daily.BY_YEAR),
        ("USW00024233.dly", DLY),
        ("gsod.csv", daily.GSOD),
        ("asos.txt", daily.IEM),
        ("10410.csv", METEOSTAT),
    ]


def mutate(seed: tuple[str, str], rng: random.Random, folder: Path) -> Path:
    name, text = seed
    path = folder / name
    damaged = mutate_bytes(text.encode(), rng) if rng.random() < 0.15 else encode(mutate_text(text, rng), rng)
    path.write_bytes(damaged)
    return path


def read(path: Path) -> xr.Dataset:
    return read_observations(path, stations=STATIONS).load()


TARGETS = [Target("archives", seeds, mutate, read, absurd_reports, remarked_reports)]
