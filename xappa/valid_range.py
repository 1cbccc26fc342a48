"""Limits of valid values that CF attributes give: what lies outside counts as missing.

``actual_range`` is no limit. xarray unpacks values, and leaves these attributes as they are: in packed numbers, where
they have the type of the packed data.

References
----------
CF conventions 1.11, section 2.5.1 (missing data, valid and actual range of data). NetCDF Users Guide, appendix A
(attribute conventions: limits of the type of ``scale_factor`` are those of unpacked data).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Hashable, Iterable

import numpy as np
import xarray as xr

from xappa.errors import RejectionWarning, warn

_SMALL_INTEGERS = {np.dtype(kind) for kind in ("i1", "u1", "i2", "u2")}
_ROUNDING = 1e-6


def read_limits(variable: xr.DataArray | xr.Variable) -> tuple[float, float] | None:
    """Lowest and highest valid value, in the units that the values have; None without limits.

    Parameters
    ----------
    variable : DataArray or Variable
        With ``valid_range``, or ``valid_min`` and ``valid_max``; its ``encoding`` tells how it was packed.

    Returns
    -------
    (float, float) or None
        None too where the limits are small integers and the values are not, so that they are of packed data, and
        nothing tells how these were packed (see `is_packing_lost`).
    """
    given = _read_limit_attributes(variable)
    if given is None or variable.dtype.kind not in "iuf" or is_packing_lost(variable):
        return None
    low, high = (float(limit) for limit in given)
    if _is_packed(variable, given):
        factor = float(np.asarray(variable.encoding.get("scale_factor", 1.0)).reshape(-1)[0])
        offset = float(np.asarray(variable.encoding.get("add_offset", 0.0)).reshape(-1)[0])
        # Half a step of the packed numbers, so that the limits themselves are valid.
        low, high = sorted(((low - 0.5) * factor + offset, (high + 0.5) * factor + offset))
    elif variable.dtype == np.float32:
        low, high = (limit + sign * _ROUNDING * abs(limit) for limit, sign in ((low, -1), (high, 1)))
    return low, high


def is_packing_lost(variable: xr.DataArray | xr.Variable) -> bool:
    """Whether limits are of packed data of which nothing tells how they were packed."""
    given = _read_limit_attributes(variable)
    if given is None or variable.dtype.kind != "f" or _has_packing(variable):
        return False
    return given.dtype in _SMALL_INTEGERS and variable.encoding.get("dtype") not in _SMALL_INTEGERS


def find_unread_limits(variable: xr.DataArray | xr.Variable) -> str | None:
    """Attributes of limits, as text, where they are not such as CF has them; None otherwise."""
    given = {key: variable.attrs[key] for key in ("valid_range", "valid_min", "valid_max") if key in variable.attrs}
    return (
        ", ".join(f"{key} = {value}" for key, value in given.items())
        if given and _read_limit_attributes(variable) is None
        else None
    )


def find_outside(variable: xr.DataArray) -> xr.DataArray | None:
    """Mask of values outside their limits, lazy where they are lazy; None without limits."""
    limits = read_limits(variable)
    if limits is None:
        return None
    bare = variable.drop_attrs().reset_coords(drop=True)
    return (bare < limits[0]) | (bare > limits[1])


def mask_outside_limits(ds: xr.Dataset, names: Iterable[Hashable], warn: bool = False) -> xr.Dataset:
    """The same with values outside their limits missing, lazily where they are lazy.

    Parameters
    ----------
    ds : Dataset
    names : iterable
        Variables to look at; those without limits are untouched.
    warn : bool, default False
        Whether to say how many values are outside (of those in memory), and which limits cannot be looked at.
    """
    masked = {}
    for name in names:
        if warn and is_packing_lost(ds[name]):
            _warn(
                f"{name}: its valid limits are of packed data, and nothing tells how these were packed: not looked at"
            )
        if warn and (unread := find_unread_limits(ds[name])):
            _warn(f"{name}: {unread} are no limits that are understood: not looked at")
        if (wrong := find_outside(ds[name])) is None:
            continue
        if wrong.chunks is None and not (count := int(wrong.sum())):
            continue
        if warn and wrong.chunks is None:
            _warn(f"{name}: {count} values lie outside its valid limits (valid_range, valid_min, valid_max): missing")
        masked[name] = ds[name].where(~wrong).assign_attrs(ds[name].attrs)
        masked[name].encoding = ds[name].encoding
    return ds.assign(masked) if masked else ds


def _warn(text: str) -> None:
    warn(text, RejectionWarning)


def _read_limit_attributes(variable: xr.DataArray | xr.Variable) -> np.ndarray | None:
    """The two limits, in the type that they have; infinite where there is none."""
    attrs = variable.attrs
    found = _parse_numbers(attrs["valid_range"]) if "valid_range" in attrs else np.empty(0)
    if found.size == 2 and found.dtype.kind in "iuf":
        return _to_unsigned(variable, found)
    one = [_parse_numbers(attrs[key]) for key in ("valid_min", "valid_max") if key in attrs]
    if not one or any(a.size != 1 or a.dtype.kind not in "iuf" for a in one):
        return None
    low, high = (_parse_numbers(attrs.get(key, np.nan)) for key in ("valid_min", "valid_max"))
    kind = np.result_type(*one)
    ends = [np.finfo(float).min, np.finfo(float).max] if kind.kind == "f" else [np.iinfo(kind).min, np.iinfo(kind).max]
    pair = [low[0] if "valid_min" in attrs else ends[0], high[0] if "valid_max" in attrs else ends[1]]
    return _to_unsigned(variable, np.asarray(pair, kind))


def _parse_numbers(attribute: object) -> np.ndarray:
    """An attribute as numbers, which may be text with blanks or commas between; as it is where it holds none."""
    if not isinstance(attribute, str):
        return np.asarray(attribute).reshape(-1)
    words = [word for word in re.split(r"[\s,;\[\]()]+", attribute) if word]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return np.array([kind(word) for word in words])
    return np.asarray(words)


def _to_unsigned(variable: xr.DataArray | xr.Variable, limits: np.ndarray) -> np.ndarray:
    """Limits of unsigned data that netCDF-3 keeps as signed ones."""
    unsigned = {**variable.attrs, **variable.encoding}.get("_Unsigned") in ("true", b"true", True)
    return limits.view(limits.dtype.str.replace("i", "u")) if unsigned and limits.dtype.kind == "i" else limits


def _has_packing(variable: xr.DataArray | xr.Variable) -> bool:
    return bool({"scale_factor", "add_offset"} & set(variable.encoding))


def _is_packed(variable: xr.DataArray | xr.Variable, limits: np.ndarray) -> bool:
    """Whether limits are in packed numbers: data were packed, and limits do not have the type of their scale."""
    stored = variable.encoding.get("dtype")
    packed = _has_packing(variable) and (stored is None or np.dtype(stored).kind in "iu")
    return packed and limits.dtype.kind in "iu"
