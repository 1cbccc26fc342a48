"""The counts of reports as a table that prints in 80 columns, with everything that was left out."""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import xarray as xr

from xappa.observations.assumptions import UNITS_ASSUMED, UNITS_READ, get_assumptions
from xappa.observations.schema import COUNTS, COUNTS_BY_NAME, quantities

WIDTH = 80
_LONGEST = 28  # of names that stand beside their numbers


class Summary(pd.DataFrame):
    """Numbers of reports by quantity (rows) and by what became of them (columns); parts of it are plain DataFrames.

    Printed, a text of at most 80 columns: reports, used, rejected by reason, and units, as they were read and as they
    are kept; then what reading left out, and what could not be checked.
    """

    _metadata = ["about"]  # noqa: RUF012 (pandas's own name for attributes that stay)
    about: Mapping[str, Any]

    @classmethod
    def of(cls, table: pd.DataFrame, about: Mapping[str, Any] | None = None) -> Summary:
        """The table with what `collect_metadata` says of the observations."""
        result = cls(table)
        object.__setattr__(result, "about", dict(about or {}))
        return result

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        return "\n".join([*_format_rows(self, self.about.get("units", {})), *format_metadata(self.about, units=False)])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def collect_metadata(obs: xr.Dataset) -> dict[str, Any]:
    """Units by quantity, what was assumed, and counts of what was left out or not checked, from the attributes."""
    assumed = str(obs.attrs.get(UNITS_ASSUMED, "")).split()
    units = {name: _format_units(obs[name].attrs, name in assumed) for name in quantities(obs)}
    counts = {key: json.loads(obs.attrs[key]) for key in COUNTS_BY_NAME if key in obs.attrs}
    numbers = {key: int(obs.attrs[key]) for key in COUNTS if key in obs.attrs and key != "reports_read"}
    return {
        "units": units,
        "assumptions": get_assumptions(obs),
        "counts": {key: found for key, found in counts.items() if found},
        "numbers": numbers,
    }


def _format_units(attrs: Mapping[str, Any], assumed: bool) -> str:
    kept, read = str(attrs.get("units", "")), str(attrs.get(UNITS_READ, ""))
    parts = [read] * bool(read) + [f"{kept} (assumed)"] * assumed
    text = ", ".join(parts) or kept
    return text if text in (kept, f"{kept} (assumed)", "") else f"{text} -> {kept}"


def _format_rows(table: pd.DataFrame, units: Mapping[str, str]) -> Iterator[str]:
    total, used = table.sum(axis=1), table["good"] if "good" in table else 0 * table.sum(axis=1)
    numbers = {"reports": total, "used": used, "rejected": total - used}
    wide = {key: max(len(key), *(len(str(n)) for n in values), 1) for key, values in numbers.items()}
    names = [str(name) for name in table.index]
    first = min(max([len("variable"), *map(len, names)]), _LONGEST)
    head = "  ".join([f"{'variable':<{first}}", *(f"{key:>{wide[key]}}" for key in numbers)])
    yield f"{head}  units" if units else head
    for name in table.index:
        if len(str(name)) > first:
            yield from textwrap.wrap(str(name), WIDTH)
        label = str(name) if len(str(name)) <= first else ""
        row = "  ".join([f"{label:<{first}}", *(f"{int(numbers[key][name]):>{wide[key]}}" for key in numbers)])
        unit = units.get(str(name), "")
        if unit and len(row) + 2 + len(unit) <= WIDTH:
            yield f"{row}  {unit}"
        else:
            yield row.rstrip()
            yield from _wrap_text(f"units: {unit}") if unit else ()
        reasons = [f"{reason} {int(n)}" for reason, n in table.loc[name].items() if n and reason != "good"]
        yield from _wrap_text(", ".join(reasons)) if reasons else ()


def format_metadata(about: Mapping[str, Any], units: bool = True) -> Iterator[str]:
    """Lines of at most 80 columns on what `collect_metadata` found."""
    if units:
        yield "units:"
        yield from _wrap_text(", ".join(f"{name} {text}" for name, text in about.get("units", {}).items()))
    if texts := about.get("assumptions"):
        yield "assumed:"
        yield from (line for text in texts for line in _wrap_text(text))
    for key, found in about.get("counts", {}).items():
        yield f"{key.replace('_', ' ')}:"
        yield from _wrap_text(", ".join(f"{name} {n}" for name, n in found.items()))
    numbers = {key: n for key, n in about.get("numbers", {}).items() if n}
    if numbers:
        yield "when read:"
        yield from _wrap_text(", ".join(f"{key.replace('_', ' ')} {n}" for key, n in numbers.items()))


def _wrap_text(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
