"""Reports read off a state: bilinear on the sphere, linear in log-pressure and in time."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.errors import ObservationError
from xappa.grids.bilinear import Corners, bracket, corners
from xappa.models.state import StateSpec
from xappa.observations.flags import Flag
from xappa.observations.form import quantities
from xappa.operators import reports
from xappa.operators.stencil import Stencil, compact, concatenate
from xappa.vocabulary import VARIABLES

Array = np.ndarray

LAPSE_RATE = 0.0065
# Less of a report's weight than this on cells that exist, and it is read from none.
LEAST_SHARE = 1e-6


def interpolate(
    obs: xr.Dataset,
    spec: StateSpec,
    times: Array,
    surface_height: Array | None = None,
    lapse_rate: float = LAPSE_RATE,
    *,
    mask: Array | None = None,
) -> tuple[Stencil, xr.Dataset]:
    """Where and how each report is read off a trajectory of states.

    Space is bilinear across the date line and over the poles, pressure linear in its logarithm, time linear between the
    two states; reports up to half a step before the first or after the last state take that state. 2 m temperature
    is brought from the model's surface to the station's height. Weights on cells without a value (`mask`) go to the
    other corners.

    Parameters
    ----------
    obs : Dataset
        Observations in xappa's CF form, each quantity with its ``<name>_error``. Only reports flagged good are read.
    spec : StateSpec
        The state's channels and grid.
    times : array of datetime64, (T,)
        Times of the trajectory, ascending.
    surface_height : array of float, (latitude, longitude), optional
        Height of the model's surface, m. Without it there is no height correction, with a warning.
    lapse_rate : float
        Decrease of temperature with height, K/m.
    mask : array of bool, (channel, latitude, longitude), optional
        True where the state has a value; default everywhere.

    Returns
    -------
    stencil : Stencil
        One row a report that is used.
    obs : Dataset
        The observations with ``<name>_flag`` for all quantities, and what was done about heights in the attrs
        ``height_correction`` and ``height_correction_unknown_altitude`` (number of reports).

    Raises
    ------
    ObservationError
        If no report lies inside the times, no quantity is one of the model's, or an error is missing.
    """
    reports.require_form(obs)
    obs, names = obs.compute(), quantities(obs)
    known = [name for name in names if name in spec.variables]
    reports.require_known(obs, names, spec)
    flags = {name: reports.flags(obs, name) for name in names}
    place = _Place.of(obs, spec, times)
    reports.require_inside(obs, {name: flags[name] for name in known}, place.reason, times, spec)
    surface = None if surface_height is None else _read(np.asarray(surface_height), place.corners)
    heights = _Heights(obs, surface, lapse_rate)
    parts, problems = [], []
    for name in names:
        value = np.asarray(obs[name].values, float)
        if name not in known:
            reports.reject(flags[name], value, np.ones(len(value), bool), Flag.UNKNOWN_VARIABLE)
            continue
        reports.reject(flags[name], value, place.reason != Flag.GOOD, place.reason)
        part = _rows(name, value, flags[name], obs, spec, place, heights, mask)
        problems += reports.error_problems(obs, name, part)
        parts.append(part)
    if problems:
        raise ObservationError("Errors of observations are missing:" + "".join(f"\n- {text}" for text in problems))
    return concatenate(parts), reports.with_flags(obs, flags).assign_attrs(heights.attrs())


def standard_height(pressure: Array) -> Array:
    """Height of a pressure in the standard atmosphere.

    Parameters
    ----------
    pressure : array
        hPa.

    Returns
    -------
    array
        m; above 20 km too low, as the stratosphere is taken isothermal throughout.

    References
    ----------
    U.S. Standard Atmosphere, 1976, NASA-TM-X-74335, equations 33a and 33b.
    """
    gas_over_gravity = 287.053 / 9.80665
    troposphere = 288.15 / 0.0065 * (1 - (pressure / 1013.25) ** (0.0065 * gas_over_gravity))
    return np.where(pressure > 226.32, troposphere, 11000 + 216.65 * gas_over_gravity * np.log(226.32 / pressure))


@dataclass(frozen=True)
class _Place:
    """Where and when the N reports are, on the grid and between the times."""

    corners: Corners
    time: Array  # (N, 2) indices
    time_weight: Array  # (N, 2)
    reason: Array  # (N,) flag for what is wrong with the place or time itself

    @staticmethod
    def of(obs: xr.Dataset, spec: StateSpec, times: Array) -> _Place:
        latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
        around = corners(latitude, longitude, spec.latitude, spec.longitude)
        when = reports.seconds(np.asarray(obs["time"].values), times[0])
        time, time_weight, in_time = _in_time(reports.seconds(times, times[0]), when, spec.step_hours * 3600)
        reason = np.zeros(len(when), np.int8)
        nowhere = ~np.isfinite(latitude) | ~np.isfinite(longitude) | (np.abs(latitude) > 90)
        for wrong, flag in (
            (~around.inside, Flag.MASKED),
            (~in_time, Flag.OUTSIDE_TIMES),
            (nowhere, Flag.MISSING_PLACE),
            (np.isnan(when), Flag.MISSING_TIME),
        ):
            reason[wrong] = flag
        return _Place(around, time, time_weight, reason)


class _Heights:
    """Heights of stations against the model's surface, and the tally of what could be corrected."""

    def __init__(self, obs: xr.Dataset, surface: Array | None, lapse_rate: float) -> None:
        unknown = np.full(obs.sizes["obs"], np.nan)
        self.altitude = np.asarray(obs["altitude"].values, float) if "altitude" in obs.coords else unknown
        self.surface, self.lapse_rate, self.uncorrected = surface, lapse_rate, 0

    def correction(self, rows: Array) -> Array:
        """What is added to the model's 2 m temperature at reports `rows`, K."""
        if self.surface is None:
            if np.isfinite(self.altitude[rows]).any():
                warnings.warn(
                    "The height of the model's surface is not known: 2 m temperatures are not brought to the stations' "
                    "heights. Put a variable with standard_name='surface_altitude' into the Dataset to have them so.",
                    stacklevel=4,
                )
            return np.zeros(len(rows))
        added = -self.lapse_rate * (self.altitude[rows] - self.surface[rows])
        self.uncorrected = int(np.isnan(added).sum())
        return np.nan_to_num(added)

    def below(self, pressure: Array) -> Array:
        """Whether reports at `pressure` (hPa) lie below the model's surface; False where that is not known."""
        if self.surface is None:
            return np.zeros(len(pressure), bool)
        # `altitude` may be the station's or the report's own: either way a report lies no lower.
        return np.fmax(self.altitude, standard_height(pressure)) < self.surface

    def attrs(self) -> dict[str, str | int]:
        if self.surface is None:
            return {"height_correction": "off: height of the model's surface unknown"}
        return {
            "height_correction": f"{self.lapse_rate:g} K m-1",
            "height_correction_unknown_altitude": self.uncorrected,
        }


def _rows(
    name: str,
    value: Array,
    flag: Array,
    obs: xr.Dataset,
    spec: StateSpec,
    place: _Place,
    heights: _Heights,
    mask: Array | None,
) -> Stencil:
    """Stencil of one quantity; `flag` is filled with why reports are left out."""
    channel, level_weight = _channels(name, value, flag, obs, spec, heights)
    used = np.flatnonzero(reports.good(flag, value))
    channel, level_weight, cell = channel[used], level_weight[used], place.corners.cell[used]
    space, void = _masked(_signed(name, place.corners, used), channel, level_weight, cell, mask)
    flag[used[void]] = Flag.MASKED
    weight = place.time_weight[used][:, :, None, None] * level_weight[:, None, :, None] * space[:, None]
    time = place.time[used][:, :, None, None]
    entries = [np.broadcast_to(a, weight.shape) for a in (time, channel[:, None, :, None], cell[:, None, None, :])]
    width = int(np.prod(weight.shape[1:]))
    weight, time, channel, cell = compact(*(a[~void].reshape(-1, width) for a in (weight, *entries)))
    used = used[~void]
    error = reports.errors(obs, name)[used]
    offset = heights.correction(used) if name == "2m_temperature" else np.zeros(len(used))
    code = np.zeros(len(used), int)
    return Stencil(time, channel, cell, weight, offset, value[used], error, used, code, (name,))


def _channels(
    name: str, value: Array, flag: Array, obs: xr.Dataset, spec: StateSpec, heights: _Heights
) -> tuple[Array, Array]:
    """Channels that each report is read from, and their weights: one at the surface, two aloft."""
    channels, levels = np.array(spec.of(name)), spec.levels_of(name)
    if not levels:
        return np.repeat(channels[None, :1], len(value), axis=0), np.ones((len(value), 1))
    pressure = np.asarray(obs["level"].values, float) if "level" in obs.coords else np.full(len(value), np.nan)
    channel, weight, inside = _in_level(channels, np.array(levels, float), pressure)
    reports.reject(flag, value, ~inside, Flag.OUTSIDE_LEVELS)
    reports.reject(flag, value, heights.below(np.where(inside, pressure, 1.0)), Flag.BELOW_SURFACE)
    return channel, weight


def _signed(name: str, around: Corners, rows: Array) -> Array:
    """Weights of the corners (n, 4), negative where a vector component is seen across a pole."""
    weight = around.weight[rows]
    vector = name in VARIABLES and VARIABLES[name].vector
    return np.where(around.crossed[rows], -weight, weight) if vector else weight


def _masked(weight: Array, channel: Array, level_weight: Array, cell: Array, mask: Array | None) -> tuple[Array, Array]:
    """Corner weights (n, L, 4) shared among the cells that exist, and the reports (n,) that have none."""
    weight = np.broadcast_to(weight[:, None], (*channel.shape, 4))
    if mask is None or mask[np.unique(channel)].all():
        return weight, np.zeros(len(channel), bool)
    valid = mask.reshape(len(mask), -1)[channel[:, :, None], cell[:, None, :]]
    weight = np.where(valid, weight, 0.0)
    share = np.abs(weight).sum(axis=-1)
    void = ((share < LEAST_SHARE) & (level_weight > 0)).any(axis=1)
    return weight / np.where(share < LEAST_SHARE, 1, share)[..., None], void


def _in_level(channels: Array, levels: Array, pressure: Array) -> tuple[Array, Array, Array]:
    """Channels and weights (each (N, 2)) of the levels round each pressure, and whether there are such (N,)."""
    order = np.argsort(levels)
    inside = (pressure >= levels.min() * (1 - 1e-6)) & (pressure <= levels.max() * (1 + 1e-6))
    index, weight = bracket(np.log(levels[order]), np.log(np.where(inside, pressure, levels[0])))
    return channels[order][index], weight, inside


def _in_time(nodes: Array, when: Array, step: float) -> tuple[Array, Array, Array]:
    """Indices and weights (each (N, 2)) of the times round each report, and whether there are such (N,)."""
    index, weight = bracket(nodes, np.where(np.isnan(when), nodes[0], when))
    nearest = np.abs(when[:, None] - nodes[index]).min(axis=1)
    between = (when >= nodes[0]) & (when <= nodes[-1])
    gap = nodes[index[:, 1]] - nodes[index[:, 0]] > 1.5 * step
    # Across a gap in the times nothing is interpolated.
    weight = np.where((gap & between)[:, None], np.round(weight), weight)
    return index, weight, (between & ~gap) | (nearest <= step / 2)


def _read(field: Array, around: Corners) -> Array:
    return (field.reshape(-1)[around.cell] * around.weight).sum(axis=1)
