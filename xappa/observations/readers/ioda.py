"""IODA files of JEDI: groups of what was observed, where, with which error, and what was thought of it before.

References
----------
JEDI documentation (JCSDA), IODA: file format (groups MetaData, ObsValue, ObsError, PreQC and QualityMarker) and
conventions of names; UFO, filter PreQC (marks above 3 are rejected, as in NCEP's table of PREPBUFR quality markers).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.flags import Flag, flag_attrs
from xappa.observations.names import NameMap, format_names
from xappa.observations.readers.cf.datasets import from_dataset
from xappa.observations.schema import concat

WORST_MARK = 3
"""Largest quality mark of reports that are used."""

_META: dict[str, tuple[str, tuple[str, ...]]] = {
    "time": ("time", ("dateTime", "datetime", "time")),
    "latitude": ("latitude", ("latitude",)),
    "longitude": ("longitude", ("longitude",)),
    "level": ("air_pressure", ("pressure", "air_pressure")),
    "altitude": ("altitude", ("stationElevation", "station_elevation", "height")),
    "station": ("platform_id", ("stationIdentification", "station_id")),
    "depth": ("depth", ("depthBelowWaterSurface", "ocean_depth", "depth")),
}
_NAMES = {
    "airTemperature": "air_temperature",
    "windEastward": "eastward_wind",
    "windNorthward": "northward_wind",
    "windSpeed": "wind_speed",
    "windDirection": "wind_from_direction",
    "specificHumidity": "specific_humidity",
    "relativeHumidity": "relative_humidity",
    "dewPointTemperature": "dew_point_temperature",
    "dewpointTemperature": "dew_point_temperature",
    "potentialTemperature": "air_potential_temperature",
    "geopotentialHeight": "geopotential_height",
    "stationPressure": "surface_air_pressure",
    "surfacePressure": "surface_air_pressure",
    "surface_pressure": "surface_air_pressure",
    "seaSurfaceTemperature": "sea_surface_temperature",
    "waterTemperature": "sea_water_temperature",
    "brightnessTemperature": "toa_brightness_temperature",
    "brightness_temperature": "toa_brightness_temperature",
}
"""CF standard names of IODA's variables; its older names are such, for the most part, themselves."""

_AT_HEIGHT = {
    "airTemperatureAt2M": "2m_temperature",
    "specificHumidityAt2M": "2m_specific_humidity",
    "windEastwardAt10M": "10m_u_component_of_wind",
    "windNorthwardAt10M": "10m_v_component_of_wind",
}
_OF_STATION = ("stationPressure", "surfacePressure", "surface_pressure")


def is_ioda(groups: Mapping[str, xr.Dataset]) -> bool:
    """Whether groups of a file are those of IODA."""
    return {"/MetaData", "/ObsValue"} <= set(groups)


def from_ioda(groups: Mapping[str, xr.Dataset], naming: NameMap | None = None) -> xr.Dataset:
    """Observations from the groups of an IODA file.

    Values of stations (where a pressure at the station is observed too) are at 2 and 10 m; others are on the pressures
    of the group MetaData, and what has none is kept and flagged by what it lacks.

    Parameters
    ----------
    groups : mapping of str to Dataset
        ``"/MetaData"``, ``"/ObsValue"``, and where they exist ``"/ObsError"``, ``"/PreQC"`` or ``"/QualityMarker"``.
    naming : NameMap, optional
        What the caller says about names and units.

    Returns
    -------
    Dataset
        In the schema; marks above 3 are flagged ``rejected_by_source``.

    Raises
    ------
    ObservationError
        If places or times are missing, or no variable is known.
    """
    meta, values = groups["/MetaData"], groups["/ObsValue"]
    places = _build_coordinates(groups)
    missing = [name for name in ("time", "latitude", "longitude") if name not in places]
    if missing:
        raise ObservationError(
            f"IODA group MetaData without {' and '.join(missing)}: found {format_names(meta.variables)}. Expected "
            f"{', '.join(_META[name][1][0] for name in missing)}"
        )
    location = str(places["latitude"].dims[0])
    variables: dict[str, xr.Variable] = {}
    for name in map(str, values.data_vars):
        if location in values[name].dims:
            variables |= _build_variables(name, groups)
    ds = xr.Dataset(variables, {name: place.variable for name, place in places.items()})
    return concat([from_dataset(part, naming) for part in _split_upper_air(ds, values, location)])


def _build_coordinates(groups: Mapping[str, xr.Dataset]) -> dict[str, xr.DataArray]:
    """Coordinates with the names and attributes that CF has for them."""
    meta = groups["/MetaData"]
    found = {}
    for place, (standard_name, names) in _META.items():
        name = next((name for name in names if name in meta.variables), None)
        if name is not None:
            attrs = {"standard_name": standard_name} | ({"positive": "down"} if place in ("level", "depth") else {})
            found[place] = meta[name].reset_coords(drop=True).assign_attrs(meta[name].attrs | attrs)
    root = groups.get("/", xr.Dataset())
    number = meta.get("sensorChannelNumber", next((root[n] for n in ("Channel", "nchans") if n in root), None))
    return found if number is None or number.ndim != 1 else found | {"channel": number.reset_coords(drop=True)}


def _build_variables(name: str, groups: Mapping[str, xr.Dataset]) -> dict[str, xr.Variable]:
    """A variable, its error and its flag, as a CF Dataset has them."""
    value = groups["/ObsValue"][name].variable.to_base_variable()
    own = _AT_HEIGHT.get(name, name)
    standard = {} if name in _AT_HEIGHT else {"standard_name": _NAMES.get(name, name)}
    value.attrs = {key: text for key, text in value.attrs.items() if key != "coordinates"} | standard
    found = {own: value}
    errors = groups.get("/ObsError", xr.Dataset())
    if name in errors:
        error = errors[name].variable.to_base_variable()
        error.attrs = {"units": value.attrs["units"]} if "units" in value.attrs else {}
        found[f"{own}_error"] = error
    marks = next((groups[g][name] for g in ("/PreQC", "/QualityMarker") if g in groups and name in groups[g]), None)
    if marks is not None:
        rejected = (marks.variable > WORST_MARK) * np.int8(Flag.REJECTED_BY_SOURCE)
        found[f"{own}_flag"] = xr.Variable(rejected.dims, rejected.data.astype("int8"), flag_attrs())
    return found


def _split_upper_air(ds: xr.Dataset, values: xr.Dataset, location: str) -> list[xr.Dataset]:
    """Reports of stations without levels, and others with theirs."""
    pressures = [values[name].notnull() for name in _OF_STATION if name in values]
    near = np.zeros(ds.sizes[location], bool)
    for reported in pressures:
        near |= reported.to_numpy()
    if "level" not in ds.coords or not near.any():
        return [ds]
    parts = [ds.isel({location: np.flatnonzero(near)}).drop_vars("level"), ds.isel({location: np.flatnonzero(~near)})]
    return [part for part in parts if part.sizes[location]]
