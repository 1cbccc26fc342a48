"""Which variable of a CF Dataset is which: coordinates and quantities."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from xappa.observations.columns import preferred
from xappa.observations.names import COORDINATES, NEEDED, QUANTITIES, Naming, require_coordinates

_HEIGHTS = ("altitude", "surface_altitude", "height_above_mean_sea_level")
_STATIONS = ("platform_id", "platform_name", "station_wmo_id")
_WATER = ("precipitation_amount", "lwe_thickness_of_precipitation_amount")
_HOURS = {"total_precipitation": "1 hour", "total_precipitation_6hr": "6 hour"}


def find_coordinates(ds: xr.Dataset, naming: Naming) -> dict[str, str]:
    """Names of the coordinate variables, by their meaning.

    Raises
    ------
    ObservationError
        If time, latitude or longitude is not there, or more than one variable could be it.
    """
    by_attrs = _by_attrs(ds)
    sources: dict[str, list[str]] = {}
    for name in map(str, ds.variables):
        told = name in naming.rename
        meaning = naming.coordinate(name)
        meaning = meaning if told else by_attrs.get(name, meaning)
        if meaning is not None:
            sources.setdefault(meaning, []).append(name)
    for meaning, names in sources.items():
        # An attribute is worth more than a spelling; of several with it, one that is also spelt as usual is meant.
        usual = {spelling.casefold() for spelling in COORDINATES[meaning]}
        best = [n for n in names if n in naming.rename] or [n for n in names if n in by_attrs] or names
        sources[meaning] = [n for n in best if n.casefold() in usual] or best if len(best) > 1 else best
    require_coordinates(sources, ds.variables)
    return preferred(sources, naming)


def _by_attrs(ds: xr.Dataset) -> dict[str, str]:
    import cf_xarray  # noqa: F401  (registers ds.cf)

    everything = ds.set_coords(list(ds.data_vars))
    found = {str(name): role for role in NEEDED for name in everything.cf.coordinates.get(role, [])}
    for name, variable in ds.variables.items():
        attrs = variable.attrs
        standard_name = attrs.get("standard_name")
        if standard_name in _HEIGHTS:
            found[str(name)] = "altitude"
        elif standard_name == "air_pressure" and (name in ds.coords or "positive" in attrs or attrs.get("axis") == "Z"):
            found[str(name)] = "level"
        elif attrs.get("cf_role") == "timeseries_id" or standard_name in _STATIONS:
            found[str(name)] = "station"
    bounds = {variable.attrs.get("bounds") for variable in ds.variables.values()}
    return {name: role for name, role in found.items() if name not in bounds}


def meaning_of(variable: xr.DataArray, level: xr.DataArray | None, naming: Naming) -> str | None:
    """Quantity that a variable stands for, or None: by what the caller says, exact name, attributes, spelling.

    Parameters
    ----------
    variable : DataArray
        The variable, with its name and attributes.
    level : DataArray or None
        Pressure coordinate of the Dataset. A variable along it is an upper-air one; without, it is near the surface.
    naming : Naming
        What the caller says.
    """
    name = str(variable.name)
    spelt = naming.quantity(name)
    if name in naming.rename or name in QUANTITIES:
        return spelt
    aloft = level is not None and set(level.dims) <= set(variable.dims)
    return _meaning_by_attrs(variable.attrs, aloft) or spelt


def _meaning_by_attrs(attrs: Mapping[str, object], aloft: bool) -> str | None:
    standard_name = attrs.get("standard_name")
    if standard_name in _WATER:
        methods = str(attrs.get("cell_methods", ""))
        return next((name for name, hours in _HOURS.items() if f"interval: {hours}" in methods), None)
    same = [quantity for quantity in QUANTITIES.values() if quantity.standard_name == standard_name]
    same.sort(key=lambda quantity: (quantity.height is not None) == aloft)
    return same[0].name if same else None
