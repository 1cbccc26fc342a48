"""Units that a table says by itself: in the names of its columns, or in a row of their own below them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from xappa.errors import ObservationError
from xappa.observations.units import is_unit

_BRACKETS = re.compile(r"(.*\S)\s*(?:\(([^()]*)\)|\[([^\[\]]*)\]|\{([^{}]*)\})")
_COMMA = re.compile(r"(.*[^\s,])\s*,\s*([^,]+)")
_SUFFIX = re.compile(
    r"(.+?)_(degc|degf|celsius|fahrenheit|kelvin|[cfk]|kts?|knots?|mph|kmh|kph|mps|ms|m_s|hpa|mbar|mb|pa|"
    r"in_hg|inhg|mmhg|mm|cm|m|ft|feet|inch(?:es)?|in|pct|percent|deg(?:rees?)?|utc|gmt)",
    re.I,
)
_SUFFIX_UNITS = {"ms": "m/s", "m_s": "m/s", "mps": "m/s", "in_hg": "inHg"}

UTC = ("utc", "gmt", "ut", "z", "zulu", "utc+0", "utc+00:00", "gmt+0", "+00:00")
_FORMAT = re.compile(r"[ymdhs\s:/.T_-]+|iso([\s_-]*8601.*)?", re.I)
_NOTHING = ("", "-", "--", "none", "na", "n/a", "nan")


class ColumnHeading(NamedTuple):
    """Name of a column without its units, and these; None where it has none."""

    name: str
    units: str | None = None


def split_bracketed_units(name: str) -> ColumnHeading:
    """``t2m (degree_C)``, ``wind [kt]`` or ``Temp, °C`` in its parts; what is in brackets need not be a unit."""
    if (found := _BRACKETS.fullmatch(name.strip())) is not None:
        return ColumnHeading(found[1], next(part for part in found.groups()[1:] if part is not None).strip())
    if (found := _COMMA.fullmatch(name.strip())) is not None:
        return ColumnHeading(found[1], found[2].strip())
    return ColumnHeading(name)


def split_suffix_units(name: str) -> ColumnHeading:
    """``wind_speed_kt`` or ``t2m_degC`` in its parts; of one letter only where the name has more than two."""
    found = _SUFFIX.fullmatch(name.strip())
    if found is None or (len(found[2]) == 1 and len(found[1]) < 3):
        return ColumnHeading(name)
    return ColumnHeading(found[1], _SUFFIX_UNITS.get(found[2].casefold(), found[2]))


def is_height(text: str) -> bool:
    """Whether a text in brackets is a height, as in ``wind (10 m)``, and no unit."""
    return re.fullmatch(r"\d+(\.\d+)?\s*m", text.strip(), re.I) is not None


def is_missing(cell: Any) -> bool:
    """Whether a cell of a table, which may be any object, is empty."""
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float | np.floating) and np.isnan(cell))


def is_nothing(text: str) -> bool:
    """Whether a text in place of units says that there are none."""
    return text.strip().casefold() in _NOTHING


def parse_time_units(name: str, text: str) -> str | None:
    """Units of numbers of a time column (``hours since 2018-11-02``); None where it holds times in UTC.

    Raises
    ------
    ObservationError
        If its times are in another zone.
    """
    if is_nothing(text) or text.casefold() in UTC or _FORMAT.fullmatch(text):
        return None
    if " since " in text or is_unit(text):
        return text
    raise ObservationError(
        f"Times of the column {name!r} are in {text!r}. Expected UTC: convert them, as with "
        "times.dt.tz_localize('Europe/Berlin').dt.tz_convert('UTC') in pandas, or, if they are in UTC, say so with "
        f"rename={{{name!r}: 'time'}}"
    )


def strip_cells(row: Sequence[object]) -> list[str]:
    """Texts of a row, without blanks and brackets around them; missing ones are empty."""
    texts = ["" if is_missing(cell) else str(cell).strip() for cell in row]
    return [text[1:-1].strip() if re.fullmatch(r"\(.*\)|\[.*\]", text) else text for text in texts]
