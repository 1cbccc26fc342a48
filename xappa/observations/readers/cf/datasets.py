"""CF Datasets of reports: points, and any arrays whose variables share dimensions with their coordinates.

Station series as (station, time) arrays, swaths with two-dimensional latitude and longitude, and gridded products are
flattened along ``obs``, lazily where they are lazy; ragged arrays are expanded first (`ragged`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xappa.cf_text import with_texts
from xappa.errors import ObservationError, RejectionWarning, warn
from xappa.observations.assumptions import with_assumptions
from xappa.observations.errors.attributes import ATTRIBUTE
from xappa.observations.names import NEEDED, NameMap, require_one_each, require_quantities
from xappa.observations.readers.cf.attributes import (
    describe_packing_of_floats,
    require_distinct_dimensions,
    unpack_integers,
    with_hashable,
)
from xappa.observations.readers.cf.flag_names import find_flag_names, require_reasons
from xappa.observations.readers.cf.numbers import with_numbers
from xappa.observations.readers.cf.periods import find_time_bounds, is_climatological
from xappa.observations.readers.cf.ragged import expand_ragged
from xappa.observations.readers.cf.roles import find_coordinates, find_meaning, with_product_names
from xappa.observations.readers.cf.rows import VariableColumn, group_columns, to_reports
from xappa.observations.readers.cf.times import with_times
from xappa.observations.readers.cf.upper_air import UpperAirVariables, find_station_pressure
from xappa.observations.readers.cf.variables import VariableReader
from xappa.observations.readers.cf.vertical import require_pressures, with_vertical_coordinates
from xappa.observations.readers.tables.columns import PlaceColumns, build_read_attrs
from xappa.observations.readers.times import decode_cf_times, to_times
from xappa.observations.schema import STATISTICS, concat, encode_counts, is_one_form, mask_wrong_errors
from xappa.observations.user_variables import is_report_variable, is_user_defined
from xappa.observations.written_attrs import require_written_attrs
from xappa.valid_range import mask_outside_limits


def from_dataset(ds: xr.Dataset, naming: NameMap | None = None) -> xr.Dataset:
    """Observations from a CF Dataset.

    Coordinates and quantities are found by what the caller says, by WeatherBench names, by CF attributes, and then by
    common spellings. Errors are the variables that ``ancillary_variables`` names with the modifier ``standard_error``,
    or ``<name>_error``.

    Parameters
    ----------
    ds : Dataset
        Reports along one dimension, or arrays over several (then flattened). One in the schema is returned as it is.
    naming : NameMap, optional
        Names, units and quality codes that the caller gives.

    Returns
    -------
    Dataset
        In the schema. Flags tell values at other heights than their quantity's (``wrong_height``), over a period that
        nothing tells (``period_unknown``), and those that the source rejects (``rejected_by_source``). Dask-backed
        values stay lazy.

    Raises
    ------
    ObservationError
        If coordinates are missing or ambiguous, no variable is known, known ones hold times instead of numbers or lie
        on levels of a model, or a ragged array does not add up.
    UnitsError
        If units are unknown or cannot be converted.
    """
    naming = naming or NameMap()
    ds = with_texts(_reset_multi_indexes(ds))
    require_written_attrs(ds)
    if is_one_form(ds) and not naming.rename and not naming.units:
        ds = ds.assign({name: require_reasons(ds[name]) for name in ds.data_vars if str(name).endswith("_flag")})
        return mask_wrong_errors(with_hashable(ds))
    require_distinct_dimensions(ds)
    ds = unpack_integers(with_hashable(_rename_to_text(ds)))
    ds, dates, assumed = with_times(expand_ragged(with_product_names(ds)), naming)
    places = find_coordinates(ds, naming)
    _require_elements(ds, places)
    bounds, climatology = find_time_bounds(ds, places["time"]), is_climatological(ds[places["time"]])
    ancillary = _list_ancillary(ds)
    time = ds[places["time"]]
    ds = ds.assign_coords({places["time"]: _decode_times(time, naming.find_units(str(time.name), "time"))})
    ds = ds.assign({name: ds[name].compute() for name in places.values() if ds[name].chunks is not None})
    ds = with_vertical_coordinates(mask_outside_limits(ds, _list_numeric_coordinates(ds, places)), places, naming)
    aloft = UpperAirVariables(ds, places, naming)
    places = places if aloft.level is None else places | {"level": aloft.level}
    candidates = [str(name) for name in ds.data_vars if name not in places.values()]
    of_places = {flag for place, name in places.items() for flag in find_flag_names(ds, name, place)}
    flags = of_places.union(*(find_flag_names(ds, name) for name in candidates))
    candidates = [name for name in candidates if name not in ancillary | flags]
    known = {
        name: meaning
        for name in candidates
        if (meaning := find_meaning(ds[name], aloft.is_upper_air(ds[name]), naming))
    }
    known |= find_station_pressure(ds[candidates], aloft, known)
    require_pressures(ds, {n: m for n, m in known.items() if not aloft.is_upper_air(ds[n])}, places, naming)
    own = {
        name: meaning
        for name in candidates
        if name not in known and (meaning := _name_user_variable(ds, name, places, naming))
    }
    # Of what is given twice, the first good value is used.
    known = dict(sorted(known.items(), key=lambda item: not item[0].casefold().endswith("_adjusted")))
    ds, unreadable = with_numbers(ds, known | own, places)
    reader = VariableReader(ds.set_coords(list(places.values())), places, naming, aloft, bounds, climatology)
    columns = [column for name, meaning in (known | own).items() for column in reader.read(name, meaning)]
    used = {column.name for column in columns}
    unknown = {
        name: _count_values(ds[name]) for name in candidates if name not in used and name not in reader.statistics
    }
    if not used:
        _refuse_statistics(reader.statistics)
    require_quantities(used, unknown)
    groups = group_columns(columns)
    for group in groups:
        require_one_each({c.meaning: [d.name for d in group if d.meaning == c.meaning] for c in group})
    parts = [to_reports(ds, group, places, naming) for group in groups]
    obs = concat(parts).assign_attrs(build_read_attrs(unknown, unreadable, []))
    if reader.statistics:
        obs.attrs[STATISTICS] = encode_counts({name: _count_values(ds[name]) for name in reader.statistics})
    _warn_rejected(reader.list_at_other_heights(), reader.without_period)
    arrays = {str(name): obs[name].to_numpy() for name in obs.coords}
    of_times = PlaceColumns(arrays, set(), dates, assumed).list_assumptions({column.meaning for column in columns})
    floats = describe_packing_of_floats(ds, sorted(used))
    return with_assumptions(_copy_correlations(obs, ds, columns), [*reader.assumptions, *of_times, *floats])


def _copy_correlations(obs: xr.Dataset, ds: xr.Dataset, columns: Sequence[VariableColumn]) -> xr.Dataset:
    """Attributes on correlated errors that were stated before."""
    for column in columns:
        if ATTRIBUTE in ds[column.name].attrs:
            obs[column.meaning].attrs[ATTRIBUTE] = ds[column.name].attrs[ATTRIBUTE]
    return obs


def _require_elements(ds: xr.Dataset, places: Mapping[str, str]) -> None:
    empty = [f"{name} {dict(ds[name].sizes)}" for name in places.values() if not ds[name].size]
    if empty:
        raise ObservationError(
            f"There is not one report: the source is empty, its coordinates have no elements: {', '.join(empty)}. "
            "Expected at least one"
        )


def _refuse_statistics(statistics: Mapping[str, str]) -> None:
    if statistics:
        raise ObservationError(
            f"No values of a known quantity, but statistics: {', '.join(f'{n} ({m})' for n, m in statistics.items())}. "
            "Expected values of instants (cell_methods 'time: point'), or sums, means or extremes over periods"
        )


def _warn_rejected(elsewhere: Mapping[str, str], without_period: Mapping[str, str]) -> None:
    """Say which quantities are rejected as a whole, and what to do if they are meant all the same."""
    if without_period:
        listed = ", ".join(f"{name} ({methods})" for name, methods in without_period.items())
        warn(
            f"Nothing tells the period of {listed}. All their values are kept, and flagged period_unknown. Give bounds "
            "of time (CF section 7.1); for values of instants, set the attribute cell_methods to 'time: point'",
            RejectionWarning,
        )
    if not elsewhere:
        return
    meaning, text = next(iter(elsewhere.items()))
    name = text.split(" at ", 1)[0]
    warn(
        f"Not at the height of the quantity: {'; '.join(elsewhere.values())}. All their values are kept, and flagged "
        f"wrong_height. If the quantity is meant all the same, say rename={{{name!r}: {meaning!r}}}; if a coordinate "
        "is the height of a station above the sea, rename={'<its name>': 'altitude'}",
        RejectionWarning,
    )


def _list_numeric_coordinates(ds: xr.Dataset, places: Mapping[str, str]) -> list[Any]:
    """Coordinates of numbers, other than time."""
    return [name for place, name in places.items() if place != "time" and ds[name].dtype.kind in "iuf"]


def _reset_multi_indexes(ds: xr.Dataset) -> xr.Dataset:
    """The same without MultiIndexes: their levels are coordinates, and no file holds them otherwise."""
    stacked = [dim for dim in ds.dims if isinstance(ds.xindexes.get(dim), xr.indexes.PandasMultiIndex)]
    return ds.reset_index(stacked) if stacked else ds


def _rename_to_text(ds: xr.Dataset) -> xr.Dataset:
    """The same with names that are text, as columns of a table have."""
    others = {name: str(name) for name in (*ds.variables, *ds.dims) if not isinstance(name, str)}
    return ds.rename(others) if others else ds


def _name_user_variable(ds: xr.Dataset, name: str, places: Mapping[str, str], naming: NameMap) -> str | None:
    """What a variable of no known quantity is called, if it is to be kept."""
    own = naming.find_user_name(name) or (name if is_user_defined(ds[name]) else None)
    dims = {dim for place in NEEDED for dim in ds[places[place]].dims}
    return own if own is not None and is_report_variable(ds[name], dims) else None


def _list_ancillary(ds: xr.Dataset) -> set[str]:
    """Variables that only say something about others: errors, flags, bounds."""
    attrs = [variable.attrs for variable in ds.variables.values()]
    named = {name for a in attrs for key in ("ancillary_variables", "bounds") for name in str(a.get(key, "")).split()}
    suffixed = {f"{name}{suffix}" for name in ds.variables for suffix in ("_error", "_flag")}
    return named | suffixed


def _count_values(variable: xr.DataArray) -> int:
    """Number of values of an unknown variable; its size, if counting would compute."""
    return variable.size if variable.chunks is not None else int(variable.notnull().sum())


def _decode_times(time: xr.DataArray, told: str | None) -> tuple[Any, Any]:
    if told and time.dtype.kind in "iuf":
        time = time.assign_attrs(units=told)
    if " since " in str(time.attrs.get("units", "")) and not np.issubdtype(time.dtype, np.datetime64):
        time = decode_cf_times(time)
    if np.issubdtype(time.dtype, np.datetime64):
        return time.dims, time.data
    return time.dims, to_times(time.to_numpy().reshape(-1), str(time.name)).reshape(time.shape)
