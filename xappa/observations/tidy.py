"""Tidy tables: one value a row, with its variable's name in a column."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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

NAMELESS = "(no name)"
"""What rows without a variable's name are counted under."""


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
    code, names = _coded(frame[roles["variable"]].astype("string"))
    units_given = _units_given(frame, roles, code, names)
    meanings = [naming.quantity(name, "level" in places, units_given.get(name)) or naming.own(name) for name in names]
    # Names are looked at once, rows by their number; the last is that of rows without a name.
    known = np.array([*(meaning is not None for meaning in meanings), False])[code]
    unknown = _counted([name for name, meaning in zip(names, meanings, strict=True) if meaning is None], names, code)
    unknown |= {NAMELESS: int((code < 0).sum())} if (code < 0).any() else {}
    quantities = list(dict.fromkeys(meaning for meaning in meanings if meaning is not None))
    require_quantities(quantities, unknown)
    unknown |= {str(column): int(frame[column].notna().sum()) for column in others if column not in used}
    if not known.all():
        frame, code, places = frame[known], code[known], {name: array[known] for name, array in places.items()}
    factor, offset, assumed, own = _units(frame, roles, code, names, meanings, naming)
    meaning = np.array([-1 if m is None else quantities.index(m) for m in meanings])[code]
    report, first = _reports(pd.DataFrame(places), meaning)
    of_quantity = {name: np.flatnonzero(meaning == k) for k, name in enumerate(quantities)}
    data = {}
    unreadable = {}
    for role in ("observation", "error"):
        if role in roles:
            given, unreadable[str(roles[role])] = columns.numbers(frame[roles[role]])
            # Adding an offset of -0.0 leaves every value, zeros' signs too, as it was.
            converted = given * factor + (offset if role == "observation" else -0.0)
            data[role] = {name: _spread(converted, report, rows, len(first)) for name, rows in of_quantity.items()}
    errors = {name: array for name, array in data.get("error", {}).items() if np.isfinite(array).any()}
    coordinates = {name: array[first] for name, array in places.items()}
    attrs = columns.notes(unknown, unreadable, assumed)
    return build(coordinates, data["observation"], errors, attrs, own=own)


def _coded(column: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """Number of each row's value, -1 where it is missing, and the values in order of appearance."""
    code, values = pd.factorize(column)
    return code, values.tolist()


def _units_given(
    frame: pd.DataFrame, roles: Mapping[str, Hashable], code: np.ndarray, names: Sequence[str]
) -> dict[str, str]:
    """Units that the first row of each name gives."""
    if "units" not in roles:
        return {}
    first = pd.Series(frame[roles["units"]].astype("string").fillna("").to_numpy()).groupby(code).first()
    by_name = zip(first.index, first.to_numpy(), strict=True)
    return {names[int(k)]: str(text) for k, text in by_name if int(k) >= 0 and text}


def _counted(chosen: Sequence[str], names: Sequence[str], code: np.ndarray) -> dict[str, int]:
    """Rows of some names, the most frequent first."""
    counts = np.bincount(code[code >= 0], minlength=len(names))
    found = {name: int(counts[k]) for k, name in enumerate(names) if name in chosen}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _reports(rows: pd.DataFrame, meaning: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the report that each row belongs to, and the first row of each report."""
    report = rows.groupby(list(rows.columns), dropna=False, sort=False).ngroup().to_numpy()
    value = report * (int(meaning.max(initial=0)) + 1) + meaning
    if len(pd.unique(value)) < len(value):  # some quantities come again
        again = pd.Series(value).groupby(value, sort=False).cumcount().to_numpy()
        report = pd.factorize(report * (int(again.max()) + 1) + again)[0]
    return report, np.flatnonzero(np.diff(np.maximum.accumulate(report), prepend=-1))


def _units(
    frame: pd.DataFrame,
    roles: Mapping[str, Hashable],
    code: np.ndarray,
    names: Sequence[str],
    meanings: Sequence[str | None],
    naming: Naming,
) -> tuple[np.ndarray, np.ndarray, list[str], dict[str, dict[str, Any]]]:
    """Factor and offset of each row, the quantities whose units were assumed, attributes of the user's own."""
    unit, texts = _coded(frame[roles["units"]]) if "units" in roles else (np.full(len(frame), -1), [])
    kind, kinds = pd.factorize(code * (len(texts) + 1) + unit + 1)
    units: list[tuple[str, str]] = []
    assumed: list[str] = []
    for name, given in zip(*np.divmod(kinds, len(texts) + 1), strict=True):
        quantity = str(meanings[name])
        in_row = str(texts[given - 1]).strip() if given else ""
        found = (
            naming.told_units(names[name], quantity) or in_row or naming.told_units(str(roles["observation"]), quantity)
        )
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
