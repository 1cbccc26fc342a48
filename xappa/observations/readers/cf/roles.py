"""Which variable of a CF Dataset is which: coordinates and quantities."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from xappa.observations.names import COORDINATES, NEEDED, QUANTITIES, NameMap, find_coordinate, require_coordinates
from xappa.observations.readers.cf.cell_methods import find_cell_methods, find_period_method
from xappa.observations.readers.tables.columns import choose_coordinate_names
from xappa.observations.standard_names import COORDINATES as BY_STANDARD_NAME
from xappa.observations.standard_names import find_by_standard_name, resolve_standard_name

_ROLES = {name: role for name, role in BY_STANDARD_NAME.items() if role not in NEEDED}
_ALTITUDES = tuple(name for name, role in BY_STANDARD_NAME.items() if role == "altitude")
_VERTICAL = ("", "air_pressure", "height", "depth", "sea_water_pressure", *_ALTITUDES)
_IDS = ("timeseries_id", "trajectory_id")
_TOWARDS = ("oceanographic", "towards", "blowing to", "blows to", "to which")
_MODEL_LEVELS = ("atmosphere_hybrid", "atmosphere_sigma", "atmosphere_ln_pressure", "atmosphere_sleve", "model_level")


_MEDIA = ("soil", "sea", "water", "ice", "snow", "snowfall", "lake", "river", "canopy", "road")
_OTHERS = ("potential", "virtual", "bulb", "brightness", "gust", "flux", "tendency", "convective", "error")

SEA_WATER = "sea_water_temperature"
"""Standard name of temperatures that are those of the surface only at a depth of nothing."""

SEA_PRESSURE = ("dbar", "decibar", "decibars")
"""Units in which no pressure of air is given."""


def find_coordinates(ds: xr.Dataset, naming: NameMap) -> dict[str, str]:
    """Names of the coordinate variables, by their meaning.

    Raises
    ------
    ObservationError
        If time, latitude or longitude is not there, or more than one variable could be it.
    """
    by_attrs = _find_by_attrs(ds)
    sources: dict[str, list[str]] = {}
    for name in map(str, ds.variables):
        told = name in naming.rename
        meaning = naming.find_coordinate(name)
        if not told:
            attrs = ds[name].attrs
            other = meaning == "level" and (
                attrs.get("standard_name", "air_pressure") != "air_pressure" or is_other_level(name, attrs)
            )
            meaning = by_attrs.get(name, None if other else meaning)
        if meaning is not None:
            sources.setdefault(meaning, []).append(name)
    for meaning, names in sources.items():
        # An attribute is worth more than a spelling; of several with it, one that is also spelt as usual is meant.
        usual = {spelling.casefold() for spelling in COORDINATES[meaning]}
        best = [n for n in names if n in naming.rename] or [n for n in names if n in by_attrs] or names
        sources[meaning] = [n for n in best if n.casefold() in usual] or best if len(best) > 1 else best
    require_coordinates(sources, ds.variables)
    return choose_coordinate_names(sources, naming)


_TELLING = ("standard_name", "units", "axis", "positive", "long_name", "_CoordinateAxisType")


def _find_by_attrs(ds: xr.Dataset) -> dict[str, str]:
    import cf_xarray  # noqa: F401  (registers ds.cf)

    # Only what tells a role: cf_xarray stumbles over other attributes that are not as CF wants them.
    told = {
        name: xr.Variable(v.dims, v.data, {key: v.attrs[key] for key in _TELLING if isinstance(v.attrs.get(key), str)})
        for name, v in ds.reset_coords().drop_indexes(list(ds.xindexes)).variables.items()
    }
    by_role = xr.Dataset(coords=told).cf.coordinates
    found = {str(name): role for role in NEEDED for name in by_role.get(role, [])}
    for name, variable in ds.variables.items():
        attrs = variable.attrs
        standard_name = resolve_standard_name(attrs.get("standard_name"))
        if standard_name in _ROLES:
            found[str(name)] = _ROLES[standard_name]
        elif standard_name == "air_pressure" and (name in ds.coords or "positive" in attrs or attrs.get("axis") == "Z"):
            found[str(name)] = "level"
        elif attrs.get("cf_role") in _IDS:
            found[str(name)] = "station"
    bounds = {variable.attrs.get("bounds") for variable in ds.variables.values()}
    return {name: role for name, role in found.items() if name not in bounds}


def is_other_level(name: object, attrs: Mapping[str, object]) -> bool:
    """Whether a variable gives levels that are neither pressures nor heights, whatever it is called."""
    standard_name, level = str(attrs.get("standard_name", "")), find_coordinate(str(name)) == "level"
    if level and str(attrs.get("units", "")).strip().casefold() in SEA_PRESSURE:
        return True
    if standard_name in _VERTICAL:
        return False
    return level or standard_name.startswith(_MODEL_LEVELS)


def find_meaning(variable: xr.DataArray, aloft: bool, naming: NameMap) -> str | None:
    """Quantity that a variable stands for, or None: by what the caller says, exact name, attributes, spelling.

    Parameters
    ----------
    variable : DataArray
        The variable, with its name and attributes.
    aloft : bool
        Whether it is of the upper air: along levels, or of a platform that leaves the ground.
    naming : NameMap
        What the caller says.
    """
    name = str(variable.name)
    spelt = naming.find_quantity(name, aloft, variable.attrs.get("units"))
    if spelt is not None and name not in naming.rename and _contradicts(variable.attrs, spelt):
        spelt, name = None, ""
    if name in naming.rename or name in QUANTITIES:
        return spelt if name in naming.rename else _find_extreme(spelt, variable)
    found = _find_meaning_by_attrs(variable.attrs, find_cell_methods(variable.attrs, name=name), aloft)
    by_name = spelt is not None and spelt.endswith(f"um_{found}") and "cell_methods" not in variable.attrs
    return spelt if by_name else found or _find_extreme(spelt, variable)


def _contradicts(attrs: Mapping[str, object], meaning: str) -> bool:
    """Whether a standard name says that a variable is of something else than the quantity that its name means."""
    words = set(str(attrs.get("standard_name", "")).split("_")) - set(QUANTITIES[meaning].standard_name.split("_"))
    return bool(words & {*_MEDIA, *_OTHERS}) and not (meaning == "sea_surface_temperature" and "surface" in words)


def _find_extreme(meaning: str | None, variable: xr.DataArray) -> str | None:
    """The extreme of a quantity that cell methods tell, where a name does not."""
    method = find_period_method(find_cell_methods(variable.attrs, name=str(variable.name)))
    extreme = f"{method.method}_{meaning}" if method is not None else ""
    return extreme if extreme in QUANTITIES else meaning


def _find_meaning_by_attrs(attrs: Mapping[str, object], methods: str, aloft: bool) -> str | None:
    standard_name = attrs.get("standard_name")
    return (
        "sea_surface_temperature"
        if standard_name == SEA_WATER
        else find_by_standard_name(standard_name, methods, aloft)
    )


def find_error(ds: xr.Dataset, name: str) -> str | None:
    """Variable that holds the error deviations of another, or None."""
    named = [n for n in ds[name].attrs.get("ancillary_variables", "").split() if n in ds]
    marked = [n for n in named if str(ds[n].attrs.get("standard_name", "")).endswith("standard_error")]
    candidates = marked + [n for n in (f"{name}_error",) if n in ds]
    return next((n for n in candidates if set(ds[n].dims) <= set(ds[name].dims)), None)


def with_product_names(ds: xr.Dataset) -> xr.Dataset:
    """Standard names for directions that are described in words, or by a product's manual.

    A long name, comment or ``convention`` with "oceanographic" or "towards", or a product of KNMI's scatterometer
    processor, means the direction that the wind blows to.

    References
    ----------
    KNMI/OSI SAF, ASCAT Wind Product User Manual, version 1.16, section 6.2: wind direction is oceanographic, 0 degrees
    for a wind that blows to the north.
    """
    told = {}
    scatterometer = "KNMI" in str(ds.attrs.get("institution", "")) and "wind_dir" in ds
    for name, variable in ds.data_vars.items():
        words = " ".join(str(variable.attrs.get(key, "")) for key in ("long_name", "comment", "convention")).casefold()
        if "standard_name" in variable.attrs or "direction" not in words:
            continue
        if any(word in words for word in _TOWARDS) or (scatterometer and name == "wind_dir"):
            told[name] = variable.assign_attrs(standard_name="wind_to_direction")
    return ds.assign(told) if told else ds
