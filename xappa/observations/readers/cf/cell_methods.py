"""Cell methods of CF variables: values of instants, values over periods, and statistics that are neither.

References
----------
CF conventions 1.11, section 7.3 (cell methods), section 7.4 (climatological statistics), appendix E (the methods).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

OVER_PERIOD = ("sum", "mean", "maximum", "minimum")
"""Methods along time whose result is a value of the quantity over a period."""

_VALUES = ("point", *OVER_PERIOD)
_DEVIATIONS = ("median", "mid_range", "mode", "range", "root_mean_square", "standard_deviation", "variance")
_SYNONYMS = {
    "average": "mean",
    "avg": "mean",
    "max": "maximum",
    "min": "minimum",
    "accumulation": "sum",
    "total": "sum",
}
_METHODS = re.compile(r"((?:[\w.]+:\s*)+)(\w+)((?:\s+(?:within|over|where)\s+\w+(?:\s+type\d*)?)*)\s*(?:\(([^)]*)\))?")
_INTERVAL = re.compile(r"(?:interval:\s*)?([\d.]+)\s*([a-z]+)", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600, "d": 86400}
_SECONDS |= {"day": 86400}
# What GRIB says of the time where a file keeps its keys (cfgrib, the Climate Data Store).
_OF_GRIB = {"avg": "time: mean", "max": "time: maximum", "min": "time: minimum"}


_WORDS = {
    "standard_deviation": r"(?:^|[\W_])(?:std|stdev|stddev|standard[ _]deviation)(?:$|[\W_])",
    "maximum": r"(?:^|[\W_])(?:t?max|maximum)(?:$|[\W_])",
    "minimum": r"(?:^|[\W_])(?:t?min|minimum)(?:$|[\W_])",
}


@dataclass(frozen=True)
class CellMethod:
    """One entry of cell methods.

    Parameters
    ----------
    names : tuple of str
        Dimensions, coordinates or ``"area"``.
    method : str
    parts : str
        ``"within days"``, ``"over years"``, ``"where land"``; or nothing.
    comment : str
        What stands in parentheses, such as ``"interval: 1 hour"``.
    """

    names: tuple[str, ...]
    method: str
    parts: str
    comment: str

    @property
    def interval(self) -> float | None:
        """Seconds that the comment gives; None where it gives none."""
        found = _INTERVAL.search(self.comment)
        unit = found[2].casefold().removesuffix("s") if found else ""
        return float(found[1]) * _SECONDS[unit] if found and unit in _SECONDS else None


def find_cell_methods(attrs: Mapping[str, Any], usual: str = "", name: str = "") -> str:
    """Cell methods that attributes tell: by CF, by keys of GRIB, by words such as "daily maximum"; else `usual`.

    Parameters
    ----------
    attrs : mapping
        Attributes of the variable.
    usual : str
        Those of the quantity, where nothing tells.
    name : str
        Name of the variable, which may hold such a word too (``temp_max``).
    """
    if "cell_methods" in attrs:
        return _add_time_axis(str(attrs["cell_methods"]))
    if (found := _OF_GRIB.get(str(attrs.get("GRIB_stepType", "")))) is not None:
        return found
    text = f"{name} {attrs.get('long_name', '')}".casefold()
    return next((f"time: {method}" for method, word in _WORDS.items() if re.search(word, text)), usual)


def _add_time_axis(text: str) -> str:
    """Cell methods; of a method alone, as sloppy files have it, those along time."""
    word = text.strip().casefold()
    return f"time: {_SYNONYMS.get(word, word)}" if _SYNONYMS.get(word, word) in (*_VALUES, *_DEVIATIONS) else text


def parse_cell_methods(text: str) -> list[CellMethod]:
    """The entries of cell methods, in their order."""
    return [
        CellMethod(tuple(names.replace(":", " ").split()), method.casefold(), " ".join(parts.split()), comment or "")
        for names, method, parts, comment in _METHODS.findall(text)
    ]


def select_time_methods(text: str, times: Collection[str] = ("time",)) -> list[CellMethod]:
    """The entries along time.

    Parameters
    ----------
    text : str
        Cell methods.
    times : collection of str
        What else than ``time`` time is called: the coordinate and its dimensions.
    """
    names = {"time", *times}
    return [method for method in parse_cell_methods(text) if names & set(method.names)]


def explain_unusable(text: str, times: Collection[str] = ("time",)) -> str | None:
    """Why values are none of the quantity itself, or None: a deviation, a range, a statistic of many periods."""
    for method in parse_cell_methods(text):
        if method.method not in _VALUES:
            return f"{method.names[-1]}: {method.method}"
    along = select_time_methods(text, times)
    climatological = [m for m in along if re.search(r"\b(over|within years)\b", m.parts)]
    if climatological or len([m for m in along if m.method != "point"]) > 1:
        return " ".join(f"time: {m.method} {m.parts}".rstrip() for m in along)
    return None


def find_period_method(text: str, times: Collection[str] = ("time",)) -> CellMethod | None:
    """The method by which values are over a period, or None for values of an instant."""
    return next((m for m in select_time_methods(text, times) if m.method in OVER_PERIOD), None)
