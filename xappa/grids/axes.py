"""Axes of a Dataset: their coordinates and conventions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import cf_xarray  # noqa: F401  (registers ds.cf)
import numpy as np
import xarray as xr

from xappa.errors import DatasetError, UnitsError
from xappa.grids.forecast_time import find_forecast_times
from xappa.grids.horizontal import LATITUDES, LONGITUDES
from xappa.grids.layout import Layout
from xappa.grids.naming import identify_variables, list_static_variables
from xappa.grids.validation import (
    describe_curvilinear_axis,
    describe_forecast_axes,
    describe_level_units,
    describe_missing_axis,
    describe_points,
    find_latitude_problems,
    find_level_problems,
    find_longitude_problems,
    find_radian_problems,
    find_time_problems,
    format_time,
)
from xappa.grids.variable_encoding import infer_encoding
from xappa.vocabulary import VARIABLES

__all__ = ["AXES", "NAMES", "Layout", "inspect", "infer_pressure_units", "recognise", "refuse", "format_time"]

NAMES: dict[str, tuple[str, ...]] = {
    "time": ("time", "valid_time", "Time", "datetime", "date"),
    "latitude": LATITUDES,
    "longitude": LONGITUDES,
    "level": (
        "level",
        "plev",
        "pressure_level",
        "isobaricInhPa",
        "isobaricInPa",
        "isobaric",
        "lev",
        "pressure",
        "pres",
        "air_pressure",
    ),
    "member": (
        "member",
        "number",
        "realization",
        "realisation",
        "ensemble",
        "ensemble_member",
        "ensemble_members",
        "ensemble_id",
        "ensemble_number",
        "ens",
        "ens_member",
        "ensmem",
        "ensmember",
        "ens_number",
        "nens",
        "mbr",
        "realizations",
        "pert",
        "member_id",
        "members",
        "mem",
        "perturbation_number",
        "perturbationNumber",
        "perturbation",
        "epsmember",
        "eps",
        "sample",
        "samples",
    ),
}
AXES: dict[str, dict[str, str]] = {
    "member": {"standard_name": "realization", "long_name": "ensemble member", "units": "1"},
    "time": {"standard_name": "time", "long_name": "time", "axis": "T"},
    "level": {"standard_name": "air_pressure", "long_name": "pressure level", "positive": "down", "axis": "Z"},
    "latitude": {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "longitude": {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X"},
}
"""CF attributes of axes."""

HECTOPASCAL = {"hpa", "millibar", "millibars", "mbar", "mb", "hectopascal", "hectopascals"}
PASCAL = {"pa", "pascal", "pascals"}
PRESSURE = (*HECTOPASCAL, *PASCAL, "bar", "bars")
"""Suffixes of units of pressure (kPa, kilopascal, bar): others are not looked up."""


def refuse(problems: Sequence[str], subject: str = "This Dataset cannot be used") -> None:
    """Raise one DatasetError that lists all `problems`; do nothing if there are none."""
    if problems:
        raise DatasetError(f"{subject}:" + "".join(f"\n- {problem}" for problem in problems))


def recognise(ds: xr.Dataset, need: Sequence[str] = ("time", "latitude", "longitude")) -> Layout:
    """Layout of a Dataset.

    Axes are found by CF attributes, then by their usual names.

    Parameters
    ----------
    ds : Dataset
    need : sequence of str
        Axes that must be there, of ``"time"``, ``"latitude"``, ``"longitude"``, ``"level"``, ``"member"``.

    Returns
    -------
    Layout

    Raises
    ------
    DatasetError
        Listing every axis that is missing or not usable.
    """
    layout, problems = inspect(ds, need)
    refuse(problems)
    return layout


def inspect(ds: xr.Dataset, need: Sequence[str] = ("time", "latitude", "longitude")) -> tuple[Layout, list[str]]:
    """Layout of a Dataset and everything that is wrong with its axes; never raises."""
    problems: list[str] = []
    found = {axis: find_axis(ds, axis) for axis in NAMES}
    for axis, name in found.items():
        if name is not None and ds[name].ndim > 1:
            if axis in need:
                problems.append(describe_curvilinear_axis(ds[name], axis))
            found[axis] = None
        elif name is None and axis in need:
            problems.append(describe_missing_axis(ds, axis, NAMES[axis]))
    if (place := _find_shared_dimension(ds, found)) is not None:
        if {"latitude", "longitude"} & set(need):
            problems.append(describe_points(place))
        found |= {"latitude": None, "longitude": None}
    time, latitude, longitude, level = (found[axis] for axis in ("time", "latitude", "longitude", "level"))
    forecasts, ambiguous = find_forecast_times(ds)
    if "time" in need:
        problems += ambiguous
        problems += (
            [describe_forecast_axes(forecasts.describe())]
            if forecasts is not None and forecasts.names[2] is None
            else []
        )
    if time is not None:
        problems += find_time_problems(ds[time])
    if latitude is not None:
        problems += find_latitude_problems(ds[latitude])
    if longitude is not None:
        problems += find_longitude_problems(ds[longitude])
    if latitude is not None and longitude is not None:
        problems += find_radian_problems(ds[latitude], ds[longitude])
    if level is not None:
        problems += find_level_problems(ds[level])
    dims = {axis: ds[name].dims[0] if ds[name].ndim else None for axis, name in found.items() if name is not None}
    along = {f"forecast {dim}": dim for dim in (forecasts.dims if forecasts is not None else ())}
    names, clashes = identify_variables(ds, dims | along, level, time)
    problems += clashes + _find_other_levels(ds, names, level, set(dims.values()))
    static = list_static_variables(ds, dims.get("time"), names)
    layout = Layout(
        **found,
        latitudes=_read_values(ds, latitude),
        longitudes=_read_values(ds, longitude),
        levels=_read_values(ds, level),
        level_units=(infer_pressure_units(ds[level]) if level is not None else None) or "hPa",
        names=names,
        notation={user: infer_encoding(ds[user], name, time, ds) for user, name in names.items()},
        unknown=tuple(str(n) for n in ds.data_vars if n not in names and n not in static),
        static=static,
    )
    return layout, problems


def _find_shared_dimension(ds: xr.Dataset, found: Mapping[str, str | None]) -> str | None:
    """The dimension that latitude and longitude share, if they do."""
    latitude, longitude = found["latitude"], found["longitude"]
    if latitude is None or longitude is None or ds[latitude].ndim != 1 or ds[latitude].dims != ds[longitude].dims:
        return None
    return str(ds[latitude].dims[0])


def infer_pressure_units(level: xr.DataArray) -> str | None:
    """Units of pressure, ``"hPa"`` and ``"Pa"`` by any name; by magnitude where there are none; None if no pressure."""
    written = str(level.attrs.get("units", "")).strip()
    units = written.lower()
    if units in HECTOPASCAL:
        return "hPa"
    if units in PASCAL:
        return "Pa"
    if units.endswith(PRESSURE):
        return written if _is_pressure(written) else None
    if units or level.dtype.kind not in "iuf" or level.size == 0 or is_model_level(level):
        return None
    # The highest pressure of any atmosphere is 1100 hPa; in Pa no model's lowest level is above 20 hPa.
    return "Pa" if float(level.max()) > 2000 else "hPa"


def is_model_level(level: xr.DataArray) -> bool:
    """Whether numbers without units of pressure are of sigma, hybrid or other levels of a model.

    References
    ----------
    CF Conventions 1.11, appendix D: parametric vertical coordinates have ``formula_terms``.
    """
    told = [str(level.name), *(str(level.attrs.get(key, "")) for key in ("standard_name", "long_name"))]
    words = " ".join(told).casefold().replace("_", " ")
    if "formula_terms" in level.attrs or any(word in words for word in _MODEL_LEVELS):
        return True
    values = np.atleast_1d(level.values).astype(float)
    # Fractions of the surface pressure, or level numbers: no set of pressures begins 1, 2, 3, 4.
    numbers = values.size > 3 and np.array_equal(np.sort(values), np.arange(values.size) + values.min())
    return bool(values.size > 1 and np.nanmax(values) <= 1) or bool(numbers and values.min() <= 1)


_MODEL_LEVELS = ("sigma", "hybrid", "model level", "eta level", "level number", "height", "depth")


def _is_pressure(units: str) -> bool:
    from xappa.observations.units import find_conversion

    try:
        find_conversion(units, "hPa")
    except UnitsError:
        return False
    return True


def _find_other_levels(ds: xr.Dataset, names: Mapping[str, str], level: str | None, known: set[Hashable]) -> list[str]:
    """Levels of quantities aloft that are such by name or attributes, but are no pressures that can be read.

    Dimensions that nothing marks as levels are the user's own.
    """
    marked = [*ds.cf.coordinates.get("vertical", []), *ds.cf.axes.get("Z", [])]
    candidates = {*NAMES["level"], *_find_by_attributes(ds, "level")}
    problems = []
    for field in (ds[user] for user, name in names.items() if VARIABLES[name].upper_air):
        for name in map(str, [*NAMES["level"], *marked]):
            if name not in field.coords:
                problems += [describe_missing_axis(ds, "level", [name])] if name in set(field.dims) - known else []
                continue
            coord = field[name]
            # A scalar that is not called a level is the height of what is near the surface.
            along = level is None and name in NAMES["level"] if coord.ndim == 0 else known.isdisjoint(coord.dims)
            if along and coord.ndim < 2 and (name not in candidates or infer_pressure_units(coord) is None):
                problems.append(describe_level_units(coord))
    return list(dict.fromkeys(problems))


def find_axis(ds: xr.Dataset, axis: str) -> str | None:
    """Name of the coordinate that is `axis`: CF first, then usual names; dimension coordinates before others."""
    if axis == "member":
        # A dimension without values numbers members as well; a scalar (`number` of a single analysis) is no axis.
        by_attribute = [str(d) for n in ds.cf.standard_names.get("realization", []) for d in ds[n].dims[:1]]
        return next((str(name) for name in [*by_attribute, *NAMES[axis]] if name in ds.dims), None)
    candidates = _find_by_attributes(ds, axis) + [name for name in NAMES[axis] if name in ds.variables]
    candidates = candidates or _find_by_values(ds, axis)
    # x and y are often metres of a projection: they count only where nothing else is there.
    candidates = [name for name in candidates if name not in ("x", "y")] or candidates
    if axis == "level":
        candidates = [name for name in candidates if infer_pressure_units(ds[name]) is not None]
    if axis == "time":
        return _choose_valid_time(ds, candidates)
    one_dimensional = [name for name in candidates if ds[name].ndim < 2]
    dimensions = [name for name in one_dimensional if name in ds.dims]
    return next(iter(dimensions + one_dimensional + candidates), None)


def _choose_valid_time(ds: xr.Dataset, candidates: Sequence[str]) -> str | None:
    """The time for which fields hold: not the start of a forecast, unless both are the same."""
    starts = [name for name in candidates if ds[name].attrs.get("standard_name") == "forecast_reference_time"]
    valid = [name for name in dict.fromkeys(candidates) if name not in starts]
    same = [name for name in starts if any(ds[name].variable.equals(ds[other].variable) for other in valid)]
    candidates = same + valid or starts
    one_dimensional = [name for name in candidates if ds[name].ndim < 2]
    # A scalar beside a coordinate of several dimensions is the one start of many forecasts.
    dimensions = [name for name in one_dimensional if name in ds.dims]
    return next(iter(dimensions + one_dimensional + list(candidates)), None)


def _find_by_attributes(ds: xr.Dataset, axis: str) -> list[str]:
    key, letter = {"level": ("vertical", "Z"), "time": ("time", "T")}.get(axis, (axis, ""))
    named = [*ds.cf.coordinates.get(key, []), *(ds.cf.axes.get(letter, []) if letter else [])]
    if axis == "level":
        named = [n for n in named if ds[n].attrs.get("units") or ds[n].attrs.get("standard_name") == "air_pressure"]
    return [str(name) for name in dict.fromkeys(named)]


def _find_by_values(ds: xr.Dataset, axis: str) -> list[str]:
    """The one coordinate of a dimension that cannot be another axis: with dates, or pressures by their units."""
    coords = [str(name) for name in ds.dims if name in ds.coords]
    if axis == "time":
        found = [name for name in coords if ds[name].dtype.kind == "M"]
    elif axis == "level":
        found = [name for name in coords if ds[name].attrs.get("units") and infer_pressure_units(ds[name]) is not None]
    else:
        found = []
    return found if len(found) == 1 else []


def _read_values(ds: xr.Dataset, name: str | None) -> tuple[float, ...]:
    if name is None or ds[name].dtype.kind not in "iuf":
        return ()
    return tuple(np.atleast_1d(ds[name].values).astype(float).tolist())
