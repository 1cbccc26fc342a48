"""A row of units below the names of a table, as ERDDAP (tabledap), NDBC and many loggers write it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from xappa.observations.names import NEEDED, NameMap, find_coordinate, get_expected_units
from xappa.observations.readers.objects import to_numeric
from xappa.observations.readers.tables import headers
from xappa.observations.units import is_convertible


def parse_units_row(names: Sequence[str], row: Sequence[object], naming: NameMap) -> dict[str, str] | None:
    """Units by name, if a row holds units and no report; else None.

    Parameters
    ----------
    names : sequence of str
        Names of the columns.
    row : sequence
        The cells of the first row below.
    naming : NameMap
        Names that the caller gives.

    Returns
    -------
    dict or None
        Without those that are empty. One cell at least is a unit that its column can have, and no column that every
        report needs holds a number or a time.
    """
    given = dict(zip(names, row, strict=False))
    if any(
        naming.is_known(name) and not isinstance(cell, str) and not headers.is_missing(cell)
        for name, cell in given.items()
    ):
        return None
    texts = dict(zip(names, headers.strip_cells(row), strict=False))
    known = {name: text for name, text in texts.items() if naming.is_known(name) and not headers.is_nothing(text)}
    if not any(_is_possible_unit(naming, name, text) for name, text in known.items()):
        return None
    if any(_is_datum(naming, name, text) for name, text in known.items()):
        return None
    return {name: text for name, text in texts.items() if not headers.is_nothing(text)}


def without_units_row(frame: pd.DataFrame, naming: NameMap) -> tuple[pd.DataFrame, NameMap]:
    """The table without its row of units, and the naming with these; both as they were where there is none."""
    if len(frame) < 2:
        return frame, naming
    units = parse_units_row([*map(str, frame.columns)], frame.iloc[0].tolist(), naming)
    if units is None:
        return frame, naming
    frame = frame.iloc[1:].copy()
    for column in frame.columns:
        if find_coordinate(naming.parse_heading(str(column)).name) != "station":
            frame[column] = _convert_numeric(frame[column])
    return frame, naming.with_declared(units)


def _is_possible_unit(naming: NameMap, name: str, text: str) -> bool:
    """Whether a text is a unit of what a column holds."""
    meaning = naming.parse_heading(name).name
    if find_coordinate(meaning) == "time":
        return text.casefold() in headers.UTC or " since " in text
    expected = get_expected_units(meaning)
    return expected is not None and not _is_number(text) and is_convertible(text, expected)


def _is_datum(naming: NameMap, name: str, text: str) -> bool:
    """Whether a cell is a value of a report; ``1`` may be the unit of a number without dimension."""
    coordinate = find_coordinate(naming.parse_heading(name).name)
    if coordinate == "time":
        return not pd.isna(pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601"))
    return _is_number(text) and (coordinate in NEEDED or text != "1")


def _is_number(text: str) -> bool:
    return not pd.isna(pd.to_numeric(text, errors="coerce"))


def _convert_numeric(column: pd.Series) -> pd.Series:
    """Numbers, where all that is there are some."""
    if column.dtype.kind in "biufM":
        return column
    numbers = to_numeric(column)
    return numbers if numbers.notna().sum() == column.notna().sum() else column
