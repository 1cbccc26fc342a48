"""Latitudes and longitudes as text: hemispheres, minutes and seconds, in the cells or in columns of their own.

References
----------
ISO 6709:2022, annex D: degrees, minutes and seconds with the letter of the hemisphere. S and W are negative.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from xappa.errors import ObservationError

_LETTERS = {"latitude": ("N", "S"), "longitude": ("E", "W")}
_BOUNDS = {"latitude": 90.0, "longitude": 360.0}
_WORDS = {"NORTH": "N", "SOUTH": "S", "EAST": "E", "WEST": "W"}
_MARKS = r"[°º'′’\"″”:]|deg"
_ANGLE = re.compile(
    rf"(?P<before>[NSEW])?\s*(?P<sign>[+-])?(?P<d>\d{{1,3}}(?:\.\d+)?)\s*(?:{_MARKS}|[d\s-])?\s*"
    rf"(?:(?P<m>\d{{1,2}}(?:\.\d+)?)\s*(?:{_MARKS}|[m\s-])?\s*(?:(?P<s>\d{{1,2}}(?:\.\d+)?)\s*(?:{_MARKS}|s|'')?\s*)?)?"
    r"(?P<after>[NSEW])?",
    re.IGNORECASE,
)
_COLUMN = re.compile(r"lat|lon|hemi|north|east|^[ns]_?[/_]?[ns]$|^[ew]_?[/_]?[ew]$|^ns_|^ew_", re.IGNORECASE)


def parse_degrees(text: str, meaning: str) -> float:
    """Degrees of ``52.5N``, ``N 52.5``, ``52°30'36"S``, ``52 30 36 N``, ``52.5°``; NaN where it is no such angle.

    Parameters
    ----------
    text : str
    meaning : {"latitude", "longitude"}
        A letter of the other one makes it NaN; so do a sign beside a letter, and minutes beyond 60.
    """
    found = _ANGLE.fullmatch(text.strip())
    if found is None:
        return np.nan
    letters = [found[key].upper() for key in ("before", "after") if found[key]]
    told = bool(letters) or re.search(_MARKS, text) is not None
    if not told or len(letters) > 1 or (letters and (found["sign"] or letters[0] not in _LETTERS[meaning])):
        return np.nan
    whole, minutes, seconds = (float(found[key] or 0) for key in "dms")
    fractions = ("." in found["d"] and found["m"] is not None) or ("." in (found["m"] or "") and found["s"] is not None)
    if minutes >= 60 or seconds >= 60 or fractions:
        return np.nan
    size = whole + minutes / 60 + seconds / 3600
    negative = found["sign"] == "-" or letters == [_LETTERS[meaning][1]]
    return (-size if negative else size) if size <= _BOUNDS[meaning] else np.nan


def read_angles(series: pd.Series, meaning: str) -> pd.Series:
    """A column of places with angles that are text as numbers; whatever else it holds stays."""
    if meaning not in _LETTERS or pd.api.types.is_numeric_dtype(series.dtype):
        return series
    codes, distinct = pd.factorize(series)
    angles = [parse_degrees(_normalise_text(value), meaning) for value in distinct]
    read = [value if np.isnan(angle) else angle for value, angle in zip(distinct, angles, strict=True)]
    return pd.Series(pd.Series([*read, None], dtype=object).to_numpy()[codes], series.index, name=series.name)


def find_hemisphere_columns(columns: Mapping[str, pd.Series], meaning: str) -> list[str]:
    """Columns that hold nothing but the hemispheres of a coordinate (N and S, or E and W), and are named so."""
    return [name for name, column in columns.items() if _COLUMN.search(name) and _are_letters(column, meaning)]


def apply_hemispheres(values: np.ndarray, letters: pd.Series, meaning: str) -> np.ndarray:
    """Degrees with the signs of their hemispheres.

    Parameters
    ----------
    values : array of float, shape (n,)
    letters : Series of str, shape (n,)
        Where one is missing, the degrees are too.
    meaning : {"latitude", "longitude"}

    Raises
    ------
    ObservationError
        If a sign contradicts a letter.
    """
    codes = np.array([*map(_normalise_letter, letters)], dtype=str)
    south = codes == _LETTERS[meaning][1]
    if ((values < 0) & ~south & (codes != "")).any():
        at = int(np.flatnonzero((values < 0) & ~south & (codes != ""))[0])
        raise ObservationError(
            f"{meaning} is {values[at]:g} beside {letters.iloc[at]!r} in the column {letters.name!r}: sign and letter "
            f"contradict each other. Expected either: correct them, or drop the column"
        )
    return np.where(codes == "", np.nan, np.where(south, -np.abs(values), values))


def _are_letters(column: pd.Series, meaning: str) -> bool:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return False
    found: Iterable[str] = {_normalise_letter(value) for value in pd.unique(column.dropna())} - {""}
    return bool(found) and set(found) <= set(_LETTERS[meaning])


def _normalise_letter(value: object) -> str:
    text = _normalise_text(value).upper()
    return "" if text in ("", "NAN", "NONE", "<NA>") else _WORDS.get(text, text)


def _normalise_text(value: object) -> str:
    return value.decode(errors="replace").strip() if isinstance(value, bytes) else str(value).strip()
