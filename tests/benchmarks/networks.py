"""Observing networks of the twin experiments, for any state on a grid.

Each network is drawn as arrays (time, channel, cell, error deviation), which a method on the grid can use as they
are; `to_observations` says the same in the one CF form. Places of A, B, C and E are grid points, so that reading the
state there is exact. D, F and G have places of their own, in the one CF form; H is A, D, F and G.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xappa import platforms
from xappa.errors import choose
from xappa.model.state import StateSpec
from xappa.observations.schema import set_error
from xappa.operators import Sounder
from xappa.platforms import random_places
from xappa.platforms.domain import NetworkDomain
from xappa.platforms.gridded import build_single_values
from xappa.platforms.schema import build_network, repeat_places

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


Draw = Callable[[StateSpec, np.ndarray, np.ndarray, np.ndarray, int, np.random.Generator], Reports]


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
    kind : str
        A: 415 columns, every 12 h counted from the first time. B: 230 points at the surface. C: 1 % of all values.
        E-0.1%, E-1%, E-5%, E-10%: that share of all columns, as A with the surface, at all times.
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
    draw = choose("network", kind, GRIDDED)
    _, height, width = spec.shape
    land = np.zeros((height, width)) if land is None else land
    mask = np.ones(spec.shape, bool) if mask is None else mask
    rng = np.random.default_rng([seed, ord(kind[0])])
    return draw(spec, np.asarray(deviation, float), land, mask, times, rng)


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
    obs, errors = (
        build_single_values(spec, times, reports.time, reports.channel, reports.cell, reported)
        for reported in (values, reports.error)
    )
    for name in list(errors.data_vars):
        obs = set_error(obs, str(name), errors[name])
    return obs


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
    latitude, longitude = np.array(spec.latitude), np.array(spec.longitude)
    cell = random_places.draw_cells(_area(spec) * (1 + 29 * land.ravel()), count, rng, replace=True)
    y, x = random_places.draw_within_cells(cell, latitude, longitude, rng)
    where = {
        "latitude": y,
        "longitude": x,
        "altitude": np.maximum(surface_height.ravel()[cell] + 150 * rng.standard_normal(count), 0),
        "station": np.array([f"D{k:04d}" for k in range(count)]),
    }
    errors = {n: float(np.hypot(e, REPRESENTATIVENESS[n])) for n, e in SURFACE.items() if n in spec.variables}
    return build_network(repeat_places(where, np.asarray(times)), list(errors), errors)


def sounder(ds: xr.Dataset, *, spacing: float = 1.0, seed: int = 0) -> xr.Dataset:
    """Network F: a polar orbit, footprints of 1 degree thinned to the grid, 8 layer-mean temperatures of 0.5 K each.

    Rows hold ``brightness_temperature`` with ``channel`` 1 to 8. The operator is that of
    `OPERATORS`: means of temperature over `LAYERS`.
    """
    return platforms.swaths(
        ds,
        "metop",
        variables=["brightness_temperature"],
        width=2200,
        spacing=spacing,
        thin=True,
        channels=8,
        errors={"brightness_temperature": 0.5},
        seed=np.random.default_rng([seed, ord("F")]),
    )


def scatterometer(ds: xr.Dataset, *, spacing: float = 1.0, seed: int = 0) -> xr.Dataset:
    """Network G: a polar orbit, sea only, 10 m wind speed with an error of 1.5 m/s; the operator is `wind_speed`."""
    return platforms.swaths(
        ds,
        "metop",
        variables=["10m_wind_speed"],
        width=1800,
        gap=700,
        spacing=spacing,
        over="sea",
        errors={"10m_wind_speed": 1.5},
        seed=np.random.default_rng([seed, ord("G")]),
    )


def wind_speed(state: xr.Dataset) -> xr.DataArray:
    """Operator of network G, a plain function of the state."""
    return ((state["10m_u_component_of_wind"] ** 2 + state["10m_v_component_of_wind"] ** 2) ** 0.5).rename(
        "10m_wind_speed"
    )


LAYERS = {channel: (float(peak), 0.5) for channel, peak in enumerate(np.geomspace(900, 150, 8).round(), start=1)}
"""Channels of network F: pressure of the weighting function's peak (hPa) and width in the logarithm of pressure."""

OPERATORS: dict[str, Any] = {
    "A": "interpolate",
    "D": "interpolate",
    # A footprint of 1 degree is smaller than the nature run's cells: it is read at its centre.
    "F": Sounder(LAYERS),
    "G": wind_speed,
}
"""How the networks of H are read."""


def all_networks(ds: xr.Dataset, spec: StateSpec, deviation: np.ndarray, *, seed: int = 0) -> dict[str, xr.Dataset]:
    """Network H: A, D, F and G together, by letter; see `OPERATORS` for how each is read.

    Parameters
    ----------
    ds : Dataset
        The truth: gives times, land fraction and height of the surface, on the grid of `spec`.
    spec : StateSpec
    deviation : array (channel,)
        Deviation of each channel's anomaly, in its units.
    seed : int
    """
    ground = NetworkDomain.from_dataset(ds)
    assert ground.land is not None and ground.height is not None
    columns = network("A", spec, deviation, land=ground.land, times=len(ground.times), seed=seed)
    return {
        "A": to_observations(columns, spec, ground.times),
        "D": stations(spec, ground.times, ground.land, ground.height, seed=seed),
        "F": sounder(ds, seed=seed),
        "G": scatterometer(ds, seed=seed),
    }


def _columns(
    spec: StateSpec, deviation: np.ndarray, land: np.ndarray, mask: np.ndarray, times: int, rng: np.random.Generator
) -> Reports:
    latitude, _ = _cells(spec)
    # Four times as dense over land, up to three times as dense in the north.
    density = _area(spec) * (1 + 3 * land.ravel()) * (2 + np.tanh(latitude / 15))
    errors = _sounding_errors(spec, deviation, ("mean_sea_level_pressure",))
    every = max(1, 12 // spec.step_hours)
    return _product(np.arange(0, times, every), errors, random_places.draw_cells(density, 415, rng))


def _sounding_errors(spec: StateSpec, deviation: np.ndarray, surface: Iterable[str]) -> dict[int, float]:
    """Error of each channel that a sounding reports."""
    errors = {
        spec.index(name, level): error
        for name, error in UPPER_AIR.items()
        for level in spec.levels_of(name)
        if level >= (300 if name == "specific_humidity" else 100)
    }
    for channel in set(spec.of("specific_humidity")) & set(errors):
        errors[channel] = min(errors[channel], 0.3 * deviation[channel])
    return errors | {spec.index(name): SURFACE[name] for name in surface if name in spec.variables}


def _shares(fraction: float) -> Draw:
    """Network E with that fraction of the grid's columns, uniform on the sphere, as A and B together every 6 h."""

    def draw(
        spec: StateSpec, deviation: np.ndarray, land: np.ndarray, mask: np.ndarray, times: int, rng: np.random.Generator
    ) -> Reports:
        area = _area(spec)
        cells = random_places.draw_cells(area, max(1, round(fraction * len(area))), rng)
        return _product(np.arange(times), _sounding_errors(spec, deviation, SURFACE), cells)

    return draw


def _surface(
    spec: StateSpec, deviation: np.ndarray, land: np.ndarray, mask: np.ndarray, times: int, rng: np.random.Generator
) -> Reports:
    cells = random_places.draw_cells(_area(spec), 230, rng)
    errors = {spec.index(name): error for name, error in SURFACE.items() if name in spec.variables}
    return _product(np.arange(times), errors, cells)


def _values(
    spec: StateSpec, deviation: np.ndarray, land: np.ndarray, mask: np.ndarray, times: int, rng: np.random.Generator
) -> Reports:
    time, channel, cell = random_places.draw_values(mask, 0.01, times, rng)
    return Reports(time, channel, cell, 0.1 * deviation[channel])


def _product(times: np.ndarray, errors: dict[int, float], cells: np.ndarray) -> Reports:
    """All channels at all cells and times."""
    cells, channels = np.sort(cells), np.array(sorted(errors), int)
    time, channel, cell = (a.ravel() for a in np.meshgrid(times, channels, cells, indexing="ij"))
    return Reports(time, channel, cell, np.array([errors[int(c)] for c in channel]))


def _cells(spec: StateSpec) -> tuple[np.ndarray, np.ndarray]:
    latitude, longitude = np.meshgrid(spec.latitude, spec.longitude, indexing="ij")
    return latitude.ravel(), longitude.ravel()


def _area(spec: StateSpec) -> np.ndarray:
    return random_places.compute_relative_area(_cells(spec)[0])


GRIDDED: dict[str, Draw] = {"A": _columns, "B": _surface, "C": _values}
GRIDDED |= {f"E-{percent:g}%": _shares(percent / 100) for percent in (0.1, 1, 5, 10)}
"""Networks of grid points, by name."""
