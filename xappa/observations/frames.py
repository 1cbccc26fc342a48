"""Tables of reports: tidy (`tidy.py`) or wide, with one column a quantity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping

import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations import columns
from xappa.observations.form import build
from xappa.observations.names import QUANTITIES, Naming, listing, require_one_each, require_quantities
from xappa.observations.own import own_attrs
from xappa.observations.tidy import from_tidy, tidy_columns
from xappa.observations.units import conversions
from xappa.observations.units_row import without_units_row


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its named index levels as columns; of a level and a column with one name, the column counts.

    Raises
    ------
    ObservationError
        If several columns have one name.
    """
    names = [*map(str, frame.columns)]
    known = [i for i, level in enumerate(frame.index.names) if level is not None and str(level) in names]
    frame = frame.reset_index(level=known, drop=True) if known else frame
    names += [str(level) for level in frame.index.names if level is not None]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ObservationError(
            f"The table has more than one column named {', '.join(map(repr, repeated))}. Expected each name once: drop "
            "all but one, as with frame.loc[:, ~frame.columns.duplicated()], or rename them"
        )
    return frame.reset_index(drop=all(level is None for level in frame.index.names))


def from_frame(frame: pd.DataFrame, naming: Naming | None = None) -> xr.Dataset:
    """Observations from a table.

    Parameters
    ----------
    frame : DataFrame
        Tidy, with the columns time, latitude, longitude, variable and observation (optional: level, altitude, station,
        error, units), or wide, with a column for each quantity (optional: ``<quantity>_error``). The usual spellings
        are recognised; its index is not looked at, see `flat`.
    naming : Naming, optional
        What the caller says about names and units.

    Returns
    -------
    Dataset
        In the one form, without flags. Rows of a tidy table that differ in nothing but the variable are one report; a
        variable that comes again in it makes another.

    Raises
    ------
    ObservationError
        If columns are missing, are named twice, or none is a known quantity.
    UnitsError
        If units are unknown or cannot be converted.
    """
    naming = naming or Naming()
    if frame.empty:
        raise ObservationError(
            f"The table has no rows (columns: {listing(frame.columns)}). Expected at least one report"
        )
    frame, naming = without_units_row(frame, naming)
    roles = tidy_columns(frame)
    return _from_wide(frame, naming) if roles is None else from_tidy(frame, roles, naming)


def _from_wide(frame: pd.DataFrame, naming: Naming) -> xr.Dataset:
    coordinates, used = columns.coordinates(frame, frame.columns, naming)
    others = {str(column): frame[column] for column in frame.columns if column not in used}
    sources: dict[str, list[str]] = {}
    for name in others:
        if (meaning := _meaning(others[name], naming, coordinates)) is not None:
            sources.setdefault(meaning, []).append(name)
    require_one_each(sources)
    known = {meaning: names[0] for meaning, names in sources.items() if meaning.removesuffix("_error") in sources}
    unknown = {name: int(series.notna().sum()) for name, series in others.items() if name not in known.values()}
    require_quantities(known, unknown)
    quantities = [meaning for meaning in known if meaning in QUANTITIES]
    own = [meaning for meaning in known if meaning not in QUANTITIES and not meaning.endswith("_error")]
    told = {meaning: naming.told_units(known[meaning], meaning) for meaning in quantities}
    units = {meaning: found or QUANTITIES[meaning].units for meaning, found in told.items()}
    units |= {name: _units_of_error(name, known[name], units, naming) for name in known if name.endswith("_error")}
    maps = conversions((name, unit, found) for name, unit in units.items() if (found := _expected(name)))
    values, errors, unreadable = {}, {}, {}
    for meaning in (*quantities, *own):
        convert, given = maps.get((meaning, units.get(meaning, ""))), others[known[meaning]]
        numbers, unreadable[meaning] = columns.numbers(given)
        values[meaning] = numbers if convert is None else convert.value(numbers)
        if (error := f"{meaning}_error") in known:
            convert, numbers = maps.get((error, units[error])), columns.numbers(others[known[error]])[0]
            errors[meaning] = numbers if convert is None else convert.deviation(numbers)
    assumed = [meaning for meaning, found in told.items() if found is None]
    notes = columns.notes(unknown, unreadable, assumed)
    attrs = {name: own_attrs({}, naming.told_units(known[name], name)) for name in own}
    return build(coordinates, values, errors, notes, own=attrs)


def _meaning(column: pd.Series, naming: Naming, coordinates: Container[str]) -> str | None:
    """Quantity that a column holds, or ``<quantity>_error``; None if it is neither."""
    name, aloft = str(column.name), "level" in coordinates
    meaning = naming.quantity(name, aloft) or _own(column, naming)
    base = naming.heading(name).name
    if meaning is None and base.endswith("_error"):
        base = base.removesuffix("_error")
        found = naming.quantity(base, aloft) or naming.own(base)
        return found and f"{found}_error"
    return meaning


def _expected(name: str) -> str | None:
    """Units of a quantity, or of its error; None where the vocabulary does not have it."""
    quantity = QUANTITIES.get(name.removesuffix("_error"))
    return None if quantity is None else quantity.units


def _units_of_error(meaning: str, name: str, units: Mapping[str, str], naming: Naming) -> str:
    """Units of a column of errors: those that it has itself, else those of its quantity."""
    told = naming.declared.get(name) or naming.units.get(name) or naming.heading(name).units
    return told or units.get(meaning.removesuffix("_error"), "")


def _own(column: pd.Series, naming: Naming) -> str | None:
    """What a column of no known quantity is called, if it is to be kept: numbers that are wanted."""
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return naming.own(str(column.name)) if numeric else None
