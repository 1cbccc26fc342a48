"""Numbers as their attributes, or their arrays, mean them: units in the array, packed values, radians, versions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xappa.cf_text import with_texts
from xappa.grids.axes import find_axis
from xappa.grids.horizontal import identify_axis

PACKING = ("scale_factor", "add_offset")
MISSING = ("_FillValue", "missing_value")
VERSIONS = "expver"
"""Dimension of ERA5 and of its preliminary version, ERA5T, in files of the Climate Data Store before 2024."""
RADIANS = ("rad", "rads", "radian", "radians")

Step = Callable[[xr.Dataset], tuple[xr.Dataset, list[str]]]


def decode_conventions(ds: xr.Dataset) -> xr.Dataset:
    """The same fields as plain numbers, with what is missing as NaN, places in degrees, and one version of each.

    What cannot be told (`find_encoding_problems`) stays as it is. Dask-backed values stay lazy.

    Parameters
    ----------
    ds : Dataset

    Returns
    -------
    Dataset
        `ds` itself where nothing is to be done.
    """
    return decode_with_messages(ds)[0]


def decode_with_messages(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """As `decode_conventions`, with what was done, in words."""
    ds = with_texts(ds)
    notes: list[str] = []
    for step in STEPS:
        ds, done = step(ds)
        notes += done
    return ds, notes


def drop_repeated_meridian(ds: xr.Dataset) -> xr.Dataset:
    """A Dataset without the meridian that closes a circle by being there twice (0 and 360), which would count twice."""
    name, latitude = find_axis(ds, "longitude"), find_axis(ds, "latitude")
    if name is None or ds[name].ndim != 1 or ds[name].dtype.kind not in "iuf":
        return ds
    if latitude is not None and set(ds[latitude].dims) & set(ds[name].dims):  # a list of points
        return ds
    _, first = np.unique(np.round(ds[name].values % 360, 6) % 360, return_index=True)
    return ds if len(first) == ds[name].size else ds.isel({ds[name].dims[0]: np.sort(first)})


def find_encoding_problems(ds: xr.Dataset, names: Iterable[Hashable]) -> list[str]:
    """Variables of which nothing tells whether they are scaled already, or what is missing in them.

    Parameters
    ----------
    ds : Dataset
        Dataset returned by `decode_conventions`.
    names : iterable of str
        Names of the variables that are looked at.
    """
    problems = []
    for name in map(str, names):
        attrs = ds[name].attrs
        if packed := [key for key in PACKING if _is_effective(key, attrs)]:
            problems.append(
                f"variable {name!r} holds {ds[name].dtype} and has {' and '.join(packed)} among its attributes: "
                "nothing tells whether it is scaled already; expected decoded values: use xr.decode_cf(ds), or, if "
                f"they are decoded, remove the attribute from ds[{name!r}].attrs"
            )
        if unclear := [
            key for key in MISSING if key in attrs and _cast_fill_values(attrs[key], ds[name].dtype) is None
        ]:
            problems.append(
                f"variable {name!r} has {unclear[0]}={attrs[unclear[0]]!r}; expected a number for what is missing: "
                f"mask the values with ds[{name!r}].where(...), and remove the attribute from ds[{name!r}].attrs"
            )
    return problems


def _dequantify(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """Arrays with units (Pint's) become numbers with units in their attributes, as MetPy's `dequantify` does."""
    # The bare `_data`: `data` would read what is still on the disk.
    found = {
        name: xr.Variable(v.dims, v._data.magnitude, {**v.attrs, "units": _format_units(v._data.units)}, v.encoding)
        for name, v in ds.variables.items()
        if hasattr(v._data, "magnitude") and hasattr(v._data, "units")
    }
    listed = ", ".join(f"{str(name)!r} in {v.attrs['units']}" for name, v in found.items())
    return _replace_variables(ds, found), [f"units are taken from the arrays: {listed}"] if found else []


def _format_units(units: Any) -> str:
    return "1" if str(units) in ("", "dimensionless") else str(units)


def _decode_cf(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """What CF's attributes (sections 2.5.1, 8.1) say of values that xarray has not decoded: it moves them away then."""
    changed = {}
    for name, variable in ds.variables.items():
        if keys := _collect_encoding(variable):
            bare = variable.to_base_variable()
            bare.attrs = keys
            decoded = xr.decode_cf(xr.Dataset({"_decoded": bare}), decode_times=False, decode_coords=False)["_decoded"]
            changed[name] = decoded.variable
            changed[name].attrs = {key: value for key, value in variable.attrs.items() if key not in keys}
    listed = ", ".join(repr(str(name)) for name in changed)
    return _replace_variables(ds, changed), [f"decoded, as their attributes say: {listed}"] if changed else []


def _collect_encoding(variable: xr.Variable) -> dict[str, Any]:
    """The attributes by which values are to be decoded, with fill values in the type of these."""
    attrs, kind = variable.attrs, variable.dtype.kind
    if kind not in "iuf" or " since " in str(attrs.get("units", "")):
        return {}
    keys = {key: _cast_fill_values(attrs.get(key), variable.dtype) for key in MISSING}
    keys = {key: value for key, value in keys.items() if np.size(value) and value is not None}
    # Packed floats cannot be distinguished from unpacked ones.
    if kind in "iu" and any(_is_effective(key, attrs) for key in PACKING):
        scales = {key: _parse_number(attrs[key]) for key in PACKING if key in attrs}
        keys |= scales if None not in scales.values() else {}
    if "_Unsigned" in attrs and (keys or kind == "i"):
        keys["_Unsigned"] = attrs["_Unsigned"]
    return keys


def _cast_fill_values(value: Any, dtype: np.dtype) -> Any:
    """Fill values in the type of the values: compared in another, 1e20 of a float32 is not 1e20. None if no number."""
    if value is None:
        return None
    try:
        numbers = np.atleast_1d(np.asarray(value)).astype(float)
    except (TypeError, ValueError, OverflowError):
        return None
    if dtype.kind in "iu":
        numbers = numbers[np.isfinite(numbers) & (numbers == np.round(numbers))]
        numbers = numbers[(numbers >= np.iinfo(dtype).min) & (numbers <= np.iinfo(dtype).max)]
    cast = numbers.astype(dtype)
    return cast[0] if cast.size == 1 else cast


def _is_effective(key: str, attrs: Mapping[str, Any]) -> bool:
    return key in attrs and _parse_number(attrs[key]) != (1.0 if key == "scale_factor" else 0.0)


def _parse_number(value: Any) -> float | None:
    try:
        return float(np.asarray(value).astype(float).reshape(()).item())
    except (TypeError, ValueError, OverflowError):
        return None


def _convert_radians(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """Latitudes and longitudes in radians (ICON), and the bounds of these, become degrees."""
    changed = {}
    for name, variable in ds.variables.items():
        axis = identify_axis(name, variable) if _is_radian(variable) else None
        if axis is None:
            continue
        units = "degrees_north" if axis == "latitude" else "degrees_east"
        changed[name] = _to_degrees(variable, {**variable.attrs, "units": units})
        bounds = variable.attrs.get("bounds", variable.encoding.get("bounds"))
        if bounds in ds.variables and (_is_radian(ds.variables[bounds]) or "units" not in ds.variables[bounds].attrs):
            changed[bounds] = _to_degrees(ds.variables[bounds], {**ds.variables[bounds].attrs, "units": units})
    listed = ", ".join(repr(str(name)) for name in changed)
    return _replace_variables(ds, changed), [f"radians become degrees: {listed}"] if changed else []


def _is_radian(variable: xr.Variable) -> bool:
    return str(variable.attrs.get("units", "")).strip().casefold() in RADIANS and variable.dtype.kind == "f"


def _to_degrees(variable: xr.Variable, attrs: dict[str, Any]) -> xr.Variable:
    # Nine digits: what was 45 degrees is 45 degrees again.
    return xr.Variable(variable.dims, np.round(np.rad2deg(variable.astype("f8").data), 9), attrs)


def _merge_versions(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """The versions of ERA5 along ``expver``, each missing where the other is, become one; the final one comes first."""
    if not ds.sizes.get(VERSIONS):
        return ds, []
    found = {name: field for name, field in ds.data_vars.items() if VERSIONS in field.dims}
    merged = {name: _merge_field_versions(_make_lazy(field)) for name, field in found.items()}
    names = list(ds.data_vars)
    listed = ", ".join(repr(str(name)) for name in found)
    return ds.drop_dims(VERSIONS).assign(merged)[names], [f"the versions along {VERSIONS!r} are joined, of {listed}"]


def _merge_field_versions(field: xr.DataArray) -> xr.DataArray:
    numbers = np.arange(field.sizes[VERSIONS])
    if VERSIONS in field.coords:
        numbers = np.argsort(_parse_versions(field[VERSIONS].values), kind="stable")
    merged = field.isel({VERSIONS: int(numbers[0])}, drop=True)
    for number in numbers[1:]:
        merged = merged.fillna(field.isel({VERSIONS: int(number)}, drop=True))
    return merged.assign_attrs(field.attrs)


def _parse_versions(versions: np.ndarray) -> np.ndarray:
    """Versions as numbers (``"0005"`` is 5), or as they stand where they are none."""
    try:
        return versions.astype(float)
    except ValueError:
        return versions


def _make_lazy(field: xr.DataArray) -> xr.DataArray:
    """A field that is not read before it is needed."""
    return field.chunk() if field.chunks is None and not field.variable._in_memory else field


def _replace_variables(ds: xr.Dataset, changed: Mapping[Hashable, xr.Variable]) -> xr.Dataset:
    """A Dataset with other variables, and indexes, in place of some of its own."""
    if not changed:
        return ds
    coords = {name: variable for name, variable in changed.items() if name in ds.coords}
    fields = {name: variable for name, variable in changed.items() if name not in ds.coords}
    # An index may hold the units as well (of pint-xarray).
    return ds.drop_indexes([name for name in coords if name in ds.xindexes]).assign(fields).assign_coords(coords)


STEPS: tuple[Step, ...] = (_dequantify, _decode_cf, _convert_radians, _merge_versions)
