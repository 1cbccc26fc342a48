"""Columns of each CF variable: values with heights, periods, errors and flags."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xappa.observations.flags import Flag
from xappa.observations.heights import (
    get_definition_height,
    get_height_range,
    is_elsewhere,
    is_vertical,
    name_states_height,
    resolve_near_ground_name,
)
from xappa.observations.names import QUANTITIES, NameMap
from xappa.observations.periods import get_method
from xappa.observations.readers.cf.cell_methods import explain_unusable, find_cell_methods, find_period_method
from xappa.observations.readers.cf.flag_names import find_flag_names, find_xappa_flag
from xappa.observations.readers.cf.periods import VariablePeriod, find_empty_bounds, find_period
from xappa.observations.readers.cf.quality import find_rejected
from xappa.observations.readers.cf.roles import SEA_WATER, find_error
from xappa.observations.readers.cf.rows import VariableColumn
from xappa.observations.readers.cf.upper_air import UpperAirVariables
from xappa.observations.readers.cf.vertical import (
    VariableHeight,
    find_height,
    is_on_unread_level,
    list_report_dims,
    split_by_height,
)
from xappa.valid_range import find_outside, find_unread_limits, is_packing_lost

_OF_LEVELS = ("geopotential", "geopotential_height")  # without levels those of the ground
_WINDS = ("wind_speed", "wind_from_direction", "wind_to_direction")


class VariableReader:
    """Reads variables of one Dataset, and notes what it leaves out, assumes and rejects.

    Parameters
    ----------
    ds : Dataset
        With decoded times, and heights as coordinates.
    places : mapping of str to str
        Coordinates: meaning to name.
    naming : NameMap
        Names and units that the caller gives.
    aloft : UpperAirVariables
        Which variables are of the upper air.
    bounds : DataArray or None
        Bounds of the times.
    climatology : bool
        Whether times are those of a climatology.

    Attributes
    ----------
    statistics : dict of str to str
        Variables that are no values of their quantity, and which cell methods say so.
    assumptions : list of str
        Sentences on what was assumed.
    at_other_heights : dict of str to str
        Quantities of which values are at other heights, and where.
    without_period : dict of str to str
        Variables over a period that nothing tells, and their cell methods.
    """

    def __init__(
        self,
        ds: xr.Dataset,
        places: Mapping[str, str],
        naming: NameMap,
        aloft: UpperAirVariables,
        bounds: xr.DataArray | None,
        climatology: bool = False,
    ) -> None:
        self._ds, self._places, self._naming, self._aloft = ds, places, naming, aloft
        self._bounds, self._climatology = bounds, climatology
        self._dims = list_report_dims(ds, places)
        self._near: set[str] = set()
        self.statistics: dict[str, str] = {}
        self.assumptions: list[str] = []
        self.at_other_heights: dict[str, str] = {}
        self.without_period: dict[str, str] = {}

    def read(self, name: str, meaning: str) -> list[VariableColumn]:
        """Columns of a variable: none, if it is no value of its quantity; two, if only a part is at its height."""
        if (reason := self._find_statistic_reason(name, meaning)) is not None:
            self.statistics[name] = reason
            return []
        variable = self._ds[name]
        told = name_states_height(name, meaning, self._naming)
        aloft = is_vertical(meaning) and not told and self._aloft.is_upper_air(variable)
        height = None if aloft and self._aloft.level else self._find_height(name, meaning)
        if aloft and self._aloft.level is None and (height is None or not self._aloft.has_own_axis(variable)):
            self.at_other_heights[meaning] = f"{name} at altitudes without pressures (expected pressures for {meaning})"
            return [self._build_column(name, meaning, {}, height, aloft=True)]
        under_water = variable.attrs.get("standard_name") == SEA_WATER and height is None and not told
        of_surface = meaning in _OF_LEVELS and not aloft and not told
        if under_water or of_surface or (is_vertical(meaning) and not aloft and is_on_unread_level(name, self._naming)):
            return []
        if not (aloft and self._aloft.level) and self._is_near(name, meaning, height):
            meaning = resolve_near_ground_name(name, meaning, self._naming)
        parts: list[tuple[dict[Hashable, Any], bool]] = [({}, False)]
        if height is not None:
            parts = split_by_height(meaning, height, self._dims)
            self._note_measurement(name, meaning, height)
        # Heights of reports are known; what is at its height otherwise makes one report with the other quantities.
        of_reports = height is not None and bool(height.values.ndim) and set(height.values.dims) <= self._dims
        return [self._build_column(name, meaning, part, height if far or of_reports else None) for part, far in parts]

    def _is_near(self, name: str, meaning: str, height: VariableHeight | None) -> bool:
        """Whether a quantity is to have the name that it has near the ground; winds have two without levels."""
        if meaning in _WINDS and not self._aloft.may_move:
            return height is not None and bool(
                is_elsewhere(resolve_near_ground_name(name, meaning, self._naming), height.values).any()
            )
        return height is not None or meaning in _WINDS

    def _note_measurement(self, name: str, meaning: str, height: VariableHeight) -> None:
        if not is_elsewhere(meaning, height.values).all():
            self._near.add(meaning)
            return
        low, high = get_height_range(meaning) or (0.0, 0.0)
        expected = (
            f"{get_definition_height(meaning):g} m" if get_definition_height(meaning) else f"{low:g} to {high:g} m"
        )
        self.at_other_heights[meaning] = f"{name} at {height.text} (expected {expected} for {meaning})"

    def list_at_other_heights(self) -> dict[str, str]:
        """Quantities that are nowhere at their height, and where they are."""
        return {meaning: text for meaning, text in self.at_other_heights.items() if meaning not in self._near}

    def _find_height(self, name: str, meaning: str) -> VariableHeight | None:
        return find_height(
            self._ds, name, resolve_near_ground_name(name, meaning, self._naming), self._places, self._naming
        )

    def _find_statistic_reason(self, name: str, meaning: str) -> str | None:
        """Why a variable is no value of its quantity over any period, or None."""
        attrs, time = self._ds[name].attrs, self._ds[self._places["time"]]
        text = find_cell_methods(attrs, name=name)
        times = {str(time.name), *map(str, time.dims)}
        if (reason := explain_unusable(text, times)) is not None:
            return reason
        method = find_period_method(text, times)
        if method is None or meaning not in QUANTITIES:
            return None
        if self._climatology:
            return f"time: {method.method} of a climatology"
        usual = get_method(meaning)
        rate = usual == "sum" and method.method == "mean" and name in self._naming.rename
        return None if method.method == usual or rate else f"time: {method.method}"

    def _build_column(
        self, name: str, meaning: str, part: Mapping[Hashable, Any], height: VariableHeight | None, aloft: bool = False
    ) -> VariableColumn:
        values = self._ds[name].isel(part)
        heights = None if height is None else _select_without_coords(height.values, part)
        period = find_period(values, meaning, self._ds[self._places["time"]], self._bounds)
        if period is not None:
            self._note_period(name, meaning, period)
        error = find_error(self._ds, name)
        return VariableColumn(
            meaning,
            name,
            values,
            None if error is None else self._mask_invalid(error).isel(part, missing_dims="ignore"),
            self._flags(name, meaning, part, heights, period, aloft),
            heights,
            None if period is None else period.bounds,
            aloft,
            (*_build_height_key(height, heights, self._dims), *_build_period_key(period), *_build_water_key(values)),
        )

    def _mask_invalid(self, name: str) -> xr.DataArray:
        """A variable with values outside its limits missing."""
        variable = self._ds[name]
        wrong = find_outside(variable)
        return variable if wrong is None else variable.where(~wrong).assign_attrs(variable.attrs)

    def _flags(
        self,
        name: str,
        meaning: str,
        part: Mapping[Hashable, Any],
        heights: xr.DataArray | None,
        period: VariablePeriod | None,
        aloft: bool,
    ) -> xr.DataArray | None:
        """Reasons (int8) why values are rejected that the source tells, the first one staying; None without any."""
        everywhere = xr.DataArray(True)
        own = find_xappa_flag(self._ds, name)
        flags = None if own is None else _select_without_coords(own, part).fillna(0).astype("int8")
        reasons: list[tuple[xr.DataArray, Flag]] = []
        if aloft:
            reasons.append((everywhere, Flag.WRONG_HEIGHT))
        elif heights is not None:
            reasons.append((is_elsewhere(meaning, heights), Flag.WRONG_HEIGHT))
        if period is not None and not period.known:
            reasons.append((everywhere, Flag.PERIOD_UNKNOWN))
        elif period is not None and period.bounds is not None:
            reasons.append((_select_without_coords(find_empty_bounds(period.bounds), part), Flag.PERIOD_UNKNOWN))
        reasons += [
            (_select_without_coords(wrong, part), Flag.REJECTED_BY_SOURCE) for wrong in self._list_rejections(name)
        ]
        for wrong, reason in reasons:
            none = xr.DataArray(np.int8(0)) if flags is None else flags
            flags = xr.where((none == 0) & wrong, np.int8(reason), none)
        return flags

    def _list_rejections(self, name: str) -> list[xr.DataArray]:
        """Mask of values that the source rejects: by flags of the variable or its place, and by valid limits."""
        dims = set(self._ds[name].dims)
        of_places = [
            flag
            for place, other in self._places.items()
            if set(self._ds[other].dims) <= dims
            for flag in find_flag_names(self._ds, other, place)
        ]
        flags = [*find_flag_names(self._ds, name), *of_places]
        wrong, texts = find_rejected(
            self._ds, [flag for flag in flags if set(self._ds[flag].dims) <= dims], self._naming
        )
        self._record_assumptions(*texts)
        self._record_assumptions(
            *(
                f"{flag}: it lies along other dimensions than {name}, and rejects nothing. Drop what it rejects"
                for flag in flags
                if not set(self._ds[flag].dims) <= dims
            )
        )
        if is_packing_lost(self._ds[name]):
            self._record_assumptions(
                f"{name}: its valid limits are of packed data, and nothing tells how these were packed: they are not "
                "looked at. Drop the attributes, or give them in the units of the values"
            )
        if unread := find_unread_limits(self._ds[name]):
            self._record_assumptions(
                f"{name}: {unread} are no limits that are understood, and reject nothing. Give two numbers as "
                "valid_range (one as valid_min or valid_max), or drop the attribute"
            )
        return [found for found in (wrong, find_outside(self._ds[name])) if found is not None]

    def _note_period(self, name: str, meaning: str, period: VariablePeriod) -> None:
        usual = QUANTITIES[meaning].cell_methods if meaning in QUANTITIES else ""
        methods = find_cell_methods(self._ds[name].attrs, usual, name)
        if not period.known:
            self.without_period[name] = methods
        if period.assumed:
            self._record_assumptions(
                f"{name} ({methods}) has no time bounds: its values are taken over {period.assumed}. Say otherwise "
                "with bounds of time (CF section 7.1)"
            )

    def _record_assumptions(self, *texts: str) -> None:
        self.assumptions += [text for text in texts if text not in self.assumptions]


def _select_without_coords(variable: xr.DataArray, part: Mapping[Hashable, Any]) -> xr.DataArray:
    """A part of a variable without coordinates, which would be compared."""
    return variable.isel(part, missing_dims="ignore").drop_vars(list(variable.coords), errors="ignore")


def _build_height_key(
    height: VariableHeight | None, heights: xr.DataArray | None, dims: set[Hashable]
) -> tuple[Hashable, ...]:
    """What distinguishes reports by their heights, but for those of each report, in the air or in the water."""
    if height is None or heights is None:
        return ()
    if heights.ndim and set(heights.dims) <= dims:
        return ("water",) if height.wet else ()
    return tuple(heights.to_numpy().reshape(-1).tolist())


def _build_period_key(period: VariablePeriod | None) -> tuple[Hashable, ...]:
    if period is None:
        return ("instant",)
    bounds = None if period.bounds is None else period.bounds.to_numpy().tobytes()
    return ("period", bounds, period.known)


def _build_water_key(values: xr.DataArray) -> tuple[Hashable, ...]:
    """Temperatures of the water make reports of their own, beside those of its surface."""
    return (values.name,) if values.attrs.get("standard_name") == SEA_WATER else ()
