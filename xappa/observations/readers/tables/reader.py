"""Tables of reports: a file of text, or a DataFrame, as observations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.assumptions import with_assumption
from xappa.observations.names import NameMap, find_coordinate
from xappa.observations.readers.archives import find_table_reader
from xappa.observations.readers.compressed import strip_suffix
from xappa.observations.readers.metar.reader import is_metar
from xappa.observations.readers.registry import ReaderOptions
from xappa.observations.readers.station_tables import fill_places
from xappa.observations.readers.tables.delimited import TableLayout, find_layout, read_table
from xappa.observations.readers.tables.frames import flatten_index, from_frame
from xappa.observations.readers.text_files import TextFile, inspect_report_file
from xappa.observations.readers.unsupported import FORMATS

SUFFIXES = (".csv", ".tsv", ".tab", ".psv", ".txt", ".dat", ".asc", ".csvp", ".data")
"""Ends of names that say that a text is a table, though it has one name that is known only."""


def read_frame(frame: pd.DataFrame, options: ReaderOptions) -> xr.Dataset:
    """Observations from a table: of an archive by its columns, else tidy or wide."""
    frame = flatten_index(frame)
    names = [*map(str, frame.columns)]
    archive = None if set(options.naming.rename) & set(names) else find_table_reader(names)
    if archive is not None:
        options.naming.record_names(names)
        return archive(frame, options.naming, options.stations)
    return from_frame(fill_places(frame, options.naming, options.stations), options.naming)


def read_text_table(path: Path, options: ReaderOptions) -> xr.Dataset:
    """Observations from a file of text, plain or packed.

    Raises
    ------
    ObservationError
        If it is no text, has no line of names that are known, or no rows.
    """
    text = inspect_report_file(path)
    layout = find_report_layout(text, options.naming)
    if layout is None or not (layout.known > 1 or _get_suffix(path).casefold() in SUFFIXES):
        raise ObservationError(_describe_unknown(text))
    obs = read_frame(*_read_rows(text, layout, options))
    return obs if text.assumption is None else with_assumption(obs, text.assumption)


def find_report_layout(text: TextFile, naming: NameMap) -> TableLayout | None:
    """Text layout of a file as a table; None if it is none.

    A METAR bulletin has no line of names, though words of it may look like one: where a text looks like bulletins,
    three of them must be known.
    """
    return find_layout(text, naming, least=3 if is_metar(text.head) else 1)


def _get_suffix(path: Path) -> str:
    return Path(strip_suffix(path)).suffix


def _read_rows(text: TextFile, layout: TableLayout, options: ReaderOptions) -> tuple[pd.DataFrame, ReaderOptions]:
    """The table, and the options with the units of its row of units."""
    naming = options.naming.with_declared(layout.units)
    # Station numbers are names: 01001 must keep its zero. Codes are texts too.
    texts = [
        name
        for name in layout.names
        if find_coordinate(naming.parse_heading(name).name) == "station" or name.endswith(("_Code", "_Type", "_ID"))
    ]
    frame = read_table(text, layout, texts)
    if frame.empty:
        raise ObservationError(
            f"{text.path}: the table has no rows (columns: {', '.join(layout.names[:20])}). Expected at least one "
            "report"
        )
    return frame, replace(options, naming=naming)


def _describe_unknown(text: TextFile) -> str:
    """Message on a text that is neither a table nor a format that is known."""
    suffix = _get_suffix(text.path)
    if suffix.casefold() not in SUFFIXES:
        return f"{text.path}: the format of {suffix or 'a name without suffix'!r} is not known. Expected {FORMATS}"
    if not text.head.strip():
        return f"{text.path}: the file is empty. Expected a header and at least one report"
    first = next(line for line in text.head.split("\n") if line.strip())
    return (
        f"{text.path}: no line of names that are known, such as time, latitude and longitude; it begins with "
        f"{first[:100]!r}. Expected a table with a line of names: add one, or say what names mean: "
        "rename={'<your name>': 'time'}"
    )
