"""Checks of what is observed: satellite, stations, create_masks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.official.runner import ResultRow, compare, compare_sets, load, register
from xappa.errors import DatasetError
from xappa.platforms import ORBITS, Orbit, satellite_steps, split, station_cells

EDGE = 1e-3
"""Share of grid points that may differ: those at the very edge of what is seen, by rounding."""
SHAPE = (721, 1440)
_NAMES = {"default": "leo"}
_SEEDS = 10_000


@dataclass(frozen=True)
class Instrument:
    """A satellite as official configurations describe it, and the grid it looks at."""

    orbit: Orbit
    per_hour: int = 60
    radius: float = 5.0
    shape: tuple[int, int] = SHAPE

    @classmethod
    def of(cls, values: Mapping[str, Any], shape: tuple[int, int] = SHAPE) -> Instrument:
        """From an official configuration."""
        orbit = Orbit(*(float(values[key]) for key in ("orbital_altitude", "inclination", "initial_phase")))
        return cls(orbit, int(values.get("obs_freq", 60)), float(values.get("fov", 5)), shape)

    def cells(
        self, steps: Iterable[int], step_hours: int = 1, delay: float = 0.0, radius: float | None = None
    ) -> list[Tensor]:
        """Grid points seen at each step."""
        rows, columns = self.shape
        latitude, longitude = np.linspace(90, -90, rows), 360 / columns * np.arange(columns)
        radius = self.radius if radius is None else radius
        seen = satellite_steps(
            self.orbit,
            latitude,
            longitude,
            steps,
            step_hours=step_hours,
            delay=delay,
            per_hour=self.per_hour,
            radius=radius,
        )
        return [torch.from_numpy(cells) for cells in seen]


@register("satellite", recognise=lambda f: any(key.startswith("orbit_") for key in f.keys))
def check_satellite(folder: Path) -> Iterator[ResultRow]:
    """Orbits ``orbit_<name>[_delay<h>][_f<per hour>]``, grid points ``sat_<name>[_fov<>][_dt<>][_delay<>]_<n>``."""
    config, io = load(folder)
    for name, expected in io.items():
        parts = name.split("_")
        matches = [m for part in parts if (m := re.fullmatch(r"(fov|dt|delay|f)([\d.]+)", part))]
        options: dict[str, str] = {m[1]: m[2] for m in matches}
        named = next((p for p in parts[1:] if not re.fullmatch(r"(fov|dt|delay|f)?[\d.]+", p)), "default")
        instrument, delay = _instrument(config, named), float(options.get("delay", 0))
        instrument = replace(instrument, per_hour=int(options.get("f", instrument.per_hour)))
        if parts[0] == "orbit":
            hours, per_hour = expected.shape[:2]
            track = instrument.orbit.compute_track(delay + np.arange(hours * per_hour) / per_hour)
            found = torch.from_numpy(np.stack(track, -1)).reshape(expected.shape)
            yield compare(folder, name, found, expected)
        elif parts[0] == "sat":
            step, dt, radius = int(parts[-1]), int(options.get("dt", 1)), float(options.get("fov", instrument.radius))
            yield compare_sets(folder, name, instrument.cells([step], dt, delay, radius)[0], expected, EDGE)


@register("stations", recognise=lambda f: {"flat", "lat", "lon"} <= f.keys)
def check_stations(folder: Path) -> Iterator[ResultRow]:
    """Grid points of stations."""
    config, io = load(folder)
    step = 360 / config.get("shape", SHAPE)[1]
    found = torch.from_numpy(station_cells(io["lat"].numpy(), io["lon"].numpy(), step))
    yield compare(folder, "flat", found, io["flat"])


@register("create_masks", recognise=lambda f: {"split_seed", "st_assim"} <= f.keys)
def check_masks(folder: Path) -> Iterator[ResultRow]:
    """Grid points and variances of an official network: satellites by step, stations split in two."""
    config, io = load(folder)
    for entry in config["config"]:
        steps = _satellite_masks if entry["type"] == "satellite" else _station_masks
        yield from steps(folder, config, entry, io)
    if "st5k_assim" in io:
        yield from _split(folder, io, "st5k", "5k", _seed_of(folder, io), len(io["st5k_valid"]))


def _instrument(config: Mapping[str, Any], name: str) -> Instrument:
    """A satellite that the folder or the package knows by name."""
    shape = tuple(config.get("shape", SHAPE))
    if name in config:
        return Instrument.of(config[name], shape)  # type: ignore[arg-type]
    if _NAMES.get(name, name) not in ORBITS:
        known = ", ".join([*ORBITS, *config])
        raise DatasetError(f"The orbit {name!r} is neither in config.json nor known; expected one of {known}")
    return Instrument(ORBITS[_NAMES.get(name, name)], shape=shape)  # type: ignore[arg-type]


def _satellite_masks(
    folder: Path, config: Mapping[str, Any], entry: Mapping[str, Any], io: Mapping[str, Tensor]
) -> Iterator[ResultRow]:
    instrument = Instrument.of(entry["config"], tuple(config.get("shape", SHAPE)))  # type: ignore[arg-type]
    default = Instrument(ORBITS["leo"], shape=instrument.shape)
    period = range(config["num_steps"]), config["trajectory_dt"], config["delay"]
    for step, (cells, usual) in enumerate(zip(instrument.cells(*period), default.cells(*period), strict=True)):
        same = np.intersect1d(cells, usual)
        sizes = {"sat_cov_len": len(cells), "sat_equal_default": len(same)}
        for name, size in sizes.items():
            if (key := f"{name}_{step}") in io:
                yield compare(folder, key, torch.tensor([size]), io[key], EDGE)
        if (key := f"sat_cov_first_{step}") in io:
            yield compare(folder, key, _variances(entry, len(cells), io[key]), io[key])


def _station_masks(
    folder: Path, config: Mapping[str, Any], entry: Mapping[str, Any], io: Mapping[str, Tensor]
) -> Iterator[ResultRow]:
    values = entry["config"]
    held_out = int(values.get("num_valid_stations", 0))
    yield from _split(folder, io, "st", values["num_stations"], int(io["split_seed"]), held_out)
    if "st_cov_first" in io:
        yield compare(
            folder, "st_cov_first", _variances(entry, len(io["st_assim"]), io["st_cov_first"]), io["st_cov_first"]
        )


def _split(
    folder: Path, io: Mapping[str, Tensor], prefix: str, mask: str, seed: int, held_out: int
) -> Iterator[ResultRow]:
    assimilated, withheld = (torch.from_numpy(part) for part in split(_mask(folder, mask), held_out, seed))
    found = {"assim": assimilated, "valid": withheld, "cov_len": torch.tensor([len(assimilated)])}
    for name, value in found.items():
        if (key := f"{prefix}_{name}") in io:
            yield compare(folder, key, value, io[key])


def _mask(folder: Path, name: str) -> np.ndarray:
    """Grid points of the official stations, from the file beside the folder."""
    file = folder.resolve().parent / "station_masks_real.npz"
    if not file.is_file():
        raise DatasetError(f"{file} is not there; expected the official station masks in it, as mask_{name}")
    with np.load(file) as masks:
        return masks[f"mask_{name}"]


def _seed_of(folder: Path, io: Mapping[str, Tensor]) -> int:
    """Seed of the second split, which the folder does not say: the one that holds out the same cells first."""
    mask, first = _mask(folder, "5k"), io["st5k_valid"][:2].tolist()
    place = {cell: position for position, cell in enumerate(mask.tolist())}
    candidates = [int(io["split_seed"]), *range(_SEEDS)]
    for seed in candidates:
        draw = int(np.random.RandomState(seed).randint(0, 2**32, 1, np.uint32)[0])
        if draw % len(mask) == place.get(first[0]) and split(mask, 2, seed)[1].tolist() == first:
            return seed
    return candidates[0]


def _variances(entry: Mapping[str, Any], size: int, expected: Tensor) -> Tensor:
    """The first variances of an instrument's reports: all are the same."""
    return torch.full((min(len(expected), size),), float(entry["covariance"]))
