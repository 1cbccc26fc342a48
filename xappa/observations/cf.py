"""CF Datasets of reports: points, and any arrays whose variables share dimensions with their coordinates.

Station series as (station, time) arrays, swaths with two-dimensional latitude and longitude, and gridded products are
flattened along ``obs``, lazily where they are lazy; ragged arrays are expanded first (`cf_layouts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations.assumptions import with_assumptions, with_units_read
from xappa.observations.beside import own_flags
from xappa.observations.cf_layouts import expand
from xappa.observations.cf_numbers import with_numbers
from xappa.observations.cf_periods import bounds_of, is_over_period, periods_of
from xappa.observations.cf_roles import error_of, find_coordinates, is_aloft, meaning_of, with_product_names
from xappa.observations.cf_times import with_times
from xappa.observations.cf_vertical import at_own_heights, require_any, require_pressures
from xappa.observations.columns import Places, notes, to_text
from xappa.observations.flags import flag_attrs
from xappa.observations.form import build, concat, is_one_form
from xappa.observations.missing_codes import declared_codes, without_codes
from xappa.observations.names import (
    NEEDED,
    QUANTITIES,
    Naming,
    require_coordinates,
    require_one_each,
    require_quantities,
)
from xappa.observations.own import is_own, keepable, own_attrs
from xappa.observations.periods import to_periods
from xappa.observations.statements import ATTRIBUTE
from xappa.observations.times import decoded, to_times
from xappa.observations.units import COORDINATE_UNITS, conversions

UNITLESS = ("time", "station", "period", "channel")


def from_dataset(ds: xr.Dataset, naming: Naming | None = None) -> xr.Dataset:
    """Observations from a CF Dataset.

    Coordinates and quantities are found by what the caller says, by WeatherBench names, by CF attributes, and then by
    common spellings. Errors are the variables that ``ancillary_variables`` names with the modifier ``standard_error``,
    or ``<name>_error``.

    Parameters
    ----------
    ds : Dataset
        Reports along one dimension, or arrays over several (then flattened). One in the one form is returned as it is.
    naming : Naming, optional
        What the caller says about names and units.

    Returns
    -------
    Dataset
        In the one form, without new flags. Dask-backed values stay lazy.

    Raises
    ------
    ObservationError
        If coordinates are missing or ambiguous, no variable is known, known ones hold times instead of numbers or lie
        on levels that are no pressures, or a ragged array does not add up.
    UnitsError
        If units are unknown or cannot be converted.
    """
    naming = naming or Naming()
    ds = _unstacked(ds)
    if is_one_form(ds) and not naming.rename and not naming.units:
        return ds
    ds, dates, assumed = with_times(expand(with_product_names(_with_names(ds))), naming)
    places = find_coordinates(ds, naming)
    bounds = bounds_of(ds, places["time"])
    ancillary = _ancillary(ds)
    time = ds[places["time"]]
    ds = ds.assign_coords({places["time"]: _decoded(time, naming.told_units(str(time.name), "time"))})
    level = ds[places["level"]] if "level" in places else None
    candidates = [str(name) for name in ds.data_vars if name not in places.values() and name not in ancillary]
    meanings = {name: meaning for name in candidates if (meaning := meaning_of(ds[name], level, naming)) is not None}
    low = {name: meaning for name, meaning in meanings.items() if not is_aloft(ds[name], level)}
    require_pressures(ds, low, places, naming)
    ds, left_out, elsewhere = at_own_heights(ds, low, places, naming)
    sources: dict[str, list[str]] = {}
    for name in candidates:
        found = meanings.get(name) if name not in elsewhere else None
        if (meaning := found or _own(ds, name, places, naming)) is not None:
            sources.setdefault(meaning, []).append(name)
    known = {meaning: names[0] for meaning, names in sources.items()}
    unknown = {name: _count(ds[name]) for name in candidates if name not in sum(sources.values(), [])} | left_out
    require_any(known, elsewhere)
    require_quantities(known, unknown)
    require_one_each(sources)
    ds, unreadable = with_numbers(ds, known, places)
    groups: dict[tuple[frozenset[Any], bool], dict[str, str]] = {}
    for meaning, name in known.items():
        over = bounds is not None and is_over_period(meaning, ds[name].attrs)
        groups.setdefault((frozenset(ds[name].dims), over), {})[meaning] = name
    obs = concat(
        [_flattened(ds, group, places, naming, bounds if over else None) for (_, over), group in groups.items()]
    )
    obs = _with_correlations(obs, ds, known).assign_attrs(notes(unknown, unreadable, []))
    arrays = {str(name): obs[name].to_numpy() for name in obs.coords}
    return with_assumptions(obs, Places(arrays, set(), dates, assumed).assumptions(known))


def _with_correlations(obs: xr.Dataset, ds: xr.Dataset, known: Mapping[str, str]) -> xr.Dataset:
    """What was stated of correlated errors before, kept."""
    for meaning, name in known.items():
        if ATTRIBUTE in ds[name].attrs:
            obs[meaning] = obs[meaning].assign_attrs({ATTRIBUTE: ds[name].attrs[ATTRIBUTE]})
    return obs


def _unstacked(ds: xr.Dataset) -> xr.Dataset:
    """The same without MultiIndexes: their levels are coordinates, and no file holds them otherwise."""
    stacked = [dim for dim in ds.dims if isinstance(ds.xindexes.get(dim), xr.indexes.PandasMultiIndex)]
    return ds.reset_index(stacked) if stacked else ds


def _with_names(ds: xr.Dataset) -> xr.Dataset:
    """The same with names that are text, as columns of a table have."""
    others = {name: str(name) for name in (*ds.variables, *ds.dims) if not isinstance(name, str)}
    return ds.rename(others) if others else ds


def _own(ds: xr.Dataset, name: str, places: Mapping[str, str], naming: Naming) -> str | None:
    """What a variable of no known quantity is called, if it is to be kept."""
    own = naming.own(name) or (name if is_own(ds[name]) else None)
    dims = {dim for place in NEEDED for dim in ds[places[place]].dims}
    return own if own is not None and keepable(ds[name], dims) else None


def _ancillary(ds: xr.Dataset) -> set[str]:
    """Variables that only say something about others: errors, flags, bounds."""
    attrs = [variable.attrs for variable in ds.variables.values()]
    named = {name for a in attrs for key in ("ancillary_variables", "bounds") for name in a.get(key, "").split()}
    suffixed = {f"{name}{suffix}" for name in ds.variables for suffix in ("_error", "_flag")}
    return named | suffixed


def _count(variable: xr.DataArray) -> int:
    """How many values an unknown variable has; all, where counting would compute."""
    return variable.size if variable.chunks is not None else int(variable.notnull().sum())


def _decoded(time: xr.DataArray, told: str | None) -> tuple[Any, Any]:
    if told and time.dtype.kind in "iuf":
        time = time.assign_attrs(units=told)
    if " since " in str(time.attrs.get("units", "")) and not np.issubdtype(time.dtype, np.datetime64):
        time = decoded(time)
    if np.issubdtype(time.dtype, np.datetime64):
        return time.dims, time.data
    return time.dims, to_times(time.to_numpy().reshape(-1), str(time.name)).reshape(time.shape)


def _flattened(
    ds: xr.Dataset, group: Mapping[str, str], places: Mapping[str, str], naming: Naming, bounds: xr.DataArray | None
) -> xr.Dataset:
    """Quantities that share dimensions (meaning to name), as reports along ``obs``."""
    dims = ds[next(iter(group.values()))].dims
    usable = {meaning: name for meaning, name in places.items() if set(ds[name].dims) <= set(dims)}
    shapes = [f"{name} {ds[name].dims}" for name in (*group.values(), *places.values())]
    require_coordinates(usable, shapes)
    sizes = {str(dim): ds.sizes[dim] for dim in dims}
    related = {name: error_of(ds, name) for name in group.values()}
    kept = _not_padding(ds, group, usable, sizes)
    names = {*group.values(), *filter(None, related.values())}
    flat = {name: _rows(_along_obs(ds[name].variable, sizes), kept) for name in names}
    flat |= {name: _place(meaning, ds[name], sizes, kept) for meaning, name in usable.items()}
    units, assumed = _units(flat, {**usable, **group}, naming)
    own = {
        meaning: own_attrs(ds[name].attrs, units.pop(meaning, None))
        for meaning, name in group.items()
        if meaning not in QUANTITIES
    }
    maps = conversions((meaning, found, _expected(meaning)) for meaning, found in units.items())
    arrays, codes = {}, {}
    for meaning, name in {**usable, **group}.items():
        given = flat[name].data
        arrays[meaning] = maps[meaning, units[meaning]].value(given) if meaning in units else given
        if given.dtype.kind == "f":
            declared = declared_codes(ds[name].attrs)
            arrays[meaning], codes[meaning] = without_codes(given, arrays[meaning], meaning, declared)
    coordinates, values = ({meaning: arrays[meaning] for meaning in names} for names in (usable, group))
    errors = {}
    for meaning, name in group.items():
        if (error := related[name]) is not None:
            expected = str(own[meaning].get("units", "")) if meaning in own else _expected(meaning)
            found = str(flat[error].attrs.get("units", units.get(meaning, expected)))
            convert = conversions([(error, found, expected or found)])[error, found]
            errors[meaning] = convert.deviation(flat[error].data)
    lengths: dict[str, np.ndarray] = {}
    if bounds is not None:
        lengths, coordinates["time"] = periods_of(bounds, group, lambda v: _rows(_along_obs(v, sizes), kept))
    attrs = notes({}, {}, [name for name in assumed if name in group], codes)
    obs = build(coordinates, values, errors, attrs, lengths, own)
    with_units_read(obs, {meaning: units.get(meaning) for meaning in group if meaning not in assumed})
    if kept is not None:
        obs.attrs["elements_padding"] = int(kept.size - kept.sum())
    return _with_own_flags(obs, ds, group, sizes, kept) if not lengths else obs


def _not_padding(
    ds: xr.Dataset, group: Mapping[str, str], places: Mapping[str, str], sizes: Mapping[str, int]
) -> np.ndarray | None:
    """Elements of a multidimensional array that are reports; None if all are.

    CF (section 9.6): where an auxiliary coordinate is missing, everything else is as well, and there is no report.
    Values that are in memory are looked at, so that a report without a time is not taken for padding.
    """
    whole = [name for name in places.values() if set(map(str, ds[name].dims)) == set(sizes) and len(sizes) > 1]
    if not whole:
        return None
    missing = np.logical_and.reduce([pd.isna(_along_obs(ds[name].variable, sizes).to_numpy()) for name in whole])
    for name in group.values():
        if ds[name].chunks is None and missing.any():
            missing &= pd.isna(_along_obs(ds[name].variable, sizes).to_numpy())
    return None if not missing.any() or missing.all() else ~missing


def _rows(variable: xr.Variable, kept: np.ndarray | None) -> xr.Variable:
    return variable if kept is None else variable[{"obs": np.flatnonzero(kept)}]


def _place(meaning: str, variable: xr.DataArray, sizes: Mapping[str, int], kept: np.ndarray | None) -> xr.Variable:
    """A coordinate along ``obs``, in memory; texts are made before they are repeated."""
    array = variable.to_numpy()
    if meaning == "station":
        array = to_text(array.reshape(-1)).reshape(array.shape)
    elif meaning == "period":
        array = to_periods(array.reshape(-1), variable.attrs.get("units")).reshape(array.shape)
    return _rows(_along_obs(xr.Variable(variable.dims, array, variable.attrs), sizes), kept)


def _along_obs(variable: xr.Variable, sizes: Mapping[str, int]) -> xr.Variable:
    whole = variable.set_dims(sizes).transpose(*sizes)
    data = whole.data.reshape(-1)
    return xr.Variable("obs", data.astype(float) if data.dtype.kind in "iub" else data, variable.attrs)


def _expected(meaning: str) -> str:
    return COORDINATE_UNITS[meaning] if meaning in COORDINATE_UNITS else QUANTITIES[meaning].units


def _units(
    flat: Mapping[str, xr.Variable], names: Mapping[str, str], naming: Naming
) -> tuple[dict[str, str], list[str]]:
    """Units of each quantity and coordinate that has some, and those for which they are assumed."""
    units, assumed = {}, []
    for meaning, name in names.items():
        if meaning in UNITLESS:
            continue
        found = naming.told_units(name, meaning) or flat[name].attrs.get("units")
        if meaning not in QUANTITIES and meaning not in COORDINATE_UNITS:
            if found:
                units[meaning] = str(found)
            continue
        if not found:
            assumed.append(meaning)
        units[meaning] = str(found) if found else _expected(meaning)
    return units, assumed


def _with_own_flags(
    obs: xr.Dataset, ds: xr.Dataset, group: Mapping[str, str], sizes: Mapping[str, int], kept: np.ndarray | None
) -> xr.Dataset:
    """Flags that were set by xappa before, kept."""
    for meaning, name in group.items():
        flag = ds.get(f"{name}_flag")
        if flag is not None and (_is_ours(flag) or (name == meaning and not _is_labelled(flag))):
            own = _rows(_along_obs(_codes_of(flag), sizes), kept).astype("int8")
            obs[f"{meaning}_flag"] = ("obs", own.data, flag_attrs() | {"standard_name": _status(obs, meaning)})
    return obs


def _is_labelled(flag: xr.DataArray) -> bool:
    return bool({"flag_values", "flag_masks", "flag_meanings"} & set(flag.attrs))


def _codes_of(flag: xr.DataArray) -> xr.Variable:
    """Codes of xappa's own flags; without attributes, as from a table, they are checked, and may be reasons."""
    if _is_labelled(flag) or flag.chunks is not None:
        return flag.variable
    codes = own_flags(pd.Series(flag.to_numpy().reshape(-1)), str(flag.name))
    return xr.Variable(flag.dims, codes.reshape(flag.shape))


def _is_ours(flag: xr.DataArray) -> bool:
    """Whether the reasons are those of `Flag`, or the first of them (an older version knew fewer)."""
    meanings, known = str(flag.attrs.get("flag_meanings", "?")).split(), flag_attrs()["flag_meanings"].split()
    return meanings == known[: len(meanings)]


def _status(obs: xr.Dataset, name: str) -> str:
    return f"{obs[name].attrs.get('standard_name', name)} status_flag"
