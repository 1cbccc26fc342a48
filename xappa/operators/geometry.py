"""Where reports are read: the steps that all geometries share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import OptionError, is_number
from xappa.grids.bilinear import InterpolationWeights, bracket
from xappa.model.state import StateSpec
from xappa.observations.flags import Flag
from xappa.observations.schema import quantities
from xappa.operators import reports
from xappa.operators.chain import GEOMETRY, Link
from xappa.operators.composite import CompositeOperator, OperatorBlock
from xappa.operators.context import StateContext
from xappa.operators.corner_weights import HashablePlaces, get_corner_weights
from xappa.operators.extremes import METHODS, arrange_by_state, estimate_sampling_error, find_states_within
from xappa.operators.heights import LAPSE_RATE, TEMPERATURES, HeightCorrection
from xappa.operators.packing import build_linear_operator, concatenate_operators
from xappa.operators.periods import Period, PeriodGroup, group_by_period
from xappa.operators.sparse import SparseOperator, compact, concatenate
from xappa.operators.vertical import EXTRAPOLATIONS, interpolate_levels
from xappa.vocabulary import VARIABLES

# Less of a report's weight than this on cells that exist, and it is read from none.
LEAST_SHARE = 1e-6
STATION, SEA = "surface_pressure", "mean_sea_level_pressure"


@dataclass(frozen=True, repr=False, kw_only=True)
class Geometry(Link):
    """Operators that read fields where and when reports are.

    Parameters
    ----------
    lapse_rate : float or None, default 0.0065
        Decrease of temperature with height (K/m), by which 2 m temperature is brought to the station's height; None
        leaves it as it is.
    extrapolate : {"refuse", "hydrostatic"}, default "refuse"
        What becomes of reports beyond the model's levels: rejected, or compared with a hydrostatic continuation.
    """

    rank: ClassVar[int] = GEOMETRY

    lapse_rate: float | None = LAPSE_RATE
    extrapolate: str = "refuse"

    def __post_init__(self) -> None:
        if self.lapse_rate is not None and not is_number(self.lapse_rate):
            raise OptionError(f"lapse_rate={self.lapse_rate!r}: expected a number, K/m, such as {LAPSE_RATE}, or None")
        if self.extrapolate not in EXTRAPOLATIONS:
            raise OptionError(
                f"extrapolate={self.extrapolate!r}: expected one of {', '.join(map(repr, EXTRAPOLATIONS))}"
            )

    @abstractmethod
    def places(self, obs: xr.Dataset, spec: StateSpec) -> InterpolationWeights:
        """Cells and weights (N, K) that make up each report in the horizontal."""

    @property
    def nearest(self) -> bool:
        """Whether the nearest level and time are read, instead of what lies between two."""
        return False

    def __call__(self, obs: xr.Dataset, state: StateContext) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """See `Operator.__call__`; the attributes of the observations say what was done about heights.

        Raises
        ------
        ObservationError
            If no report lies inside the times, or no quantity is one of the model's.
        """
        spec, times, period = state.spec, state.times, state.period
        reports.require_schema(obs)
        obs, names = obs.compute(), quantities(obs)
        before = {name: reports.get_flags(obs, name) for name in names}
        flags = {name: flag.copy() for name, flag in before.items()}
        known = [name for name in names if list_variables_read(name, obs, spec, period)]
        reports.require_known(obs, names, spec, bool(known))
        for name in set(names) - set(known):
            value = np.asarray(obs[name].values, float)
            reports.reject(flags[name], value, np.ones(len(value), bool), Flag.UNKNOWN_VARIABLE)
        reason, uncorrected = np.zeros(obs.sizes["obs"], np.int8), 0
        parts: list[SparseOperator] = []
        extremes: list[OperatorBlock] = []
        for geometry, rows in self.blocks(obs, spec):
            here = obs if rows is None else obs.isel(obs=rows)
            reader = _Reader(geometry, here, state)
            reason[... if rows is None else rows] = reader.place_reason
            for name in known:
                flag = flags[name] if rows is None else flags[name][rows]
                part = concatenate(reader.build_operators(name, np.asarray(here[name].values, float), flag, period))
                extremes += _renumber_extremes(reader.extremes, rows)
                if rows is not None:
                    flags[name][rows], part = flag, replace(part, observation=rows[part.observation])
                parts.append(part)
            uncorrected += reader.heights.uncorrected
            reader.heights.uncorrected = uncorrected
        reports.require_inside(obs, {name: before[name] for name in known}, reason, times, spec)
        parts = [_with_errors(part, flags) for part in parts]
        extremes = [replace(part, stencil=_with_errors(part.stencil, flags)) for part in extremes]
        extremes = [part for part in extremes if len(part.stencil)]
        found = concatenate(parts) if rows is None else build_linear_operator(parts, times)
        if extremes:
            found = concatenate_operators([found, CompositeOperator(tuple(extremes), times)], times)
        return found, reports.with_flags(obs, flags).assign_attrs(reader.heights.make_attrs())

    def blocks(self, obs: xr.Dataset, spec: StateSpec) -> Iterable[tuple[Geometry, Array | None]]:
        """Indices of reports that are read together, so that memory is bounded (None for all), and by what."""
        return ((self, None),)


def list_variables_read(name: str, obs: xr.Dataset, spec: StateSpec, period: Period | None = None) -> set[str]:
    """Variables of a state that reports of a quantity are made of; none if it cannot represent any of them.

    Parameters
    ----------
    name : str
        Reported quantity.
    obs : Dataset
        Observations in the schema.
    spec : StateSpec
    period : Period, optional
        What reports are taken over instead of what they say.
    """
    if name == STATION and SEA in spec.variables and STATION not in spec.variables:
        return {SEA}
    found = {group.states.variable for group in group_by_period(name, obs, spec, period) if group.states is not None}
    return found | ({name} if name in spec.variables else set())


def _with_errors(part: SparseOperator, flags: Mapping[str, Array]) -> SparseOperator:
    """The reports of one quantity of whose error something is known; the others are flagged."""
    known = np.isfinite(part.error) & (part.error > 0)
    if known.all():
        return part
    flags[part.names[0]][part.observation[~known]] = Flag.NO_ERROR
    return part.select(np.flatnonzero(known))


def _renumber_extremes(extremes: list[OperatorBlock], rows: Array | None) -> list[OperatorBlock]:
    """Extremes of some reports, numbered as in the whole."""
    if rows is None:
        return extremes
    return [replace(p, stencil=replace(p.stencil, observation=rows[p.stencil.observation])) for p in extremes]


class _Reader:
    """Reads quantities of some reports, one after the other."""

    def __init__(self, geometry: Geometry, obs: xr.Dataset, state: StateContext) -> None:
        spec, times = state.spec, state.times
        self.geometry, self.obs, self.spec, self.mask, self.level_coordinate = (
            geometry,
            obs,
            spec,
            state.mask,
            state.level_coordinate,
        )
        self.corners = geometry.places(obs, spec)
        self.report_times = reports.to_seconds(np.asarray(obs["time"].values), times[0])
        self.state_times, self.step = reports.to_seconds(times, times[0]), spec.step_hours * 3600
        self.place_reason = self._find_place_reasons()
        surface = None
        if state.surface_height is not None:
            surface = _interpolate_at_reports(np.asarray(state.surface_height, float), obs, spec)
        self.heights = HeightCorrection(obs, surface, geometry.lapse_rate)

    def build_operators(self, name: str, value: Array, flag: Array, period: Period | None) -> list[SparseOperator]:
        """Stencils of one quantity; `flag` is filled with why reports are left out."""
        reports.reject(flag, value, self.place_reason != Flag.GOOD, self.place_reason)
        parts = []
        self.extremes: list[OperatorBlock] = []
        for group in group_by_period(name, self.obs, self.spec, period):
            if name == STATION and SEA in self.spec.variables and STATION not in self.spec.variables:
                reports.reject(flag, value, group.member & self._find_reduced_reports(), Flag.UNUSED)
                reports.reject(flag, value, group.member & np.isnan(self.heights.altitude), Flag.NO_HEIGHT)
                parts.append(self._build_group(name, SEA, value, flag, group.member, 1, 1.0))
            elif group.states is None:
                reports.reject(flag, value, group.member, Flag.PERIOD_NOT_REPRESENTABLE)
            elif group.states.method in METHODS:
                self.extremes += self._build_extremes(name, group, value, flag)
            else:
                share = 1.0 if group.states.method == "sum" else 1 / group.states.number
                parts.append(
                    self._build_group(
                        name, group.states.variable, value, flag, group.member, group.states.number, share
                    )
                )
        return parts

    def _find_reduced_reports(self) -> Array:
        """Reports that give the same pressure reduced to sea level already: one barometer counts once."""
        if SEA not in self.obs:
            return np.zeros(self.obs.sizes["obs"], bool)
        return reports.is_good(reports.get_flags(self.obs, SEA), np.asarray(self.obs[SEA].values, float))

    def _build_group(
        self, name: str, variable: str, value: Array, flag: Array, member: Array, number: int, share: float
    ) -> SparseOperator:
        time, time_weight, inside = self._find_states(number)
        early = np.isnan(self.report_times) | ~inside
        reports.reject(flag, value, member & early, Flag.OUTSIDE_TIMES)
        channel, level_weight = self._find_channels(variable, value, flag, member)
        used = np.flatnonzero(reports.is_good(flag, value) & member)
        channel, level_weight, cell = channel[used], level_weight[used], self.corners.cell[used]
        space, void = _mask_weights(self._sign_weights(variable, used), channel, level_weight, cell, self.mask)
        flag[used[void]] = Flag.MASKED
        weight = (share * time_weight[used])[:, :, None, None] * level_weight[:, None, :, None] * space[:, None]
        factor, relative = np.ones(len(used)), np.zeros(len(used))
        if name == STATION and variable == SEA:
            factor, relative = self.heights.compute_reduction(used)
        weight = weight * factor[:, None, None, None]
        steps = time[used][:, :, None, None]
        entries = [np.broadcast_to(a, weight.shape) for a in (steps, channel[:, None, :, None], cell[:, None, None, :])]
        width = int(np.prod(weight.shape[1:]))
        weight, steps, channel, cell = compact(*(a[~void].reshape(-1, width) for a in (weight, *entries)))
        rows = used[~void]
        error = np.hypot(reports.get_errors(self.obs, name)[rows], (relative * np.nan_to_num(value[used]))[~void])
        offset = self.heights.compute_correction(rows) if name in TEMPERATURES else np.zeros(len(rows))
        code = np.zeros(len(rows), int)
        return SparseOperator(steps, channel, cell, weight, offset, value[rows], error, rows, code, (name,))

    def _build_extremes(self, name: str, group: PeriodGroup, value: Array, flag: Array) -> list[OperatorBlock]:
        """Readings of the states of a period, of which the largest or smallest counts."""
        if group.states is None:
            return []
        variable, method, member = group.states.variable, group.states.method, group.member
        states, enough, there = find_states_within(self.state_times, self.report_times, group.seconds, self.step)
        reports.reject(flag, value, member & ~enough, Flag.PERIOD_NOT_REPRESENTABLE)
        reports.reject(flag, value, member & ~there, Flag.OUTSIDE_TIMES)
        channel, level_weight = self._find_channels(variable, value, flag, member)
        used = np.flatnonzero(reports.is_good(flag, value) & member)
        channel, level_weight, cell = channel[used], level_weight[used], self.corners.cell[used]
        space, void = _mask_weights(self._sign_weights(variable, used), channel, level_weight, cell, self.mask)
        flag[used[void]] = Flag.MASKED
        rows = used[~void]
        if not len(rows):
            return []
        weight, time, channel, cell = arrange_by_state(
            states[rows], channel[~void], cell[~void], (level_weight[:, :, None] * space)[~void]
        )
        error = np.hypot(reports.get_errors(self.obs, name)[rows], estimate_sampling_error(variable, self.step))
        offset = self.heights.compute_correction(rows) if name in TEMPERATURES else np.zeros(len(rows))
        code = np.zeros(len(rows), int)
        found = SparseOperator(time, channel, cell, weight, offset, value[rows], error, rows, code, (name,))
        return [OperatorBlock(found, extreme=method, states=states.shape[1])]

    def _find_place_reasons(self) -> Array:
        latitude, longitude = (np.asarray(self.obs[name].values, float) for name in ("latitude", "longitude"))
        _, _, in_time = _interpolate_in_time(self.state_times, self.report_times, self.step, False)
        reason = np.zeros(len(self.report_times), np.int8)
        nowhere = ~np.isfinite(latitude) | ~np.isfinite(longitude) | (np.abs(latitude) > 90)
        for wrong, flag in (
            (~self.corners.inside, Flag.MASKED),
            (~in_time, Flag.OUTSIDE_TIMES),
            (nowhere, Flag.MISSING_PLACE),
            (np.isnan(self.report_times), Flag.MISSING_TIME),
        ):
            reason[wrong] = flag
        return reason

    def _find_states(self, number: int) -> tuple[Array, Array, Array]:
        """Times and weights (N, 2 number) of states that end at each report, and whether all are there."""
        found = [
            _interpolate_in_time(
                self.state_times, self.report_times - back * self.step, self.step, self.geometry.nearest
            )
            for back in range(number)
        ]
        index, weight = (np.concatenate([part[k] for part in found], axis=1) for k in (0, 1))
        return index, weight, np.all([part[2] for part in found], axis=0)

    def _find_channels(self, name: str, value: Array, flag: Array, member: Array) -> tuple[Array, Array]:
        """Channels that each report is read from, and their weights: one at the surface, two or more aloft."""
        if not self.spec.levels_of(name):
            return np.repeat(np.array(self.spec.of(name))[None, :1], len(value), axis=0), np.ones((len(value), 1))
        if self.level_coordinate.get(name) == "channel":
            return self._match_channel_numbers(name, value, flag, member)
        size = len(value)
        pressure = np.asarray(self.obs["level"].values, float) if "level" in self.obs.coords else np.full(size, np.nan)
        channel, weight, inside = interpolate_levels(
            self.spec, name, pressure, self.geometry.extrapolate, self.geometry.nearest
        )
        reports.reject(flag, value, member & ~inside, Flag.OUTSIDE_LEVELS)
        below = self.heights.is_below(np.where(inside, pressure, 1.0))
        reports.reject(flag, value, member & below, Flag.BELOW_SURFACE)
        return channel, weight

    def _match_channel_numbers(self, name: str, value: Array, flag: Array, member: Array) -> tuple[Array, Array]:
        own, size = np.array(self.spec.levels_of(name), float), len(value)
        asked = np.asarray(self.obs["channel"].values, float) if "channel" in self.obs.coords else np.full(size, np.nan)
        same = asked[:, None] == own
        reports.reject(flag, value, member & ~same.any(axis=1), Flag.UNUSED)
        return np.array(self.spec.of(name))[same.argmax(axis=1)][:, None], np.ones((size, 1))

    def _sign_weights(self, name: str, rows: Array) -> Array:
        """Weights of the cells (n, K), negative where a vector component is seen across a pole."""
        weight = self.corners.weight[rows]
        vector = name in VARIABLES and VARIABLES[name].vector
        return np.where(self.corners.crossed[rows], -weight, weight) if vector else weight


def _mask_weights(
    weight: Array, channel: Array, level_weight: Array, cell: Array, mask: Array | None
) -> tuple[Array, Array]:
    """Cell weights (n, L, K) shared among the cells that exist, and the reports (n,) that have none."""
    weight = np.broadcast_to(weight[:, None], (*channel.shape, weight.shape[1]))
    if mask is None or mask[np.unique(channel)].all():
        return weight, np.zeros(len(channel), bool)
    valid = mask.reshape(len(mask), -1)[channel[:, :, None], cell[:, None, :]]
    weight = np.where(valid, weight, 0.0)
    share = np.abs(weight).sum(axis=-1)
    void = ((share < LEAST_SHARE) & (level_weight != 0)).any(axis=1)
    return weight / np.where(share < LEAST_SHARE, 1, share)[..., None], void


def _interpolate_in_time(nodes: Array, when: Array, step: float, nearest: bool) -> tuple[Array, Array, Array]:
    """Indices and weights (each (N, 2)) of the times round each report, and whether there are such (N,)."""
    index, weight = bracket(nodes, np.where(np.isnan(when), nodes[0], when))
    away = np.abs(when[:, None] - nodes[index]).min(axis=1)
    between = (when >= nodes[0]) & (when <= nodes[-1])
    gap = nodes[index[:, 1]] - nodes[index[:, 0]] > 1.5 * step
    # Across a gap in the times nothing is interpolated.
    rounded = (gap & between)[:, None] | np.bool_(nearest)
    weight = np.where(rounded, np.round(weight), weight)
    # A half rounds to 0 for both: the earlier time is taken.
    weight = np.where(rounded & (weight.sum(axis=1, keepdims=True) == 0), [1.0, 0.0], weight)
    return index, weight, (between & ~gap) | (away <= step / 2)


def _interpolate_at_reports(field: Array, obs: xr.Dataset, spec: StateSpec) -> Array:
    """A field at the places of reports, bilinear."""
    latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
    around = get_corner_weights(HashablePlaces(latitude, longitude), spec.latitude, spec.longitude)
    return (field.reshape(-1)[around.cell] * around.weight).sum(axis=1)


def describe_geometry(geometry: Geometry, where: str) -> str:
    """Text of a geometry with its common options."""
    extras: list[Any] = []
    if geometry.lapse_rate is not None:
        extras.append(f"2 m temperature brought to the station's height by {1000 * geometry.lapse_rate:g} K km-1")
    if geometry.extrapolate != "refuse":
        extras.append("hydrostatic beyond the levels")
    return "; ".join([where, *extras])
