"""Observing networks of the twin experiments, for any state on a grid.

Each network is drawn as arrays (time, channel, cell, error deviation), which a method on the grid can use as they
are; `to_observations` says the same in the one CF form. Places of A, B and C are grid points, so that reading the
state there is exact. D has places of its own, between grid points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.errors import choose
from xappa.models.state import StateSpec
from xappa.vocabulary import VARIABLES

SURFACE = {
    "2m_temperature": 1.0,
    "10m_u_component_of_wind": 1.0,
    "10m_v_component_of_wind": 1.0,
    "mean_sea_level_pressure": 100.0,
}
UPPER_AIR = {"temperature": 1.0, "u_component_of_wind": 1.0, "v_component_of_wind": 1.0, "specific_humidity": 1e-3}
# What a station sees that a grid cell doesn't: added to the error of network D, in quadrature.
REPRESENTATIVENESS = {
    "2m_temperature": 1.0,
    "10m_u_component_of_wind": 1.0,
    "10m_v_component_of_wind": 1.0,
    "mean_sea_level_pressure": 50.0,
}


@dataclass(frozen=True)
class Reports:
    """Single values of a window that are observed, each at a time and a grid cell.

    Parameters
    ----------
    time, channel, cell : int array (M,)
        Number of the time in the window, of the channel, and of the cell (row * columns + column).
    error : float array (M,)
        Error deviation, in the channel's units.
    """

    time: np.ndarray
    channel: np.ndarray
    cell: np.ndarray
    error: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    def read(self, fields: np.ndarray) -> np.ndarray:
        """Values of fields (..., time, channel, latitude, longitude) at the reports: (..., M)."""
        flat = fields.reshape(*fields.shape[:-2], -1)
        return flat[..., self.time, self.channel, self.cell]

    def in_units_of(self, scale: np.ndarray) -> np.ndarray:
        """Error deviations divided by a scale (channel, latitude, longitude): (M,)."""
        return self.error / scale.reshape(len(scale), -1)[self.channel, self.cell]


def network(
    kind: str,
    spec: StateSpec,
    deviation: np.ndarray,
    *,
    land: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    times: int = 8,
    seed: int = 0,
) -> Reports:
    """Draw a network.

    Parameters
    ----------
    kind : {"A", "B", "C"}
        A: 415 columns, every 12 h counted from the first time. B: 230 points at the surface. C: 1 % of all values.
    spec : StateSpec
    deviation : array (channel,)
        Deviation of each channel's anomaly, in its units.
    land : array (latitude, longitude), optional
        Fraction of land (A: four times as dense over land).
    mask : bool array (channel, latitude, longitude), optional
        Where a channel exists; everywhere unless told.
    times : int, default 8
        Length of the window.
    seed : int, default 0
        Of the places.
    """
    draw = choose("network", kind, {"A": _columns, "B": _surface, "C": _values})
    _, height, width = spec.shape
    land = np.zeros((height, width)) if land is None else land
    mask = np.ones(spec.shape, bool) if mask is None else mask
    rng = np.random.default_rng([seed, ord(kind)])
    return draw(spec, np.asarray(deviation, float), land, mask, times, rng)  # type: ignore[operator]


def channel_deviation(scale: np.ndarray, latitude: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """One deviation a channel: the area-weighted root mean square of local ones (channel, latitude, longitude)."""
    weight = np.cos(np.deg2rad(latitude))[:, None] * (np.ones(scale.shape, bool) if mask is None else mask)
    square = np.where(weight > 0, np.asarray(scale, float) ** 2, 0)
    return np.sqrt((square * weight).sum((1, 2)) / weight.sum((1, 2)))


def draw_values(reports: Reports, truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """Reported values (M,): truth (time, channel, latitude, longitude) in physical units, with errors drawn."""
    noise = np.random.default_rng([seed, len(reports)]).standard_normal(len(reports))
    return reports.read(np.asarray(truth, float)) + reports.error * noise


def to_observations(
    reports: Reports, spec: StateSpec, times: np.ndarray, values: np.ndarray | None = None
) -> xr.Dataset:
    """The same reports in the one CF form: one row a time, place and level.

    Parameters
    ----------
    reports : Reports
    spec : StateSpec
    times : array (time,), datetime64
        Times of the window.
    values : array (M,), optional
        In physical units; zeros unless told (a network to be filled in by `observe`).
    """
    level = np.array([np.nan if lev is None else lev for _, lev in spec.channels], float)[reports.channel]
    keys = np.stack([reports.time, reports.cell, np.nan_to_num(level, nan=-1)], 1)
    rows, row = np.unique(keys, axis=0, return_inverse=True)
    row = row.reshape(-1)
    time, cell = rows[:, 0].astype(int), rows[:, 1].astype(int)
    latitude, longitude = _cells(spec)
    coords = {
        "time": ("obs", np.asarray(times)[time]),
        "latitude": ("obs", latitude[cell], {"units": "degrees_north", "standard_name": "latitude"}),
        "longitude": ("obs", longitude[cell], {"units": "degrees_east", "standard_name": "longitude"}),
        "station": ("obs", np.char.add("cell-", cell.astype(str))),
    }
    if any(lev is not None for _, lev in spec.channels):
        place = np.where(rows[:, 2] < 0, np.nan, rows[:, 2])
        coords["level"] = ("obs", place, {"units": "hPa", "standard_name": "air_pressure"})
    values = np.zeros(len(reports)) if values is None else values
    out = xr.Dataset(coords=coords)
    for name in spec.variables:
        of = np.isin(reports.channel, spec.of(name))
        if of.any():
            _add(out, name, row[of], values[of], reports.error[of])
    return out


def stations(
    spec: StateSpec,
    times: np.ndarray,
    land: np.ndarray,
    surface_height: np.ndarray,
    *,
    count: int = 1500,
    seed: int = 0,
) -> xr.Dataset:
    """Network D: stations between grid points, T2m at the station's height, in the one CF form with values 0.

    Over land 30 times as dense as over sea. A station's height is that of the model's surface (nearest cell) plus a
    normal number of deviation 150 m, at least 0. Fill in values with ``ds.appa.observe``.

    Parameters
    ----------
    spec : StateSpec
    times : array (time,), datetime64
    land : array (latitude, longitude)
        Fraction of land.
    surface_height : array (latitude, longitude)
        m.
    count, seed : int
        Number of stations, and the seed of their places.
    """
    rng = np.random.default_rng([seed, ord("D")])
    latitude, longitude = _cells(spec)
    cell = rng.choice(len(latitude), count, p=_normal(_area(spec) * (1 + 29 * land.ravel())))
    dy, dx = 180 / len(spec.latitude), 360 / len(spec.longitude)
    place = {
        "latitude": np.clip(latitude[cell] + dy * rng.uniform(-0.5, 0.5, count), -90, 90),
        "longitude": (longitude[cell] + dx * rng.uniform(-0.5, 0.5, count)) % 360,
        "altitude": np.maximum(surface_height.ravel()[cell] + 150 * rng.standard_normal(count), 0),
        "station": np.array([f"D{k:04d}" for k in range(count)]),
    }
    n = len(times)
    out = xr.Dataset(coords={name: ("obs", np.tile(column, n)) for name, column in place.items()})
    out = out.assign_coords(time=("obs", np.repeat(np.asarray(times), count)))
    out["altitude"].attrs["units"] = "m"
    for name, error in SURFACE.items():
        if name in spec.variables:
            full = np.full(n * count, np.hypot(error, REPRESENTATIVENESS[name]))
            _add(out, name, np.arange(n * count), np.zeros(n * count), full)
    return out


def _columns(
    spec: StateSpec, deviation: np.ndarray, land: np.ndarray, mask: np.ndarray, times: int, rng: np.random.Generator
) -> Reports:
    latitude, _ = _cells(spec)
    # Four times as dense over land, up to three times as dense in the north.
    density = _area(spec) * (1 + 3 * land.ravel()) * (2 + np.tanh(latitude / 15))
    cells = rng.choice(len(density), min(415, len(density)), replace=False, p=_normal(density))
    errors = {
        spec.index(name, level): error
        for name, error in UPPER_AIR.items()
        for level in spec.levels_of(name)
        if level >= (300 if name == "specific_humidity" else 100)
    }
    for channel in set(spec.of("specific_humidity")) & set(errors):
        errors[channel] = min(errors[channel], 0.3 * deviation[channel])
    if "mean_sea_level_pressure" in spec.variables:
        errors[spec.index("mean_sea_level_pressure")] = SURFACE["mean_sea_level_pressure"]
    every = max(1, 12 // spec.step_hours)
    return _product(np.arange(0, times, every), errors, cells)


def _surface(
    spec: StateSpec, deviation: np.ndarray, land: np.ndarray, mask: np.ndarray, times: int, rng: np.random.Generator
) -> Reports:
    area = _area(spec)
    cells = rng.choice(len(area), min(230, len(area)), replace=False, p=_normal(area))
    errors = {spec.index(name): error for name, error in SURFACE.items() if name in spec.variables}
    return _product(np.arange(times), errors, cells)


def _values(
    spec: StateSpec, deviation: np.ndarray, land: np.ndarray, mask: np.ndarray, times: int, rng: np.random.Generator
) -> Reports:
    there = np.flatnonzero(mask)
    count = round(0.01 * len(there))
    drawn = [np.sort(rng.choice(there, count, replace=False)) for _ in range(times)]
    channel, cell = np.divmod(np.concatenate(drawn), mask[0].size)
    return Reports(np.repeat(np.arange(times), count), channel, cell, 0.1 * deviation[channel])


def _product(times: np.ndarray, errors: dict[int, float], cells: np.ndarray) -> Reports:
    """All channels at all cells and times."""
    cells, channels = np.sort(cells), np.array(sorted(errors), int)
    time, channel, cell = (a.ravel() for a in np.meshgrid(times, channels, cells, indexing="ij"))
    return Reports(time, channel, cell, np.array([errors[int(c)] for c in channel]))


def _add(out: xr.Dataset, name: str, row: np.ndarray, values: np.ndarray, error: np.ndarray) -> None:
    variable = VARIABLES[name]
    standard = variable.standard_name
    for key, column, meaning in ((name, values, standard), (f"{name}_error", error, f"{standard} standard_error")):
        full = np.full(out.sizes["obs"], np.nan)
        full[row] = column
        out[key] = ("obs", full, {"units": variable.units, "standard_name": meaning})
    out[name].attrs["ancillary_variables"] = f"{name}_error"


def _cells(spec: StateSpec) -> tuple[np.ndarray, np.ndarray]:
    latitude, longitude = np.meshgrid(spec.latitude, spec.longitude, indexing="ij")
    return latitude.ravel(), longitude.ravel()


def _area(spec: StateSpec) -> np.ndarray:
    return np.cos(np.deg2rad(_cells(spec)[0])).clip(min=0)


def _normal(density: np.ndarray) -> np.ndarray:
    return density / density.sum()
