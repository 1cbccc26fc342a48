"""Polar-orbiting instruments: footprints on both sides of a satellite's track."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.argument_types import check_arguments
from xappa.errors import ObservationError, OptionError
from xappa.observations.errors.tables import Errors
from xappa.platforms.domain import NetworkDomain
from xappa.platforms.orbit import KM_A_DEGREE, Orbit, choose_orbit, offset_across_track
from xappa.platforms.schema import build_network

WIDEST = 40_000.0
"""Width of a swath that goes around the Earth, km."""
MOST_ROWS = 1e8
"""Observations of one swath, all channels counted."""


@check_arguments
def swaths(
    ds: xr.Dataset,
    orbit: str | Orbit = "metop",
    *,
    variables: Iterable[str] = ("10m_u_component_of_wind", "10m_v_component_of_wind"),
    width: float = 1800.0,
    gap: float = 0.0,
    spacing: float = 1.0,
    over: str | None = None,
    thin: bool = False,
    channels: int | None = None,
    errors: Errors | None = None,
    seed: int | np.random.Generator | None = None,
) -> xr.Dataset:
    """Footprints of one satellite, from the first to the last time of a Dataset, each at the time it is passed.

    Parameters
    ----------
    ds : Dataset
        Gives times, grid and land fraction. Its values aren't read.
    orbit : str or Orbit, default "metop"
        ``"leo"`` (800 km, 75 degrees; the official experiments'), ``"iss"``, ``"metop"``, or one of your own.
    variables : iterable of str
        Measured quantities; default the components of the 10 m wind, as a scatterometer gives them.
    width, gap : float, default 1800 and 0
        Extent of the swath across the track, and of the part under the satellite that isn't seen, km.
    spacing : float, default 1
        Distance of footprints along and across the track, degrees of a great circle.
    over : {"sea", "land"}, optional
        Where footprints are kept: where the nearest grid point of `ds` is mostly sea or land.
    thin : bool, default False
        Keep the first footprint in each grid cell and about each time of `ds`.
    channels : int, optional
        Channels of the instrument: every footprint has a row for each. ``channel`` tells them apart, from 1.
    errors : mapping, str or float, optional
        See `stations`.
    seed : int or numpy Generator, optional
        Of the age of the orbit at the first time (0 to 24 h). Default: 0 h, where the satellite crosses the equator
        southward at 180 degrees west plus the phase of the orbit.

    Returns
    -------
    Dataset
        Observations in the schema: 0 where something is to be observed.

    Raises
    ------
    OptionError
        If a name or number is not valid.
    DatasetError
        If `over` is asked for and `ds` does not say where land is.
    ObservationError
        If `ds` has one time only, or no footprint is left.
    """
    ground = NetworkDomain.from_dataset(ds)
    names = ground.select_variables(variables)
    _require_options(width, gap, spacing, over, channels)
    age = 0.0 if seed is None else float(np.random.default_rng(seed).uniform(0, 24))
    platform = choose_orbit(orbit)
    _require_size(ground, platform, width, spacing, channels)
    where = _compute_footprints(ground, platform, age, _compute_offsets(width, gap, spacing), spacing)
    row, column = ground.find_nearest(where["latitude"], where["longitude"])
    kept = np.ones(len(row), bool)
    if over is not None:
        kept &= ground.is_sea[row, column] == (over == "sea")
    if thin:
        kept &= _find_first_in_cell(ground, where["time"], row, column, kept)
    where = {name: column[kept] for name, column in where.items()}
    if not len(where["time"]):
        raise ObservationError("No footprint is left: the satellite passes nothing of what is asked for in these times")
    if channels is not None:
        where = {name: np.repeat(column, channels) for name, column in where.items()}
        where["channel"] = np.tile(np.arange(1, channels + 1), len(where["time"]) // channels)
    return build_network(where, names, errors)


def _require_options(width: float, gap: float, spacing: float, over: str | None, channels: int | None) -> None:
    problems = []
    if not (WIDEST >= width > gap >= 0):
        problems.append(
            f"width={width!r} and gap={gap!r}; expected a width above the gap, up to {WIDEST:g}, and a gap of 0 or "
            "more, in km"
        )
    if not 0 < spacing <= 90:
        problems.append(f"spacing={spacing!r}; expected degrees above 0, up to 90")
    if over not in (None, "sea", "land"):
        problems.append(f"over={over!r}; expected 'sea', 'land' or None")
    if channels is not None and channels < 1:
        problems.append(f"channels={channels!r}; expected 1 or more")
    if problems:
        raise OptionError("; ".join(problems))


def _require_size(ground: NetworkDomain, orbit: Orbit, width: float, spacing: float, channels: int | None) -> None:
    """Refuse more rows than `MOST_ROWS`, before they take memory."""
    hours = float((ground.times[-1] - ground.times[0]) / np.timedelta64(1, "h"))
    along, across = hours / (spacing / 360 * orbit.period) + 1, width / KM_A_DEGREE / spacing + 1
    if (count := along * across * (channels or 1)) > MOST_ROWS:
        raise OptionError(
            f"spacing={spacing!r}, width={width!r} and channels={channels!r} make {count:.3g} observations; expected "
            f"at most {MOST_ROWS:.0e}: choose a wider spacing, fewer channels or a shorter time"
        )


def _compute_offsets(width: float, gap: float, spacing: float) -> Array:
    """Distances of the footprints from the track, degrees: in the middle of strips of width `spacing`."""
    half, inner = width / 2 / KM_A_DEGREE, gap / 2 / KM_A_DEGREE
    strips = max(1, round(2 * half / spacing))
    middle = (np.arange(strips) - (strips - 1) / 2) * spacing
    return middle[np.abs(middle) >= inner]


def _compute_footprints(
    ground: NetworkDomain, orbit: Orbit, age: float, aside: Array, spacing: float
) -> dict[str, Any]:
    span = (ground.times[-1] - ground.times[0]) / np.timedelta64(1, "h")
    if not span > 0:
        raise ObservationError("The Dataset has one time only; a satellite needs a first and a last one")
    step = spacing / 360 * orbit.period
    hours = np.arange(0, span + 1e-9, step)
    ahead = orbit.compute_track(age + hours + step / 100)
    # The turning of the Earth between the two points would tilt the scan lines.
    ahead = (ahead[0], ahead[1] + 15 * step / 100)
    latitude, longitude = offset_across_track(*orbit.compute_track(age + hours), ahead, aside)
    seconds = np.rint(3600 * hours).astype("timedelta64[s]")
    return {
        "time": np.repeat(ground.times[0] + seconds, len(aside)),
        "latitude": latitude.ravel(),
        "longitude": longitude.ravel() % 360,
    }


def _find_first_in_cell(ground: NetworkDomain, time: Array, row: Array, column: Array, of: Array) -> Array:
    """Whether a footprint is the first of those in `of` in its cell and about its time."""
    middle = ground.times[:-1] + (ground.times[1:] - ground.times[:-1]) / 2
    about = np.searchsorted(middle, time)
    key = (about * len(ground.latitude) + row) * len(ground.longitude) + column
    rows = np.flatnonzero(of)
    first = np.zeros(len(key), bool)
    first[rows[np.unique(key[rows], return_index=True)[1]]] = True
    return first
