"""Heights and depths in tables: which column says them, and which values are not at the height of their quantity."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from xappa.observations.flags import Flag
from xappa.observations.heights import (
    are_aloft,
    find_vertical_kind_by_name,
    is_elsewhere,
    is_length,
    is_vertical,
    leaves_ground,
    name_states_height,
)
from xappa.observations.heights import get_near_ground_name as near
from xappa.observations.names import QUANTITIES, NameMap, find_quantity, normalise_name
from xappa.observations.readers.missing_codes import are_codes, without_codes
from xappa.observations.readers.tables.columns import PlaceColumns, parse_numbers
from xappa.observations.standard_names import find_by_standard_name
from xappa.observations.units import find_conversions, is_convertible

_PRESSURES = ("pressure", "press", "pres", "p", "air_pressure")


def with_heights(frame: pd.DataFrame, places: PlaceColumns, naming: NameMap, names: Iterable[Hashable]) -> PlaceColumns:
    """Places of a table with the heights of its values, if it has any.

    Parameters
    ----------
    frame : DataFrame
    places : PlaceColumns
        From `columns.coordinates`.
    naming : NameMap
        What the caller says.
    names : iterable of str
        What quantities are called, for whether their height matters.

    Returns
    -------
    Places
        With ``height``: m above the ground, below water negative. Where platforms leave the ground, with ``level`` too:
        from a column of pressures that is no station's, else missing.

    Notes
    -----
    A column ``z`` is a height unless there are levels, or its units say that it is a geopotential.
    """
    coordinates, codes = dict(places.arrays), dict(places.codes)
    found = {
        kind: column
        for column in frame.columns
        if column not in places.used
        and (kind := _find_vertical_kind(str(column), "level" in coordinates, naming)) is not None
    }
    heights = []
    for kind, column in sorted(found.items(), reverse=True):
        metres, codes[kind] = _convert_to_metres(frame[column], kind, naming)
        heights.append(metres)
    if heights:
        first = heights[0] if len(heights) == 1 else np.where(np.isfinite(heights[0]), heights[0], heights[1])
        coordinates["height"] = first
    matters = any(_needs_height(str(name), naming) for name in names)
    if matters and "level" not in coordinates and "height" not in coordinates:
        places = _add_level(frame, replace(places, arrays=coordinates), naming)
        coordinates, codes = dict(places.arrays), {**codes, **places.codes}
    if matters and "level" not in coordinates and "altitude" in coordinates and _is_flying(coordinates):
        coordinates["level"] = np.full(len(frame), np.nan)
    return replace(places, arrays=coordinates, used=places.used | set(found.values()), codes=codes)


def _add_level(frame: pd.DataFrame, places: PlaceColumns, naming: NameMap) -> PlaceColumns:
    """Places with the level of a column of pressures, if it holds one: of soundings, flights or profiles."""
    there = [c for c in frame.columns if c not in places.used and str(c) not in naming.rename]
    for column in (c for c in there if normalise_name(naming.parse_heading(str(c)).name) in _PRESSURES):
        name = str(column)
        given = parse_numbers(frame[column])[0]
        units = naming.find_units(name, "level") or _guess_pressure_units(given)
        if units is None or not is_convertible(units, "hPa"):
            continue
        level, codes = without_codes(
            given, find_conversions([(name, units, "hPa")])[name, units].convert(given), "level"
        )
        time, latitude, longitude = (places.arrays[key] for key in ("time", "latitude", "longitude"))
        station, altitude = places.arrays.get("station"), places.arrays.get("altitude")
        if are_aloft(level, time, latitude, longitude, station, altitude):
            text = f"Column {name!r} is taken for the level of each value, in {units}. If it is that of stations on the"
            return replace(
                places,
                arrays=places.arrays | {"level": level},
                used=places.used | {column},
                codes=places.codes | {"level": codes},
                assumed=(*places.assumed, f"{text} ground, say rename={{{name!r}: 'surface_pressure'}}"),
            )
    return places


def _guess_pressure_units(values: np.ndarray) -> str | None:
    """Units that pressures without any have by their size; None if they can be no pressures of the air."""
    known = values[np.isfinite(values) & ~are_codes(values)]
    for units, pascals in (("hPa", 100.0), ("Pa", 1.0)):
        if known.size and known.min() * pascals >= 100.0 and 20000.0 <= known.max() * pascals <= 110000.0:
            return units
    return None


def find_near_ground_name(meaning: str, name: str, coordinates: Mapping[str, np.ndarray], naming: NameMap) -> str:
    """The quantity that a name stands for: near the ground, where heights are given and no levels."""
    heights = "height" in coordinates and "level" not in coordinates
    return near(meaning) if heights and name not in naming.rename else meaning


def flag_heights(
    coordinates: Mapping[str, np.ndarray], names: Mapping[str, str], naming: NameMap
) -> dict[str, np.ndarray]:
    """Flags (int8) of quantities of which some values are not at their height.

    Parameters
    ----------
    coordinates : mapping of str to array, shape (obs,)
    names : mapping of str to str
        Quantities: meaning to name in the table. Names such as ``t2m`` say that the height is right, unless one place
        has several heights at a time.
    naming : NameMap
        What the caller says.
    """
    flags = {}
    size = len(coordinates["time"])
    mast = _is_mast(coordinates)
    without_level = "level" in coordinates and np.isnan(coordinates["level"]).all() and "altitude" in coordinates
    for meaning, name in names.items():
        told = name_states_height(name, meaning, naming) and (name in naming.rename or not mast)
        if meaning not in QUANTITIES or told:
            continue
        wrong = np.full(size, without_level and is_vertical(meaning))
        if "height" in coordinates and "level" not in coordinates:
            wrong |= np.asarray(is_elsewhere(meaning, coordinates["height"]))
        if wrong.any():
            flags[meaning] = (wrong * Flag.WRONG_HEIGHT).astype("int8")
    return flags


def _needs_height(name: str, naming: NameMap) -> bool:
    text = naming.parse_heading(name).name
    meaning = find_quantity(text) or find_by_standard_name(normalise_name(text), "", False)
    return meaning is not None and is_vertical(meaning) and not name_states_height(name, meaning, naming)


def _find_vertical_kind(name: str, on_levels: bool, naming: NameMap) -> str | None:
    """``"height"`` or ``"depth"``, if a column is one."""
    kind = find_vertical_kind_by_name(name)
    if kind is None or name in naming.rename:
        return None
    units = naming.find_units(name, name)
    if name.casefold() == "z" and (on_levels or not is_length(units or "m")):
        return None
    return kind


def _convert_to_metres(column: pd.Series, kind: str, naming: NameMap) -> tuple[np.ndarray, int]:
    """Heights, m, and how many were codes for a missing one."""
    name = str(column.name)
    units = naming.find_units(name, name) or "m"
    given = parse_numbers(column)[0]
    values, codes = without_codes(given, find_conversions([(name, units, "m")])[name, units].convert(given), kind)
    return (0.0 - values if kind == "depth" else values), codes


def _is_mast(coordinates: Mapping[str, np.ndarray]) -> bool:
    """Whether one place has several heights at the same time."""
    if "height" not in coordinates:
        return False
    where = [name for name in ("time", "latitude", "longitude", "station") if name in coordinates]
    reports = pd.DataFrame({name: coordinates[name] for name in (*where, "height")}).dropna()
    return bool((reports.groupby(where)["height"].nunique() > 1).any())


def _is_flying(coordinates: Mapping[str, np.ndarray]) -> bool:
    time, latitude, longitude = (coordinates[name] for name in ("time", "latitude", "longitude"))
    return leaves_ground(coordinates["altitude"], time, latitude, longitude, coordinates.get("station"), False)
