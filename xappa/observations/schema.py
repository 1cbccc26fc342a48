"""The one form of observations: a Dataset along ``obs``, made, recognised and joined here.

Coordinates are always in memory, quantities may be lazy. A report over a period (6-hour precipitation, daily mean or
extreme) has ``time`` at the period's end and its length in ``period``; NaT, or no such coordinate, is an instant. See
`periods` for what is meant by a quantity with a period. ``channel`` numbers the channels of radiances.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.assumptions import ASSUMPTIONS, UNITS_ASSUMED, UNITS_READ, get_assumptions, with_assumption
from xappa.observations.errors import attributes
from xappa.observations.flags import set_flag
from xappa.observations.names import NEEDED, QUANTITIES
from xappa.observations.user_variables import build_user_attrs, is_user_defined
from xappa.observations.variables import NEAR_GROUND
from xappa.vocabulary import VARIABLES

COORDINATE_ATTRS: dict[str, dict[str, str]] = {
    "time": {"standard_name": "time", "long_name": "Time of the report"},
    "latitude": {"standard_name": "latitude", "long_name": "Latitude", "units": "degrees_north"},
    "longitude": {"standard_name": "longitude", "long_name": "Longitude", "units": "degrees_east"},
    "level": {"standard_name": "air_pressure", "long_name": "Pressure", "units": "hPa", "positive": "down"},
    "altitude": {
        "standard_name": "altitude",
        "long_name": "Height of the station above mean sea level",
        "units": "m",
        "positive": "up",
    },
    "height": {
        "standard_name": "height",
        "long_name": "Height of the instrument above the ground",
        "units": "m",
        "positive": "up",
    },
    "station": {"standard_name": "platform_id", "long_name": "Station"},
    "period": {"long_name": "Length of the period of the report, which ends at its time"},
    "channel": {"standard_name": "sensor_band_identifier", "long_name": "Channel of the instrument"},
    "source": {"long_name": "Source of the report"},
}

STATISTICS = "statistics_left_out"
"""Attribute of observations that counts values that are no values of their quantity: deviations, ranges (JSON)."""

_NUMBERS = ("latitude", "longitude", "level", "altitude", "height", "channel")
_FILL: dict[str, Any] = {"station": "", "source": "", "period": np.timedelta64("NaT", "s")}
COUNTS = (
    "reports_read",
    "reports_empty",
    "reports_variable_wind",
    "messages_skipped",
    "messages_broken",
    "subsets_found",
    "elements_padding",
    "reports_refused",
    "reports_suspect",
)

COUNTS_BY_NAME = (
    "unknown_variables",
    "unreadable_values",
    "missing_codes",
    STATISTICS,
    "reports_left_out",
    "groups_unread",
    "subsets_without_report",
    "values_left_out",
    "reports_not_checked",
    "reports_checked_by_climatology",
)


def quantities(obs: xr.Dataset) -> list[str]:
    """Names of the observed quantities of `obs`: neither errors nor flags."""
    return [str(name) for name in obs.data_vars if not str(name).endswith(("_error", "_flag"))]


def get_quantity_attrs(name: str, own: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """CF attributes of a reported quantity: those of the vocabulary, else those in `own`."""
    if name not in QUANTITIES:
        return dict((own or {}).get(name, build_user_attrs({}, None)))
    variable = QUANTITIES[name]
    attrs = {"units": variable.units, "standard_name": variable.standard_name, "long_name": variable.long_name}
    methods = variable.cell_methods if name in VARIABLES or variable.cell_methods != "time: point" else ""
    return {key: text for key, text in (attrs | {"cell_methods": methods}).items() if text}


def build_observations(
    coordinates: Mapping[str, Any],
    values: Mapping[str, Any],
    errors: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
    periods: Mapping[str, Any] | None = None,
    own: Mapping[str, Mapping[str, Any]] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Observations in the schema, from arrays.

    Parameters
    ----------
    coordinates : mapping of str to array, shape (obs,)
        ``time`` (datetime64), ``latitude`` (degrees north), ``longitude`` (degrees east); optional ``level`` (hPa),
        ``altitude`` (m), ``height`` (m above the ground), ``station`` (text), ``period`` (timedelta64) and ``channel``.
    values : mapping of str to array, shape (obs,)
        Quantities in the units of the vocabulary; NaN where not reported. NumPy or Dask.
    errors : mapping of str to array, shape (obs,), optional
        Standard deviations of the errors, same units.
    attrs : mapping, optional
        Attributes to add.
    periods : mapping of str to array of timedelta64, shape (obs,), optional
        Period of each quantity that is one over a period, where reports have others too. They get rows of their own.
    own : mapping of str to mapping, optional
        Attributes of quantities that the vocabulary does not have, see `build_user_attrs`.
    flags : mapping of str to array of int8, shape (obs,), optional
        Reasons (`Flag`) why values are rejected that their source tells; 0 for good ones.

    Returns
    -------
    Dataset

    Raises
    ------
    ObservationError
        If there is not one report, or an upper-air quantity comes without any level.
    """
    columns = {"value": values, "error": errors or {}, "flag": flags or {}}
    if "level" not in coordinates:
        columns = {kind: _rename_near_ground(by_name) for kind, by_name in columns.items()}
    own, periods = own or {}, periods or {}
    parts = [_select_period_reports(coordinates, name, columns, period, own) for name, period in periods.items()]
    instant = {kind: {n: a for n, a in by_name.items() if n not in periods} for kind, by_name in columns.items()}
    if instant["value"] or not parts:
        parts.insert(0, _build_dataset(coordinates, instant, own))
    parts = [part for part in parts if part.sizes["obs"]] or parts[:1]
    if not parts[0].sizes["obs"]:
        raise ObservationError("There is not one report: the source is empty. Expected at least one row")
    obs = concat(parts)
    return obs.assign_attrs(attrs or {})


def _rename_near_ground(by_name: Mapping[str, Any]) -> dict[str, Any]:
    """Quantities with the names that they have at 2 m, where there is one and it is not taken."""
    others = {old: new for old, new in NEAR_GROUND.items() if new not in by_name}
    return {others.get(name, name): array for name, array in by_name.items()}


_Columns = Mapping[str, Mapping[str, Any]]
"""Values, errors and flags ("value", "error", "flag"): arrays by quantity."""


def _select_period_reports(
    coordinates: Mapping[str, Any], name: str, columns: _Columns, period: Any, own: Mapping[str, Mapping[str, Any]]
) -> xr.Dataset:
    """The reports of one quantity over a period, as far as they can be told without computing."""
    values = columns["value"][name]
    length = np.broadcast_to(np.asarray(period, "timedelta64[s]"), np.shape(values))
    there = ~np.isnat(length)
    if isinstance(values, np.ndarray):
        there &= ~np.isnan(values)
    rows = np.flatnonzero(there)
    places = {key: np.asarray(array)[rows] for key, array in coordinates.items()} | {"period": length[rows]}
    part = {kind: {name: by_name[name][rows]} if name in by_name else {} for kind, by_name in columns.items()}
    return _build_dataset(places, part, own)


def _build_dataset(
    coordinates: Mapping[str, Any], columns: _Columns, own: Mapping[str, Mapping[str, Any]]
) -> xr.Dataset:
    _require_levels(coordinates, columns["value"])
    obs = xr.Dataset(
        {name: ("obs", array, get_quantity_attrs(name, own)) for name, array in columns["value"].items()},
        coords={
            name: ("obs", coordinates[name], COORDINATE_ATTRS[name]) for name in COORDINATE_ATTRS if name in coordinates
        },
        attrs={"Conventions": "CF-1.11", "featureType": "point"},
    )
    for name, array in columns["error"].items():
        obs = set_error(obs, name, xr.DataArray(array, dims="obs"))
    for name, array in columns["flag"].items():
        obs = set_flag(obs, name, xr.DataArray(array, dims="obs").where(obs[name].notnull(), 0))
    return obs


def _require_levels(coordinates: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    if "level" in coordinates:
        return
    upper = [name for name in values if name in QUANTITIES and QUANTITIES[name].upper_air]
    if not upper:
        return
    near = {"temperature": "2m_temperature"} | {f"{c}_component_of_wind": f"10m_{c}_component_of_wind" for c in "uv"}
    hints = [f"rename={{'{name}': '{near[name]}'}}" for name in upper if name in near]
    advice = f", or, if it was measured near the ground, {' or '.join(hints)}" if hints else ""
    raise ObservationError(
        f"{', '.join(upper)}: on pressure levels, but the reports have no level (found {', '.join(coordinates)}). "
        f"Give a column or coordinate 'level' (hPa){advice}"
    )


def set_error(obs: xr.Dataset, name: str, error: xr.DataArray) -> xr.Dataset:
    """`obs` with the error deviations of one quantity.

    Those that are not finite numbers above 0 count as unknown (NaN); how many there are is an assumption, where they
    are in memory.
    """
    valid = (error > 0) & np.isfinite(error)
    if error.chunks is None and (wrong := int((~valid & error.notnull()).sum())):
        obs = with_assumption(
            obs,
            f"{name}_error: {wrong} of {error.size} errors are no finite numbers above 0, and count as unknown: those "
            "of the default table, or of error=, hold. Correct them, or give NaN where no error is known",
        )
    error = error.where(valid).reset_coords(drop=True)
    quantity = obs[name].attrs
    text = str(quantity.get("long_name", name))
    text = text if name not in QUANTITIES else f"{text[:1].lower()}{text[1:]}"
    error.attrs = {
        "units": quantity.get("units"),
        "standard_name": f"{quantity.get('standard_name', name)} standard_error",
        "long_name": f"Error deviation of {text}",
    }
    error.attrs = {key: value for key, value in error.attrs.items() if value is not None}
    related = quantity.get("ancillary_variables", "").split()
    obs = obs.assign({f"{name}_error": error})
    if f"{name}_error" not in related:
        obs[name] = obs[name].assign_attrs(ancillary_variables=" ".join([*related, f"{name}_error"]))
    return obs


def mask_wrong_errors(obs: xr.Dataset) -> xr.Dataset:
    """`obs`, in the schema already, with those errors unknown that are no finite numbers above 0; see `set_error`."""
    for name in quantities(obs):
        if f"{name}_error" in obs:
            error = obs[f"{name}_error"]
            if error.chunks is not None or not ((error > 0) & np.isfinite(error) | error.isnull()).all():
                obs = set_error(obs, name, error)
    return obs


def is_one_form(ds: xr.Dataset) -> bool:
    """Whether `ds` is in the schema already."""
    names = quantities(ds)
    return (
        set(ds.dims) == {"obs"}
        and all(isinstance(name, str) for name in ds.variables)
        and not isinstance(ds.xindexes.get("obs"), xr.indexes.PandasMultiIndex)
        and bool(names)
        and all(name in ds.coords and ds[name].dims == ("obs",) for name in NEEDED)
        and np.issubdtype(ds["time"].dtype, np.datetime64)
        and all(
            ds[name].dtype.kind in "iuf"
            for name in (*names, *_NUMBERS, *_list_error_names(names))
            if name in ds.variables
        )
        and all(
            ds[name].attrs.get("units") == QUANTITIES[name].units if name in QUANTITIES else is_user_defined(ds[name])
            for name in names
        )
        and all(
            ds[f"{name}_error"].attrs.get("units", ds[name].attrs.get("units")) == ds[name].attrs.get("units")
            for name in names
            if f"{name}_error" in ds.variables
        )
        and all(ds[name].dims == ("obs",) for name in (*COORDINATE_ATTRS, *ds.data_vars) if name in ds.variables)
        and all(str(name).rsplit("_", 1)[0] in names for name in ds.data_vars if str(name) not in names)
        and all(ds[name].dtype.kind in "iu" for name in ds.data_vars if str(name).endswith("_flag"))
        and ("level" in ds.coords or not any(QUANTITIES[n].upper_air for n in names if n in QUANTITIES))
        and ds.coords.get("level", xr.DataArray(attrs={"units": "hPa"})).attrs.get("units") == "hPa"
        and ("period" not in ds.coords or ds["period"].dtype.kind == "m")
    )


def _list_error_names(names: Sequence[str]) -> list[str]:
    return [f"{name}_error" for name in names]


def concat(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join observations in the schema along ``obs``; what a part lacks is missing there.

    Where parts differ in what they say of correlated errors, each has a label in ``source``, so that it keeps its own.
    """
    if len(parts) == 1:
        return parts[0]
    variables: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name in part.data_vars:
            variables[str(name)] = _merge_attrs(variables.get(str(name), {}), part[name].attrs)
    correlated = [name for name, attrs in variables.items() if attributes.ATTRIBUTE in attrs]
    if correlated:
        apart = attributes.separate_sources(parts, correlated)
        for name in correlated:
            variables[name][attributes.ATTRIBUTE] = attributes.merge_correlation_attrs(parts, apart, name)
        parts = apart
    coordinates = [name for name in COORDINATE_ATTRS if any(name in part.coords for part in parts)]
    data = {
        name: ("obs", _concat_arrays([_get_values(part, name) for part in parts]), attrs)
        for name, attrs in variables.items()
    }
    coords = {
        name: ("obs", _concat_arrays([_get_values(part, name) for part in parts]), COORDINATE_ATTRS[name])
        for name in coordinates
    }
    return attributes.number_statements(xr.Dataset(data, coords, _merge_dataset_attrs(parts)))


def _get_values(part: xr.Dataset, name: str) -> Any:
    if name in part:
        return part[name].data
    size = part.sizes["obs"]
    if name.endswith("_flag"):
        return np.zeros(size, dtype="int8")
    return np.full(size, _FILL.get(name, np.nan))


def _concat_arrays(arrays: Sequence[Any]) -> Any:
    return xr.Variable.concat([xr.Variable("obs", array) for array in arrays], dim="obs").data


def _merge_attrs(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a quantity in two parts: those of the first, lists of names joined."""
    joined = {**other, **first}
    for key, between in (("ancillary_variables", " "), ("derived_from", " "), (UNITS_READ, ", ")):
        if key in joined:
            words = [word for attrs in (first, other) for word in str(attrs.get(key, "")).split(between) if word]
            joined[key] = between.join(dict.fromkeys(words))
    return joined


def _merge_dataset_attrs(parts: Sequence[xr.Dataset]) -> dict[str, Any]:
    attrs: dict[str, Any] = {"Conventions": "CF-1.11", "featureType": "point"}
    for name in COUNTS:
        if any(name in part.attrs for part in parts):
            attrs[name] = sum(int(part.attrs.get(name, 0)) for part in parts)
    if all(part.attrs.get("derived") == "off" for part in parts):
        attrs["derived"] = "off"
    assumed = [name for part in parts for name in part.attrs.get(UNITS_ASSUMED, "").split()]
    if assumed:
        attrs[UNITS_ASSUMED] = " ".join(dict.fromkeys(assumed))
    if texts := [text for part in parts for text in get_assumptions(part)]:
        attrs[ASSUMPTIONS] = json.dumps(list(dict.fromkeys(texts)))
    for name in COUNTS_BY_NAME:
        counts = [json.loads(part.attrs[name]) for part in parts if name in part.attrs]
        if counts:
            attrs[name] = encode_counts({key: sum(c.get(key, 0) for c in counts) for c in counts for key in c})
    return attrs


def encode_counts(counts: Mapping[str, int]) -> str:
    """Counts by name as an attribute that every file format takes (JSON)."""
    return json.dumps({name: int(count) for name, count in counts.items()})
