"""BUFR: SYNOP, soundings, buoys and radiances, compressed or not.

The decoder runs in the process of the fuzzer, which has the limits that its own one would have: its start takes a
second. ``bufr-process`` reads as users do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tests.bufr_messages import HEIGHT, STATION, message, station, write
from tests.fuzz.mutators import mutate_bytes
from tests.fuzz.oracle import absurd_reports, remarked_reports
from tests.fuzz.target import Target
from xappa.errors import ObservationError
from xappa.observations import read_observations
from xappa.observations.readers import decoders
from xappa.observations.readers.bufr import decode, reader


def seeds(folder: Path) -> Sequence[bytes]:
    surface = {f"#1#{HEIGHT}": 2.0, "#1#airTemperature": 280.5, "windSpeed": 5.0, "windDirection": 200.0}
    surface |= {"pressureReducedToMeanSeaLevel": 101300.0}
    elements = [7032, 12101, 11001, 11002, 10051]
    rain = {"timePeriod": -6, "totalPrecipitationOrTotalWaterEquivalent": 1.5}
    one = message([*STATION, *elements], station(**surface))
    several = message([*STATION, *elements], station(**surface), subsets=3, compressed=True)
    period = message([*STATION, 4024, 13011], station(**rain))
    levels = {"#1#pressure": 85000.0, "#1#airTemperature": 275.0, "#2#pressure": 50000.0, "#2#airTemperature": 250.0}
    sounding = message([*STATION, *[7004, 12101] * 2], station(**levels), category=2)
    files = [[one], [several], [period], [sounding], [one, several, period, sounding]]
    return [write(folder / f"{k}.bufr", *messages).read_bytes() for k, messages in enumerate(files)]


def mutate(seed: bytes, rng: random.Random, folder: Path) -> Path:
    path = folder / "reports.bufr"
    path.write_bytes(mutate_bytes(seed, rng) if rng.random() < 0.3 else _inside(seed, rng))
    return path


def _inside(data: bytes, rng: random.Random) -> bytes:
    """Damage between the mark and the end of a message, whose length is corrected: what a decoder gets to see."""
    start = rng.choice([k for k in range(len(data)) if data.startswith(b"BUFR", k)])
    length = int.from_bytes(data[start + 4 : start + 7], "big")
    body = mutate_bytes(data[start + 8 : start + length - 4], rng)
    size = (len(body) + 12).to_bytes(3, "big")
    return data[: start + 4] + size + data[start + 7 : start + 8] + body + b"7777" + data[start + length :]


class _Here(decoders.DecoderProcess):
    """The decoder in this process."""

    def __call__(self, source: Path, *options: Sequence[str]) -> tuple[list[decoders.Tables], str]:
        target = source.with_name("tables.npz")
        try:
            decode.main(str(source), str(target))
        except Exception as error:  # as an end with a status of its process
            raise ObservationError(f"{source}: the decoder failed: {error}") from error
        tables: dict[str, dict[str, Any]] = {}
        with np.load(target) as archive:
            for name in archive.files:
                table, _, column = name.partition(".")
                tables.setdefault(table, {})[column] = archive[name]
        return [tables], ""


def read(path: Path) -> xr.Dataset:
    reader.DecoderProcess = _Here
    return read_observations(path).load()


def read_by_process(path: Path) -> xr.Dataset:
    reader.DecoderProcess = decoders.DecoderProcess
    return read_observations(path).load()


TARGETS = [
    Target("bufr", seeds, mutate, read, absurd_reports, remarked_reports, weight=0.2),
    Target("bufr-process", seeds, mutate, read_by_process, absurd_reports, remarked_reports, weight=0.05),
]
