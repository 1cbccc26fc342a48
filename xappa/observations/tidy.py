"""Tidy tables: one value a row, with its variable's name in a column."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations import columns
from xappa.observations.form import build
from xappa.observations.names import QUANTITIES, Naming, require_quantities
from xappa.observations.own import own_attrs, require_one_unit
from xappa.observations.units import Linear, conversions

TIDY: dict[str, tuple[str, ...]] = {
    "variable": ("variable", "parameter", "quantity"),
    "observation": ("observation", "obs", "value", "obs_value", "observed_value"),
    "error": ("error", "obs_error", "standard_error", "sigma"),
    "units": ("units", "unit"),
}


def tidy_columns(frame: pd.DataFrame) -> dict[str, Hashable] | None:
    """Columns of a tidy table by their role, or None if it is not one."""
    by_spelling = {str(column).casefold(): column for column in frame.columns}
    found = {role: next((by_spelling[s] for s in known if s in by_spelling), None) for role, known in TIDY.items()}
    roles: dict[str, Hashable] = {role: column for role, column in found.items() if column is not None}
    return roles if {"variable", "observation"} <= set(roles) else None


def from_tidy(frame: pd.DataFrame, roles: Mapping[str, Hashable], naming: Naming) -> xr.Dataset:
    """Observations from a tidy table; parameters and errors as in `frames.from_frame`."""
    others = [column for column in frame.columns if column not in roles.values()]
    places, used = columns.coordinates(frame, others, naming)
    names = frame[roles["variable"]].astype(str)
    meanings = names.map({name: naming.quantity(name) or naming.own(name) for name in names.unique()})
    known = meanings.notna().to_numpy()
    unknown = {str(name): int(count) for name, count in names[~known].value_counts().items()}
    require_quantities(meanings[known].unique(), unknown)
    unknown |= {str(column): int(frame[column].notna().sum()) for column in others if column not in used}
    rows = pd.DataFrame({name: array[known] for name, array in places.items()})
    meaning = meanings[known].to_numpy(dtype=object)
    factor, offset, assumed, own = _units(frame[known], roles, names[known].to_numpy(dtype=object), meaning, naming)
    report, first = _reports(rows, meaning)
    data = {}
    unreadable = {}
    for role in ("observation", "error"):
        if role in roles:
            given, unreadable[str(roles[role])] = columns.numbers(frame[roles[role]][known])
            # Adding an offset of -0.0 leaves every value, zeros' signs too, as it was.
            converted = given * factor + (offset if role == "observation" else -0.0)
            data[role] = {
                name: _spread(converted, report, np.flatnonzero(meaning == name), len(first))
                for name in dict.fromkeys(meaning)
            }
    errors = {name: array for name, array in data.get("error", {}).items() if np.isfinite(array).any()}
    coordinates = {name: array[known][first] for name, array in places.items()}
    attrs = columns.notes(unknown, unreadable, assumed)
    return build(coordinates, data["observation"], errors, attrs, own=own)


def _reports(rows: pd.DataFrame, meaning: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the report that each row belongs to, and the first row of each report."""
    place = rows.groupby(list(rows.columns), dropna=False, sort=False).ngroup()
    again = pd.DataFrame({"place": place, "meaning": meaning}).groupby(["place", "meaning"], sort=False).cumcount()
    report = pd.DataFrame({"place": place, "again": again}).groupby(["place", "again"], sort=False).ngroup().to_numpy()
    return report, np.unique(report, return_index=True)[1]


def _units(
    frame: pd.DataFrame, roles: Mapping[str, Hashable], names: np.ndarray, meaning: np.ndarray, naming: Naming
) -> tuple[np.ndarray, np.ndarray, list[str], dict[str, dict[str, Any]]]:
    """Factor and offset of each row, the quantities whose units were assumed, attributes of the user's own."""
    given = frame[roles["units"]].to_numpy(dtype=object) if "units" in roles else np.full(len(frame), None)
    rows = pd.DataFrame({"name": names, "meaning": meaning, "unit": given})
    unit = rows["unit"].astype("string").str.strip()
    rows["unit"] = unit.mask(unit == "")
    kind = rows.groupby(["name", "meaning", "unit"], dropna=False, sort=False).ngroup().to_numpy()
    kinds = rows.drop_duplicates()
    units, assumed = [], []
    for name, quantity, unit in zip(kinds["name"], kinds["meaning"], kinds["unit"], strict=True):
        found = naming.told_units(name, quantity) or (None if pd.isna(unit) else str(unit))
        if quantity not in QUANTITIES:
            units.append((quantity, found or ""))
            continue
        if found is None and quantity not in assumed:
            assumed.append(quantity)
        units.append((quantity, found or QUANTITIES[quantity].units))
    theirs = {q: require_one_unit(q, [u for p, u in units if p == q]) for q, _ in units if q not in QUANTITIES}
    maps = {(quantity, unit): Linear() for quantity, unit in theirs.items()}
    maps |= conversions((q, unit, QUANTITIES[q].units) for q, unit in units if q in QUANTITIES)
    factor = np.array([maps[key].factor for key in units])[kind]
    offset = np.array([maps[key].offset or -0.0 for key in units])[kind]
    own = {quantity: own_attrs({}, unit or None) for quantity, unit in theirs.items()}
    return factor, offset, assumed, own


def _spread(values: np.ndarray, report: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    result = np.full(size, np.nan)
    result[report[rows]] = values[rows]
    return result
