"""Tidy tables: one value a row, with its variable's name in a column."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations.assumptions import set_units_read, with_assumptions
from xappa.observations.flags import merge_flags
from xappa.observations.names import QUANTITIES, NameMap, require_quantities
from xappa.observations.readers.missing_codes import mask_deviation_codes, without_codes
from xappa.observations.readers.tables import columns
from xappa.observations.readers.tables.heights import find_near_ground_name, flag_heights, with_heights
from xappa.observations.readers.tables.levels import with_levels
from xappa.observations.readers.tables.quality_columns import find_written_quantities, parse_xappa_flags, read_row_flags
from xappa.observations.schema import build_observations
from xappa.observations.units import UnitConversion, find_conversions
from xappa.observations.user_variables import build_user_attrs, require_one_unit

TIDY: dict[str, tuple[str, ...]] = {
    "variable": ("variable", "parameter", "quantity"),
    "observation": ("observation", "obs", "value", "obs_value", "observed_value"),
    "error": ("error", "obs_error", "standard_error", "sigma"),
    "units": ("units", "unit"),
}

NAMELESS = "(no name)"
"""Name under which rows without a variable's name are counted."""

_BESIDE = ("_error", "_flag")


def find_tidy_columns(frame: pd.DataFrame) -> dict[str, Hashable] | None:
    """Columns of a tidy table by their role, or None if it is not one."""
    by_spelling = {str(column).casefold(): column for column in frame.columns}
    found = {role: next((by_spelling[s] for s in known if s in by_spelling), None) for role, known in TIDY.items()}
    roles: dict[str, Hashable] = {role: column for role, column in found.items() if column is not None}
    return roles if {"variable", "observation"} <= set(roles) else None


@dataclass
class _TidyRows:
    """Rows of a tidy table, and the reports that they are of.

    Parameters
    ----------
    meaning : array of int, shape (rows,)
        Number of each row's key; -1 for rows that are left out.
    keys : list of str
        Quantities, and ``<quantity>_error`` and ``<quantity>_flag`` where rows have them.
    report, first : arrays of int
        Number of each row's report, and the first row of each report.
    """

    meaning: np.ndarray
    keys: list[str]
    report: np.ndarray
    first: np.ndarray

    def select(self, key: str) -> np.ndarray:
        """Rows of a key."""
        return np.flatnonzero(self.meaning == self.keys.index(key))

    def pivot(self, values: np.ndarray, key: str, fill: float = np.nan) -> np.ndarray:
        """Values of the rows of one key, by report."""
        rows, result = self.select(key), np.full(len(self.first), fill)
        result[self.report[rows]] = values[rows]
        return result


def from_tidy(frame: pd.DataFrame, roles: Mapping[str, Hashable], naming: NameMap) -> xr.Dataset:
    """Observations from a tidy table; parameters and errors as in `frames.from_frame`.

    Rows may also be errors and flags of others, as in a wide table that was melted (``2m_temperature_flag``).
    """
    frame = with_levels(frame, roles["variable"], naming)
    others = [column for column in frame.columns if column not in roles.values()]
    found = columns.read_coordinates(frame, others, naming)
    code, names = _factorize_column(frame[roles["variable"]].astype("string"))
    found = with_heights(frame[others], found, naming, names)
    given, aloft = _collect_given_units(frame, roles, code, names), "level" in found.arrays
    meant = [naming.find_quantity(name, aloft, given.get(name)) or naming.find_user_name(name) for name in names]
    meanings = [
        m and find_near_ground_name(m, name, found.arrays, naming) for m, name in zip(meant, names, strict=True)
    ]
    meanings = [m or _find_base_quantity(name, meanings, naming) for m, name in zip(meanings, names, strict=True)]
    # Names are looked at once, rows by their number; the last is that of rows without a name.
    known = np.array([*(meaning is not None for meaning in meanings), False])[code]
    unknown = _count_rows([name for name, meaning in zip(names, meanings, strict=True) if meaning is None], names, code)
    unknown |= {NAMELESS: int((code < 0).sum())} if (code < 0).any() else {}
    keys = list(dict.fromkeys(meaning for meaning in meanings if meaning is not None))
    quantities = [key for key in keys if not key.endswith(_BESIDE)]
    require_quantities(quantities, unknown)
    meaning = np.array([-1 if m is None else keys.index(m) for m in meanings])[code]
    left = {str(column): frame[column] for column in others if column not in found.used}
    exact = all(name in (*QUANTITIES, *keys) for name in names)
    verdicts = read_row_flags(left, {key: meaning == keys.index(key) for key in quantities}, exact, naming)
    unknown |= {name: int(column.notna().sum()) for name, column in left.items() if name not in verdicts.used}
    if not known.all():
        frame, code, meaning = frame[known], code[known], meaning[known]
    places = {name: array[known] for name, array in found.arrays.items()}
    rows = _TidyRows(meaning, keys, *_number_reports(pd.DataFrame(places), meaning))
    factor, offset, assumed, own, told = _convert_units(frame, roles, code, names, meanings, naming)
    data, codes, bad = _pivot_values(frame, roles, rows, factor, offset)
    flags = {key: rows.pivot(flag[known], key, 0).astype("int8") for key, flag in verdicts.flags.items()}
    flags |= _pivot_flags(frame[roles["observation"]], rows)
    attrs: dict[str, Any] = columns.build_read_attrs(unknown, found.unreadable | bad, assumed, found.codes | codes)
    attrs |= verdicts.make_attrs(data["value"], flags)
    coordinates = {name: array[rows.first] for name, array in places.items()}
    spelt = {m: name for m, name in zip(meanings, names, strict=True) if m in quantities}
    flags = merge_flags(flags, flag_heights(coordinates, spelt, naming))
    obs = build_observations(coordinates, data["value"], data["error"], attrs, own=own, flags=flags)
    set_units_read(obs, told)
    return with_assumptions(obs, [*found.list_assumptions(quantities), *verdicts.assumed])


def _pivot_values(
    frame: pd.DataFrame, roles: Mapping[str, Hashable], rows: _TidyRows, factor: np.ndarray, offset: np.ndarray
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, int], dict[str, int]]:
    """Values and errors by quantity, how many were codes for missing ones, and how many no numbers."""
    given, unreadable = columns.parse_numbers(frame[roles["observation"]])
    bad = {str(roles["observation"]): unreadable}
    # Adding an offset of -0.0 leaves every value, zeros' signs too, as it was.
    converted = given * factor + offset
    quantities, codes = [key for key in rows.keys if not key.endswith(_BESIDE)], {}
    for key in quantities:
        of = rows.select(key)
        converted[of], codes[key] = without_codes(given[of], converted[of], key)
    values = {key: rows.pivot(converted, key) for key in quantities}
    errors = {}
    for key in (key for key in rows.keys if key.endswith("_error")):
        of, name = rows.select(key), key.removesuffix("_error")
        converted[of] = mask_deviation_codes(given[of], converted[of], name)
        errors[name] = rows.pivot(converted, key)
    if "error" in roles:
        deviation, bad[str(roles["error"])] = columns.parse_numbers(frame[roles["error"]])
        for key in quantities:
            errors[key] = rows.pivot(mask_deviation_codes(deviation, deviation * factor, key), key)
    errors = {name: array for name, array in errors.items() if np.isfinite(array).any()}
    return {"value": values, "error": errors}, codes, bad


def _pivot_flags(column: pd.Series, rows: _TidyRows) -> dict[str, np.ndarray]:
    """Flags that are rows of their own, by quantity."""
    flags = {}
    for key in rows.keys:
        if key.endswith("_flag"):
            of = rows.select(key)
            flags[key.removesuffix("_flag")] = result = np.zeros(len(rows.first), "int8")
            result[rows.report[of]] = parse_xappa_flags(column.iloc[of], key)
    return flags


def _find_base_quantity(name: str, meanings: Sequence[str | None], naming: NameMap) -> str | None:
    """What a row's name ``<name>_error`` or ``<name>_flag`` stands for, if rows of the quantity are there."""
    for suffix in _BESIDE:
        base = name.removesuffix(suffix)
        if (
            base != name
            and (meaning := naming.find_quantity(base) or naming.find_user_name(base)) in meanings
            and meaning is not None
        ):
            return meaning + suffix
    return None


def _factorize_column(column: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """Number of each row's value, -1 where it is missing, and the values in order of appearance."""
    code, values = pd.factorize(column)
    return code, values.tolist()


def _collect_given_units(
    frame: pd.DataFrame, roles: Mapping[str, Hashable], code: np.ndarray, names: Sequence[str]
) -> dict[str, str]:
    """Units that the first row of each name gives."""
    if "units" not in roles:
        return {}
    first = pd.Series(frame[roles["units"]].astype("string").fillna("").to_numpy()).groupby(code).first()
    by_name = zip(first.index, first.to_numpy(), strict=True)
    return {names[int(k)]: str(text) for k, text in by_name if int(k) >= 0 and text}


def _count_rows(chosen: Sequence[str], names: Sequence[str], code: np.ndarray) -> dict[str, int]:
    """Rows of some names, the most frequent first."""
    counts = np.bincount(code[code >= 0], minlength=len(names))
    found = {name: int(counts[k]) for k, name in enumerate(names) if name in chosen}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _number_reports(rows: pd.DataFrame, meaning: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the report that each row belongs to, and the first row of each report."""
    report = rows.groupby(list(rows.columns), dropna=False, sort=False).ngroup().to_numpy()
    value = report * (int(meaning.max(initial=0)) + 1) + meaning
    if len(pd.unique(value)) < len(value):  # some quantities come again
        again = pd.Series(value).groupby(value, sort=False).cumcount().to_numpy()
        report = pd.factorize(report * (int(again.max()) + 1) + again)[0]
    return report, np.flatnonzero(np.diff(np.maximum.accumulate(report), prepend=-1))


def _convert_units(
    frame: pd.DataFrame,
    roles: Mapping[str, Hashable],
    code: np.ndarray,
    names: Sequence[str],
    meanings: Sequence[str | None],
    naming: NameMap,
) -> tuple[np.ndarray, np.ndarray, list[str], dict[str, dict[str, Any]], dict[str, list[str]]]:
    """Factor and offset of rows, quantities whose units were assumed, attributes of user-defined ones, given units."""
    unit, texts = _factorize_column(frame[roles["units"]]) if "units" in roles else (np.full(len(frame), -1), [])
    kind, kinds = pd.factorize(code * (len(texts) + 1) + unit + 1)
    written = find_written_quantities(names, {str(m): name for m, name in zip(meanings, names, strict=True)})
    units: list[tuple[str, str]] = []
    assumed: list[str] = []
    deviations: list[bool] = []
    told: dict[str, list[str]] = {}
    for name, given in zip(*np.divmod(kinds, len(texts) + 1), strict=True):
        quantity = str(meanings[name])
        deviations.append(quantity.endswith(_BESIDE))
        quantity = quantity.removesuffix("_error")
        in_row = str(texts[given - 1]).strip() if given else ""
        found = (
            naming.find_units(names[name], quantity) or in_row or naming.find_units(str(roles["observation"]), quantity)
        )
        if quantity not in QUANTITIES:
            units.append((quantity, found or ""))
            continue
        if found is None and quantity not in {*assumed, *written}:
            assumed.append(quantity)
        told.setdefault(quantity, []).extend([found] if found else [])
        units.append((quantity, found or QUANTITIES[quantity].units))
    theirs = {q: require_one_unit(q, [u for p, u in units if p == q]) for q, _ in units if q not in QUANTITIES}
    maps = {(quantity, unit): UnitConversion() for quantity, unit in theirs.items()}
    maps |= find_conversions((q, unit, QUANTITIES[q].units) for q, unit in units if q in QUANTITIES)
    factor = np.array([maps[key].factor for key in units])[kind]
    offset = np.array([-0.0 if d else maps[key].offset or -0.0 for key, d in zip(units, deviations, strict=True)])[kind]
    own = {quantity: build_user_attrs({}, unit or None) for quantity, unit in theirs.items()}
    return factor, offset, assumed, own, told
