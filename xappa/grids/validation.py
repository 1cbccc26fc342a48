"""Problems of an axis; each message says what was found, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

ROUNDING = 1e-3
"""Degrees by which latitudes in single precision, or added up, may go beyond a pole: they are taken to be on it."""
LENGTHS = {"m", "meter", "meters", "metre", "metres", "km", "kilometer", "kilometers", "kilometre", "kilometres"}

ADVICE = {
    "time": "a datetime64 coordinate called time or with standard_name='time'",
    "latitude": "a 1-D coordinate called latitude or lat, or with units='degrees_north'",
    "longitude": "a 1-D coordinate called longitude or lon, or with units='degrees_east'",
    "level": "a 1-D coordinate called level or plev, in hPa or Pa",
    "member": "a coordinate called member, or with standard_name='realization'",
}

FIXES_2D = {
    "latitude": "bring the fields onto a latitude-longitude grid first, with ds.appa.regrid",
    "time": "these are forecasts of which several hold for the same time: select one step or one start with ds.isel",
}


def describe_missing_axis(ds: xr.Dataset, axis: str, names: Sequence[str]) -> str:
    """No coordinate of `ds` is the axis, which usually has one of `names`."""
    bare = [name for name in names if name in ds.dims and name not in ds.variables]
    if bare:
        return (
            f"dimension {bare[0]!r} has no coordinate values; expected {ADVICE[axis]}: "
            f"use ds.assign_coords({bare[0]}=...)"
        )
    have = ", ".join(repr(str(name)) for name in ds.coords) or "none"
    return f"no {axis} axis found among the coordinates ({have}); expected {ADVICE[axis]}: use ds.rename or set attrs"


def describe_curvilinear_axis(coord: xr.DataArray, axis: str) -> str:
    """The coordinate of an axis has several dimensions."""
    fix = FIXES_2D.get(axis, FIXES_2D["latitude"])
    return f"{axis} {coord.name!r} has the dimensions {tuple(map(str, coord.dims))}; expected {ADVICE[axis]}: {fix}"


def describe_forecast_axes(forecasts: str) -> str:
    """The valid times of forecasts follow from start and lead alone."""
    return f"{forecasts}; expected fields along their valid time: give it as a coordinate, or select one forecast"


def describe_points(dim: str) -> str:
    """Latitude and longitude lie along one dimension."""
    return (
        f"latitude and longitude lie along one dimension {dim!r}, as of places or a reduced grid; expected a "
        "latitude-longitude grid: for a reduced grid, use ds.appa.regrid"
    )


def _describe_time_conversion(name: Hashable, values: np.ndarray) -> str:
    """Advice to convert times of another kind to datetime64."""
    first = values.flat[0]
    if isinstance(first, str):
        return f"use ds.assign_coords({name}=pd.to_datetime(ds[{name!r}].values))"
    if getattr(first, "tzinfo", None) is not None:
        return f"use ds.assign_coords({name}=pd.to_datetime(ds[{name!r}].values, utc=True).tz_localize(None)), in UTC"
    return "use xr.decode_cf(ds), or ds.convert_calendar('standard') for another calendar"


def find_scalar_axes(latitude: xr.DataArray, longitude: xr.DataArray) -> list[str]:
    """Latitude or longitude is one value without a dimension, as a selection leaves it."""
    found = [f"{c.name!r} has no dimension" for c in (latitude, longitude) if c.ndim == 0]
    if not found:
        return []
    return [
        f"{' and '.join(found)}; expected latitudes and longitudes along one dimension each: "
        f"use ds.expand_dims, or select several, as in ds.sel({latitude.name}=slice(...))"
    ]


def find_time_problems(time: xr.DataArray) -> list[str]:
    """Times that are empty, not datetime64, missing, not sorted, or there twice."""
    name, values = time.name, np.atleast_1d(time.values)
    if values.size == 0:
        return [f"time {name!r} is empty; expected at least one time"]
    if values.dtype.kind != "M":
        kind = type(values[0]).__name__ if values.dtype == object else str(values.dtype)
        return [f"time {name!r} holds {kind}; expected datetime64: {_describe_time_conversion(name, values)}"]
    problems = []
    if np.isnat(values).any():
        problems.append(f"time {name!r} has {int(np.isnat(values).sum())} missing values; drop them")
        values = values[~np.isnat(values)]
    steps = np.diff(values)
    zero = np.timedelta64(0, "s")
    if (steps < zero).any():
        i = int(np.argmax(steps < zero))
        problems.append(
            f"time {name!r} is not sorted: {format_time(values[i])} is followed by {format_time(values[i + 1])}; "
            f"expected ascending times: use ds.sortby({name!r})"
        )
    unique, counts = np.unique(values, return_counts=True)
    if (counts > 1).any():
        twice = unique[counts > 1]
        problems.append(
            f"time {name!r} has {len(twice)} duplicate times, the first {format_time(twice[0])}; expected each "
            "time once: "
            f"use ds.drop_duplicates({name!r})"
        )
    return problems


def describe_empty_axis(coord: xr.DataArray, axis: str) -> str:
    """An axis of which a selection has left nothing."""
    return (
        f"{axis} {coord.name!r} is empty; expected at least one value: give the ends of a slice in the order of the "
        f"axis, as in ds.sel({coord.name}=slice(first, last))"
    )


def find_degree_problems(coord: xr.DataArray) -> list[str]:
    """Places in units of length, as of a projection."""
    units = str(coord.attrs.get("units", "")).strip()
    if units.casefold() not in LENGTHS:
        return []
    return [
        f"{coord.name!r} has units {units!r}, as of a projection; expected latitudes and longitudes in degrees: "
        "add them as coordinates, with pyproj for example"
    ]


def find_radian_problems(latitude: xr.DataArray, longitude: xr.DataArray) -> list[str]:
    """A whole globe in radians that nothing says are such."""
    if latitude.attrs.get("units") or longitude.attrs.get("units") or not latitude.size or not longitude.size:
        return []
    phi, lam = latitude.values, longitude.values
    if phi.dtype.kind != "f" or not (1.55 < np.nanmax(phi) < 1.572 and -1.572 < np.nanmin(phi) < -1.55):
        return []
    if not 6.1 < np.nanmax(lam) - np.nanmin(lam) < 6.284:
        return []
    return [
        f"latitude {latitude.name!r} and longitude {longitude.name!r} have no units, and reach to "
        f"{np.nanmax(phi):.4f} and {np.nanmax(lam):.4f}, as of a globe in radians; expected degrees: set "
        f"ds[{latitude.name!r}].attrs['units'] = ds[{longitude.name!r}].attrs['units'] = 'radian', or 'degrees'"
    ]


def find_latitude_problems(latitude: xr.DataArray) -> list[str]:
    """Latitudes that are no numbers, beyond a pole, or not sorted."""
    name, values = latitude.name, np.atleast_1d(latitude.values)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return [f"latitude {name!r} has values that are not finite numbers; expected degrees north"]
    if not values.size:
        return [describe_empty_axis(latitude, "latitude")]
    problems = find_degree_problems(latitude)
    beyond = values[np.abs(values) > 90 + ROUNDING]
    if beyond.size:
        problems.append(
            f"latitude {name!r} goes beyond 90 degrees, to {beyond[np.argmax(np.abs(beyond))]:g}; "
            "expected -90 to 90: check its values and units, and that it is not the longitude"
        )
    steps = np.diff(values)
    if not ((steps > 0).all() or (steps < 0).all()):
        problems.append(
            f"latitude {name!r} is not sorted, or has duplicates; expected south to north or north to south: "
            f"use ds.sortby({name!r})"
        )
    return problems


def find_longitude_problems(longitude: xr.DataArray) -> list[str]:
    """Longitudes that are no numbers, more than once round the globe, or there twice."""
    name, values = longitude.name, np.atleast_1d(longitude.values)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return [f"longitude {name!r} has values that are not finite numbers; expected degrees east"]
    if not values.size:
        return [describe_empty_axis(longitude, "longitude")]
    if problems := find_degree_problems(longitude):
        return problems
    if values.min() < -360 or values.max() > 720 or np.ptp(values) > 360 + 1e-6:
        return [
            f"longitude {name!r} goes from {values.min():g} to {values.max():g}; "
            "expected degrees east, at most once round the globe"
        ]
    unique = np.unique(np.round(values % 360, 6) % 360)
    # One repeated meridian closes the circle for plotting; more cannot be meant.
    if values.size - unique.size > 1:
        return [f"longitude {name!r} has {values.size - unique.size} duplicates; expected each meridian once"]
    return []


def find_level_problems(level: xr.DataArray) -> list[str]:
    """Pressures that are no positive numbers, or there twice."""
    name, values = level.name, np.atleast_1d(level.values)
    problems = []
    if values.dtype.kind not in "iuf" or not (np.isfinite(values) & (values > 0)).all():
        problems.append(f"level {name!r} has values that are not numbers above 0; expected pressures in hPa or Pa")
    if len(np.unique(values)) < len(values):
        problems.append(f"level {name!r} has duplicates; expected each level once: use ds.drop_duplicates({name!r})")
    return problems


def describe_level_units(level: xr.DataArray) -> str:
    """What should be levels is empty, holds no numbers, or has units that are none of pressure."""
    name, values, units = level.name, np.atleast_1d(level.values), level.attrs.get("units")
    if values.size == 0:
        return f"level {name!r} is empty; expected at least one level"
    if values.dtype.kind not in "iuf":
        kind = type(values.item(0)).__name__ if values.dtype.kind in "OU" else str(values.dtype)
        return (
            f"level {name!r} holds {kind}; expected numbers, in hPa or Pa: "
            f"use ds.assign_coords({name}=ds[{name!r}].astype(float))"
        )
    return (
        f"level {name!r} has {f'units {units!r}' if units else 'no units'}; expected hPa or Pa: "
        f"set ds[{name!r}].attrs['units'], or interpolate to levels of pressure"
    )


def format_time(time: np.datetime64) -> str:
    """A time to the minute."""
    return np.datetime_as_string(time, unit="m")
