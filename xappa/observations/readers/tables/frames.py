"""Tables of reports: tidy (`tidy`) or wide, with one column a quantity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.assumptions import with_assumptions, with_units_read
from xappa.observations.flags import merge_flags
from xappa.observations.names import QUANTITIES, NameMap, format_names, require_one_each, require_quantities
from xappa.observations.readers.missing_codes import mask_deviation_codes, without_codes
from xappa.observations.readers.objects import make_hashable
from xappa.observations.readers.tables import columns
from xappa.observations.readers.tables.heights import find_near_ground_name, flag_heights, with_heights
from xappa.observations.readers.tables.quality_columns import find_written_quantities, read_column_flags
from xappa.observations.readers.tables.tidy import find_tidy_columns, from_tidy
from xappa.observations.readers.tables.units_row import without_units_row
from xappa.observations.schema import build_observations
from xappa.observations.units import UnitConversion, find_conversions
from xappa.observations.user_variables import build_user_attrs


def flatten_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its named index levels as columns; of a level and a column with one name, the column counts.

    Columns of Arrow's text and numbers become those of Python and NumPy.

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
    frame = frame.reset_index(drop=all(level is None for level in frame.index.names))
    arrow = [
        name for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.ArrowDtype) and dtype.kind in "OUSbiuf"
    ]
    return _convert_unhashable(frame.assign(**{str(name): _convert_arrow(frame[name]) for name in arrow}))


def _convert_unhashable(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with objects that can be grouped: those that have no hash (lists, arrays) as their text."""
    objects = [place for place, dtype in enumerate(frame.dtypes) if isinstance(dtype, np.dtype) and dtype.kind in "OV"]
    given = {place: frame.iloc[:, place].to_numpy() for place in objects}
    changed = {place: new for place, values in given.items() if (new := make_hashable(values)) is not values}
    frame = frame.copy() if changed else frame
    for place, values in changed.items():
        frame.isetitem(place, values)
    return frame


def _convert_arrow(series: pd.Series) -> pd.Series:
    """Text and numbers of Arrow as Python's and NumPy's: pandas marks missing ones and compares others differently."""
    missing = series.isna()
    if series.dtype.kind in "OUS":
        return series.astype(object).where(~missing, None)
    array = series.to_numpy(dtype=float, na_value=np.nan) if missing.any() else series.to_numpy()
    return pd.Series(array, series.index, name=series.name)


def from_frame(frame: pd.DataFrame, naming: NameMap | None = None) -> xr.Dataset:
    """Observations from a table.

    Parameters
    ----------
    frame : DataFrame
        Tidy, with the columns time, latitude, longitude, variable and observation (optional: level, altitude, station,
        error, units), or wide, with a column for each quantity (optional: ``<quantity>_error``). The usual spellings
        are recognised; its index is not looked at, see `flatten_index`.
    naming : NameMap, optional
        What the caller says about names and units.

    Returns
    -------
    Dataset
        In the schema, without flags. Rows of a tidy table that differ in nothing but the variable are one report; a
        variable that comes again in it makes another.

    Raises
    ------
    ObservationError
        If columns are missing, are named twice, or none is a known quantity.
    UnitsError
        If units are unknown or cannot be converted.
    """
    naming = naming or NameMap()
    if frame.empty:
        raise ObservationError(
            f"The table has no rows (columns: {format_names(frame.columns)}). Expected at least one report"
        )
    frame, naming = without_units_row(frame, naming)
    roles = find_tidy_columns(frame)
    return _from_wide(frame, naming) if roles is None else from_tidy(frame, roles, naming)


def _from_wide(frame: pd.DataFrame, naming: NameMap) -> xr.Dataset:
    places = columns.read_coordinates(frame, frame.columns, naming)
    places = with_heights(frame, places, naming, frame.columns)
    others = {str(column): frame[column] for column in frame.columns if column not in places.used}
    sources: dict[str, list[str]] = {}
    for name in others:
        if (meaning := _find_meaning(others[name], naming, places.arrays)) is not None:
            sources.setdefault(meaning, []).append(name)
    require_one_each(sources)
    known = {meaning: names[0] for meaning, names in sources.items() if meaning.removesuffix("_error") in sources}
    rest = {name: series for name, series in others.items() if name not in known.values()}
    names = {meaning: name for meaning, name in known.items() if not meaning.endswith("_error")}
    require_quantities(names, rest)
    verdicts = read_column_flags(rest, names, places.located, naming)
    written = find_written_quantities(others, names)
    arrays, again = columns.read_written_coordinates(rest if written else {})
    unknown = {n: int(series.notna().sum()) for n, series in rest.items() if n not in verdicts.used | again}
    values, errors, unreadable, codes, assumed = {}, {}, dict(places.unreadable), dict(places.codes), []
    units: dict[str, str | None] = {}
    for meaning, name in names.items():
        units[meaning] = told = naming.find_units(name, meaning)
        convert, assume = _find_conversion(
            meaning, told if meaning not in written else told or QUANTITIES[meaning].units
        )
        assumed += [meaning] if assume else []
        given, unreadable[meaning] = columns.parse_numbers(others[name])
        values[meaning], codes[meaning] = without_codes(given, convert.convert(given), meaning)
        if (error := known.get(f"{meaning}_error")) is not None:
            convert = _find_conversion(meaning, _find_error_units(error, told, naming))[0]
            deviation, unreadable[f"{meaning}_error"] = columns.parse_numbers(others[error])
            errors[meaning] = mask_deviation_codes(deviation, convert.convert_deviation(deviation), meaning)
    attrs = columns.build_read_attrs(unknown, unreadable, assumed, codes) | verdicts.make_attrs(values)
    own = {name: build_user_attrs({}, naming.find_units(known[name], name)) for name in names if name not in QUANTITIES}
    coordinates = places.arrays | arrays
    flags = merge_flags(verdicts.flags, flag_heights(coordinates, names, naming))
    obs = build_observations(coordinates, values, errors, attrs, own=own, flags=flags)
    with_units_read(obs, units)
    return with_assumptions(obs, [*places.list_assumptions(values), *verdicts.assumed])


def _find_conversion(meaning: str, told: str | None) -> tuple[UnitConversion, bool]:
    """Map to the units of the vocabulary, and whether the units found had to be assumed."""
    if meaning not in QUANTITIES:
        return UnitConversion(), False
    expected = QUANTITIES[meaning].units
    return find_conversions([(meaning, told or expected, expected)])[meaning, told or expected], told is None


def _find_meaning(column: pd.Series, naming: NameMap, coordinates: Mapping[str, np.ndarray]) -> str | None:
    """Quantity that a column holds, or ``<quantity>_error``; None if it is neither."""
    name, aloft = str(column.name), "level" in coordinates
    meaning = naming.find_quantity(name, aloft) or _name_user_column(column, naming)
    base, suffix = naming.parse_heading(name).name, ""
    if meaning is None and base.endswith("_error"):
        base, suffix = base.removesuffix("_error"), "_error"
        meaning = naming.find_quantity(base, aloft) or naming.find_user_name(base)
    else:
        base = name
    return meaning and find_near_ground_name(meaning, base, coordinates, naming) + suffix


def _find_error_units(name: str, of_quantity: str | None, naming: NameMap) -> str | None:
    """Units of a column of errors: those that it has itself, else those of its quantity."""
    return naming.declared.get(name) or naming.units.get(name) or naming.parse_heading(name).units or of_quantity


def _name_user_column(column: pd.Series, naming: NameMap) -> str | None:
    """What a column of no known quantity is called, if it is to be kept: numbers that are wanted."""
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return naming.find_user_name(str(column.name)) if numeric else None
