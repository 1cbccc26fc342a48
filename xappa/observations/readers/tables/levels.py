"""Levels of the rows of tidy tables: a column of pressures, levels in names (``t500``), and reports near the ground.

References
----------
.. [1] NVIDIA earth2studio, ``E2STUDIO_SCHEMA`` and the lexicons of its data frames (GDAS, NNJA, UFS): ``pres`` in Pa.
.. [2] NCEP, PREPBUFR processing, table 2: report types 180 to 199 and 280 to 299 are made at the surface.
"""

from __future__ import annotations

import re
from collections.abc import Hashable

import numpy as np
import pandas as pd

from xappa.errors import ObservationError
from xappa.observations.names import QUANTITIES, NameMap
from xappa.observations.readers.missing_codes import without_codes
from xappa.observations.readers.objects import to_numeric
from xappa.observations.readers.tables.columns import parse_numbers
from xappa.observations.units import find_conversions

_PRESSURES = ("pres", "pressure", "press", "air_pressure", "p")
_SCHEMA = ("type", "class", "level_cat", "pressure_quality", "station_elev")
_NEAR_GROUND = {
    "t": "2m_temperature",
    "q": "2m_specific_humidity",
    "u": "10m_u_component_of_wind",
    "v": "10m_v_component_of_wind",
}
_ABOVE_GROUND = ("100", "200")
"""Numbers that are heights in m as often as pressures in hPa, in names of winds."""


def is_earth2studio(frame: pd.DataFrame) -> bool:
    """Whether a tidy table has the columns of earth2studio's frames of conventional reports [1]_."""
    names = set(map(str, frame.columns))
    return {"variable", "observation"} <= names and bool(names & set(_SCHEMA))


def with_levels(frame: pd.DataFrame, variable: Hashable, naming: NameMap) -> pd.DataFrame:
    """A tidy table whose rows of the upper air have a column ``level`` (hPa), if anything tells their pressure.

    Parameters
    ----------
    frame : DataFrame
    variable : hashable
        Column of the variables' names. Those of reports near the ground are made full, by the type of report.
    naming : NameMap
        What the caller says.

    Raises
    ------
    ObservationError
        If pressures that should be Pa are not.
    """
    schema = is_earth2studio(frame)
    if schema:
        frame = frame.assign(**{str(variable): _expand_names(frame, variable)})
    meanings = {naming.find_coordinate(str(column)) for column in frame.columns}
    names = frame[variable].astype("string")
    if "level" in meanings or naming.rename.keys() & set(names.dropna().unique()):
        return frame
    pressures = [column for column in frame.columns if str(column).casefold() in _PRESSURES]
    aloft = {
        n: (q := naming.find_quantity(n)) in QUANTITIES and QUANTITIES[str(q)].upper_air
        for n in names.dropna().unique()
    }
    if pressures and any(aloft.values()):
        level = _read_pressures(frame[pressures[0]], schema, naming)
        rows = names.map(aloft).fillna(False).to_numpy(bool)
        return frame.drop(columns=pressures[0]).assign(level=np.where(rows, level, np.nan))
    return _split_level_names(frame, variable, names, naming)


def _expand_names(frame: pd.DataFrame, variable: Hashable) -> pd.Series:
    names = frame[variable].astype("string")
    types = to_numeric(frame["type"]) if "type" in frame else pd.Series(np.nan, frame.index)
    near = (types.between(180, 199) | types.between(280, 299)).to_numpy(bool)
    full = names.where(~near, names.map(_NEAR_GROUND).fillna(names))
    return full.where(full != "pres", "surface_pressure")


def _read_pressures(column: pd.Series, schema: bool, naming: NameMap) -> np.ndarray:
    name = str(column.name)
    told = naming.find_units(name, "level")
    given = parse_numbers(column)[0]
    if schema and told is None and name == "pres":
        high = np.nanmax(given, initial=0.0)
        if 0 < high <= 1100:
            raise ObservationError(
                f"Column 'pres' of a frame as earth2studio has them runs up to {high:g}; expected Pa. Say its units: "
                "units={'pres': 'hPa'}"
            )
        told = "Pa"
    units = told or "hPa"
    return without_codes(given, find_conversions([("level", units, "hPa")])["level", units].convert(given), "level")[0]


def _split_level_names(frame: pd.DataFrame, variable: Hashable, names: pd.Series, naming: NameMap) -> pd.DataFrame:
    """Names such as ``t500`` apart: the quantity, and the pressure as level."""
    unknown = [name for name in names.dropna().unique() if naming.find_quantity(name) is None]
    found = {
        name: m for name in unknown if (m := re.fullmatch(r"([tzqruv])(\d{2,4})", name)) and 10 <= int(m[2]) <= 1100
    }
    winds = {m[2] for m in found.values() if m[1] in "uv"}
    if winds <= set(_ABOVE_GROUND):
        found = {name: m for name, m in found.items() if m[1] not in "uv"}
    if not found:
        return frame
    levels = names.map({name: float(m[2]) for name, m in found.items()})
    plain = names.map({name: m[1] for name, m in found.items()}).fillna(names)
    return frame.assign(**{str(variable): plain}).assign(level=levels.to_numpy(float, na_value=np.nan))
