"""Vertical coordinates of CF variables: heights, depths and altitudes.

Near the ground a standard name means a quantity of the vocabulary only at that quantity's height; aloft, and under
water, values without a pressure are kept and flagged.

References
----------
CF conventions 1.11, section 4.3 (vertical coordinates), and the standard name table: ``height`` is above the surface,
``depth`` below it, ``altitude`` above the geoid.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.heights import (
    find_vertical_kind_by_name,
    get_definition_height,
    get_height_range,
    is_elsewhere,
    is_length,
    name_states_height,
)
from xappa.observations.names import NEEDED, QUANTITIES, NameMap, find_quantity
from xappa.observations.readers.cf.roles import SEA_PRESSURE, is_other_level
from xappa.observations.units import find_conversions

_KINDS = {
    "height": "height",
    "height_above_ground": "height",
    "depth": "depth",
    "depth_below_surface": "depth",
    "sea_water_pressure": "depth",
    "sea_water_pressure_due_to_sea_water": "depth",
    "surface_altitude": "ground",
}
_ATTRIBUTES = {
    **dict.fromkeys(("sensor_height", "instrument_height", "measurement_height", "sampling_height", "height"), 1.0),
    **dict.fromkeys(("sensor_depth", "depth"), -1.0),
}
_NUMBER = r"(-?\d+(?:\.\d+)?)\s*(?:m|meters?|metres?)"
_IN_WORDS = re.compile(rf"\bat {_NUMBER}\b( depth| below)?", re.IGNORECASE)
_OF_STATION = re.compile(r"station|elevation|sea level|terrain|orograph|topograph|a\.?s\.?l\b")
_SEA_PRESSURE = 10_055.0  # Pa a metre of sea water: 1025 kg m-3 times 9.81 m s-2

# u_80m, 100m_u_component_of_wind; u100, ws80; 100u
_IN_NAME = re.compile(r"(?<![\d.])(\d+)_?m(?![a-z])|^[a-z]{1,2}(\d{2,4})$|^(\d{2,4})[a-z]{1,2}$", re.IGNORECASE)


_LEVEL_IN_NAME = re.compile(r"^[a-z]{1,2}(\d{3,4})$|^(\d{3,4})[a-z]{1,2}$", re.IGNORECASE)
_HIGHEST_MAST = 150.0  # m; larger numbers in names such as t850 are pressures, hPa


@dataclass(frozen=True)
class VariableHeight:
    """Heights, m above the ground (or the water, below it negative), of the values of a variable.

    Parameters
    ----------
    values : DataArray
        Without dimensions, along those of the reports, or along one of their own.
    source : str
        The coordinate, or what else told it.
    wet : bool
        Whether some are in the water.
    """

    values: xr.DataArray
    source: str
    wet: bool = False

    @property
    def text(self) -> str:
        """Range in words."""
        low, high = float(self.values.min()), float(self.values.max())
        return f"{low:g} m" if low == high else f"{low:g} to {high:g} m"


def find_vertical_kind(name: str, variable: xr.DataArray) -> str | None:
    """Kind of a vertical coordinate: ``"height"``, ``"depth"``, ``"ground"`` (its altitude), or None.

    The standard name tells, else the name, if the units are a length (or of sea pressure for a depth).
    """
    attrs = variable.attrs
    standard = attrs.get("standard_name")
    if variable.dtype.kind not in "iuf":
        return None
    if standard is not None:
        return _KINDS.get(str(standard))
    if str(attrs.get("units", "")).strip().casefold() in SEA_PRESSURE:
        return "depth"
    kind = find_vertical_kind_by_name(name)
    if kind is None or not is_length(str(attrs.get("units", "m"))):
        return None
    words = f"{attrs.get('long_name', '')} {attrs.get('comment', '')}".casefold()
    if _OF_STATION.search(words) or "altitude" in words:
        return None
    if name.casefold() == "z":
        return "depth" if attrs.get("positive") == "down" or "depth" in words else "height"
    return kind


def with_vertical_coordinates(ds: xr.Dataset, places: Mapping[str, str], naming: NameMap) -> xr.Dataset:
    """The same with heights, depths and altitudes of the ground as coordinates, however the file keeps them."""
    names = [name for name in map(str, ds.data_vars) if name not in naming.rename and name not in places.values()]
    found = [name for name in names if find_vertical_kind(name, ds[name]) is not None]
    # On levels, z without units or attributes is a geopotential.
    bare = [name for name in found if find_quantity(name) is not None and not _says_length(ds[name])]
    ds = ds.set_coords([name for name in found if "level" not in places or name not in bare])
    lazy = [
        name for name, c in ds.coords.items() if c.chunks is not None and find_vertical_kind(str(name), c) is not None
    ]
    return ds.assign_coords({name: ds[name].compute() for name in lazy})


def is_on_unread_level(name: str, naming: NameMap) -> bool:
    """Whether a name such as ``t850`` says that a variable without levels is on one of pressure."""
    match = _LEVEL_IN_NAME.search(name)
    return match is not None and name not in naming.rename and float(match[match.lastindex or 0]) > _HIGHEST_MAST


def list_report_dims(ds: xr.Dataset, places: Mapping[str, str]) -> set[object]:
    """Dimensions of time, latitude and longitude."""
    return {dim for place in NEEDED for dim in ds[places[place]].dims}


def require_pressures(ds: xr.Dataset, meanings: Mapping[str, str], places: Mapping[str, str], naming: NameMap) -> None:
    """Complain about variables on levels of a model, which only the model could turn into pressures.

    Parameters
    ----------
    ds : Dataset
    meanings : mapping of str to str
        Name to quantity, without those that are on levels of pressure.
    places : mapping of str to str
        Coordinates: meaning to name.
    naming : NameMap
        Names and units that the caller gives.

    Raises
    ------
    ObservationError
        With the levels and their standard names.
    """
    dims = list_report_dims(ds, places)
    others = [str(name) for name in ds.variables if name not in naming.rename and is_other_level(name, ds[name].attrs)]
    wrong = []
    for name, meaning in meanings.items():
        vertical = get_definition_height(meaning) is not None or (
            meaning in QUANTITIES and QUANTITIES[meaning].upper_air
        )
        for level in others if vertical and meaning != "sea_surface_temperature" else ():
            along = set(ds[level].dims)
            if along <= set(ds[name].dims) and not (along <= dims and name_states_height(name, meaning, naming)):
                what = ds[level].attrs.get("standard_name", ds[level].attrs.get("units"))
                wrong.append((name, level, f"{name} lies on {level} ({what})"))
    if wrong:
        name, level, _ = wrong[0]
        raise ObservationError(
            f"{'; '.join(text for *_, text in wrong)}. Expected levels of pressure (standard name air_pressure, in hPa "
            f"or Pa). Interpolate to such levels, give the pressure of each value as a coordinate, or drop {name!r}; "
            f"if {level!r} is a pressure, say rename={{{level!r}: 'level'}}"
        )


def find_height(
    ds: xr.Dataset, name: str, meaning: str, places: Mapping[str, str], naming: NameMap
) -> VariableHeight | None:
    """Heights of the values of a variable near the ground; None if nothing tells.

    By a coordinate along a dimension of its own, by the name (``u100``), by another coordinate or an attribute, or by
    an altitude above that of the ground.

    Parameters
    ----------
    ds : Dataset
        From `with_vertical_coordinates`.
    name, meaning : str
        The variable and its quantity.
    places : mapping of str to str
        Coordinates: meaning to name.
    naming : NameMap
        Names and units that the caller gives.
    """
    variable, dims = ds[name], list_report_dims(ds, places)
    water = meaning == "sea_surface_temperature"
    if get_height_range(meaning) is None or (meaning == "surface_pressure" and not _is_at_position(variable)):
        return None
    found = [
        h for coord in _list_candidates(variable, places.values()) if (h := _convert_height(coord, naming)) is not None
    ]
    own = [h for h in found if not set(h.values.dims) <= dims]
    if own:
        return _get_single([h for h in own if ds[h.source].attrs.get("axis") == "Z"]) or _get_single(own)
    if name_states_height(name, meaning, naming):
        return None
    if match := _IN_NAME.search(name):
        return VariableHeight(xr.DataArray(float(match[match.lastindex or 0])), name)
    # Scalar coordinates of a file come with every variable; the encoding knows whose they are.
    named = str(variable.encoding.get("coordinates", "")).split()
    found = [h for h in found if h.source in named] or found
    # Instruments in the air and in the water of one platform have heights and depths of their own.
    both = water or any(str(v.attrs.get("standard_name")).startswith("sea_") for v in ds.data_vars.values())
    found = [h for h in found if h.wet == water or not both]
    found = [h for h in found if ds[h.source].attrs.get("axis") == "Z"] or found or _find_height_attributes(variable)
    return _get_single(found) or _compute_above_ground(ds, variable, places)


def split_by_height(
    meaning: str, height: VariableHeight, dims: Collection[object]
) -> list[tuple[dict[Hashable, Any], bool]]:
    """Parts of a variable, as indexers: at the height of its quantity, and (True) elsewhere.

    Of several heights along a dimension of their own, the one that is right is selected; the others stay together.
    """
    elsewhere = is_elsewhere(meaning, height.values)
    if not elsewhere.any():
        return [({dim: 0 for dim in elsewhere.dims if dim not in dims and elsewhere.sizes[dim] == 1}, False)]
    near = np.flatnonzero(~elsewhere)
    if elsewhere.ndim != 1 or set(elsewhere.dims) <= set(dims) or len(near) != 1:
        return [({}, True)]
    dim = elsewhere.dims[0]
    return [({dim: int(near[0])}, False), ({dim: np.flatnonzero(elsewhere)}, True)]


def _list_candidates(variable: xr.DataArray, places: Iterable[str]) -> list[xr.DataArray]:
    taken = set(places)
    return [c for name, c in variable.coords.items() if name not in taken and find_vertical_kind(str(name), c)]


def _convert_height(coord: xr.DataArray, naming: NameMap) -> VariableHeight | None:
    """A coordinate as heights in m; None for the altitude of the ground."""
    name = str(coord.name)
    kind = find_vertical_kind(name, coord)
    if kind == "ground":
        return None
    units = naming.find_units(name, name) or str(coord.attrs.get("units", "m"))
    values = coord.astype(float)
    if kind == "depth":
        if not is_length(units):
            values = find_conversions([(name, units, "Pa")])[name, units].convert(values) / _SEA_PRESSURE
        else:
            values = find_conversions([(name, units, "m")])[name, units].convert(values)
        # A depth that is counted upwards is a height already.
        values = values if coord.attrs.get("positive") == "up" else 0.0 - values
        return VariableHeight(values, name, not bool((values > 0).any()))
    values = find_conversions([(name, units, "m")])[name, units].convert(values)
    values = 0.0 - values if coord.attrs.get("positive") == "down" else values
    return VariableHeight(values, name, bool((values < 0).any()))


def _get_single(found: list[VariableHeight]) -> VariableHeight | None:
    return found[0] if len(found) == 1 else None


def _find_height_attributes(variable: xr.DataArray) -> list[VariableHeight]:
    """Heights that attributes of the variable give, as numbers, as text with units, or in the long name."""
    for key, sign in _ATTRIBUTES.items():
        if match := re.fullmatch(rf"\s*(?:{_NUMBER}|(-?[\d.]+))\s*", str(variable.attrs.get(key, ""))):
            value = sign * float(match[1] or match[2])
            return [VariableHeight(xr.DataArray(value), key, value < 0)]
    if match := _IN_WORDS.search(str(variable.attrs.get("long_name", ""))):
        value = -float(match[1]) if match[2] else float(match[1])
        return [VariableHeight(xr.DataArray(value), "long_name", value < 0)]
    return []


def _compute_above_ground(ds: xr.Dataset, variable: xr.DataArray, places: Mapping[str, str]) -> VariableHeight | None:
    """Altitude of the values less that of the ground, where a file has both."""
    ground = [name for name, c in variable.coords.items() if c.attrs.get("standard_name") == "surface_altitude"]
    place = places.get("altitude")
    if place is None or len(ground) != 1 or ground[0] == place or not set(ds[place].dims) <= set(variable.dims):
        return None
    return VariableHeight((ds[place].astype(float) - ds[ground[0]].astype(float)).drop_attrs(), place)


def _is_at_position(variable: xr.DataArray) -> bool:
    return variable.attrs.get("standard_name") == "air_pressure"


def _says_length(variable: xr.DataArray) -> bool:
    attrs = variable.attrs
    return "units" in attrs or "positive" in attrs or str(attrs.get("axis", "")) == "Z"
