"""METAR bulletins."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from tests.fuzz.mutators import encode, mutate_bytes, mutate_text
from tests.fuzz.oracle import absurd_reports, remarked_reports
from tests.fuzz.target import Target
from tests.test_observations_metar import BULLETIN
from xappa.observations import read_observations

GROUPS = (
    "AUTO", "24010G20KT", "200V280", "9999", "R25/1200", "-RA", "SCT030", "BKN100", "12/08", "Q0987", "A2992",
    "NOSIG", "RMK", "AO2", "SLP172", "P0012", "60010", "70020", "T10061050", "10005", "21010", "400021010",
    "PK WND 25030/1145", "$",
)  # fmt: skip

WORDS = (
    *GROUPS, "METAR", "SPECI", "TAF", "NIL=", "COR", "CCB", "RMK", "AUTO", "312360Z", "000000Z", "99999KT",
    "36099G100KT", "VRB99MPS", "M99/M99", "99/99", "///", "/////KT", "A9999", "A0000", "Q0000", "Q9999", "SLP999",
    "SLP000", "T19991999", "T09990999", "P9999", "69999", "79999", "19999", "29999", "419991999", "400000000",
    "60010", "70010", "P0000", "20191231 1200", "=", "KXYZ",
)  # fmt: skip

STATIONS = pd.DataFrame(
    {
        "icao": ["KRCM", "EDDF", "LFPG"],
        "lat": [38.8, 50.0, 49.0],
        "lon": [-93.8, 8.6, 2.5],
        "elev": [243.0, 100.0, 109.0],
    }
)

STAMPED = """2019/12/31 12:50
EDDF 311250Z 24010KT 9999 SCT030 12/08 Q0987

2019/12/31 12:53
KRCM 311253Z 27010G20KT 10SM CLR M01/M05 A3005 RMK AO2 SLP172 P0012 60010 70020 T10061050 10005 21010 400021010=
"""


def seeds(folder: Path) -> Sequence[str]:
    return [BULLETIN, STAMPED, " ".join(("METAR EDDF 311150Z", *GROUPS, "="))]


def mutate(seed: str, rng: random.Random, folder: Path) -> Path:
    path = folder / "sao_20191231_1200.txt"
    damaged = mutate_bytes(seed.encode(), rng) if rng.random() < 0.1 else encode(mutate_text(seed, rng, WORDS), rng)
    path.write_bytes(damaged)
    return path


def read(path: Path) -> xr.Dataset:
    return read_observations(path, stations=STATIONS).load()


TARGETS = [Target("metar", seeds, mutate, read, absurd_reports, remarked_reports)]
