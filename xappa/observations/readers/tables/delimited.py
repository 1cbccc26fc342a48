"""Tables in files of text: where the names are, what separates the columns, and what marks decimals.

The line of names is the one with the most names that are known, after any preamble, and may be a comment. What is not
certain is refused.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from xappa.errors import ObservationError, XappaError
from xappa.observations.names import NameMap, find_coordinate, get_expected_units
from xappa.observations.readers.tables.tidy import TIDY
from xappa.observations.readers.tables.units_row import parse_units_row
from xappa.observations.readers.text_files import COMMENTS, TextFile

SEPARATORS = (",", ";", "\t", "|", " ")

_ROW, _END = "(number of the row)", "(end of the row)"
_PREAMBLE = 200
_SAMPLE = 50
_ROLES = {spelling for spellings in TIDY.values() for spelling in spellings}
_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.IGNORECASE)
_POINT = re.compile(r"[+-]?\d*\.\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_MIXED = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+|[+-]?\d{1,3}(,\d{3})+\.\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


NOTHING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""Texts that stand for a missing number, as `pandas.read_csv` documents them."""


@dataclass(frozen=True)
class TableLayout:
    """Text layout of a table: separator, decimal mark, header.

    Parameters
    ----------
    names : list of str
        Names of the columns.
    separator : str
        One of `SEPARATORS`; a blank stands for any number of blanks.
    skipped : int
        Lines before the first row.
    known : int
        How many of the names are known.
    decimal : str
    units : dict of str to str
        Units of a row below the names.
    """

    names: list[str]
    separator: str
    skipped: int
    known: int
    decimal: str = "."
    units: dict[str, str] = field(default_factory=dict)


def find_layout(text: TextFile, naming: NameMap, least: int = 1) -> TableLayout | None:
    """Text layout of a file as a table; None if no line of it has `least` known names.

    Raises
    ------
    ObservationError
        If columns or decimals can be read in two ways, or rows do not go with the names.
    """
    lines = text.head.split("\n")
    lines = lines[:-1] if len(text.head) > 1000 and len(lines) > 1 else lines
    found = [_build_layout(line, i, sep, naming) for i, line in enumerate(lines[:_PREAMBLE]) for sep in SEPARATORS]
    found = [layout for layout in found if layout.known >= least]
    best = max(found, key=lambda layout: (_is_followed(layout, lines), layout.known), default=None)
    if best is None:
        return None
    if lines[best.skipped - 1].count('"') % 2:
        raise ObservationError(
            f"{text.path}: line {best.skipped} has names with a quote that is not closed, as of a name with a line "
            "break. Expected the names on one line: correct it, or give the table as a DataFrame"
        )
    best = _find_units_row(best, lines, naming)
    rows = [(i + 1, _split_line(lines[i], best.separator)) for i in _find_data_lines(lines, best.skipped)]
    best = _name_extra_fields(best, [row for _, row in rows])
    for number, row in rows:
        _require_fields(text.path, number, row, best)
    return replace(best, decimal=_detect_decimal_mark(text, best, [row for _, row in rows], naming))


def read_table(text: TextFile, layout: TableLayout, texts: Sequence[str] = ()) -> pd.DataFrame:
    """The table of a file.

    Parameters
    ----------
    text : TextFile
    layout : Layout
    texts : sequence of str
        Names of columns that are text even where they look like numbers (01001).

    Raises
    ------
    ObservationError
        If rows do not go with the names.
    """
    repeated = sorted({name for name in layout.names if layout.names.count(name) > 1})
    if repeated:
        raise ObservationError(
            f"{text.path}: more than one column is named {', '.join(map(repr, repeated))}. Expected each name once"
        )
    options: dict[str, Any] = {
        "sep": r"\s+" if layout.separator == " " else layout.separator,
        "names": layout.names,
        "header": None,
        "index_col": False,
        "skipinitialspace": True,
        "decimal": layout.decimal,
        "dtype": dict.fromkeys(texts, str),
        # A station may be called NA or null.
        "keep_default_na": False,
        "na_values": {name: [""] if name in texts else list(NOTHING) for name in layout.names},
    }
    try:
        with text.open() as stream, warnings.catch_warnings():
            # pandas would leave out fields that have no name, and only warn of it.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            for _ in range(layout.skipped):
                stream.readline()
            plain = not text.comments and layout.separator != " "
            frame = pd.read_csv(stream if plain else _UncommentedStream(stream, text, layout), **options)
    except XappaError:
        raise
    except (ValueError, pd.errors.ParserWarning) as error:
        raise ObservationError(
            f"{text.path}: cannot be read as a table: {_correct_line_numbers(str(error).strip(), layout.skipped)}. "
            "Expected rows "
            f"of {len(layout.names)} fields between {_describe_separator(layout.separator)}, as the names "
            f"{', '.join(layout.names[:6])} have"
        ) from error
    _require_nothing_unnamed(text, frame)
    return frame.drop(columns=[name for name in (_ROW, _END) if name in frame])


class _UncommentedStream(io.TextIOBase):
    """A stream of text without lines that are comments; between blanks, every row must have all fields."""

    def __init__(self, stream: io.TextIOBase, text: TextFile, layout: TableLayout) -> None:
        self._text, self._layout = text, layout
        self._lines = self._check_lines(stream)

    def _check_lines(self, stream: io.TextIOBase) -> Iterator[str]:
        for number, line in enumerate(stream, start=self._layout.skipped + 1):
            if line.lstrip().startswith(COMMENTS):
                continue
            if self._layout.separator == " " and line.strip():
                _require_fields(self._text.path, number, _split_line(line, " "), self._layout)
            yield line

    def readable(self) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return self._lines

    def read(self, size: int | None = -1) -> str:
        parts: list[str] = []
        length = 0
        while size is None or size < 0 or length < size:
            some = list(itertools.islice(self._lines, 1000))
            if not some:
                break
            parts += some
            length += sum(map(len, some))
        return "".join(parts)


def _build_layout(line: str, number: int, separator: str, naming: NameMap) -> TableLayout:
    """A line as one of names."""
    names = _count_fields(_split_line(_strip_comment_mark(line), separator))
    while names and not names[-1] and separator != " ":
        names = names[:-1]
    words = [name for name in names if name and not _NUMBER.fullmatch(name)]
    known = sum(naming.is_known(name) or name.casefold() in _ROLES for name in words)
    names = [name or f"(column {i + 1})" for i, name in enumerate(names)]
    return TableLayout(names, separator, number + 1, known if len(names) > 1 else 0)


def _strip_comment_mark(line: str) -> str:
    """A line without the mark of a comment."""
    return line.lstrip().lstrip("#!%").strip() if line.lstrip().startswith((*COMMENTS, "%")) else line


def _split_line(line: str, separator: str) -> list[str]:
    if separator == " ":
        return [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', line)]
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []


def _count_fields(row: Sequence[str]) -> list[str]:
    return [cell.strip() for cell in row]


def _find_data_lines(lines: Sequence[str], start: int) -> list[int]:
    """Numbers of the first lines, from `start` on, that are neither blank nor comments."""
    numbers = range(start, len(lines))
    rows = (i for i in numbers if lines[i].strip() and not lines[i].lstrip().startswith(COMMENTS))
    return list(itertools.islice(rows, _SAMPLE))


def _is_followed(layout: TableLayout, lines: Sequence[str]) -> bool:
    """Whether the first row below has a field for each name, or nearly."""
    rows = _find_data_lines(lines, layout.skipped)[:1]
    row = _split_line(lines[rows[0]], layout.separator) if rows else []
    more = len(row) - len(layout.names)
    if layout.separator == " ":
        return more in (0, 1) and not any(cell.endswith((",", ";")) for cell in row)
    return more <= 1 and len(row) > 1


def _find_units_row(layout: TableLayout, lines: Sequence[str], naming: NameMap) -> TableLayout:
    """The layout with a row of units, which is a comment where the names are."""
    commented = lines[layout.skipped - 1].lstrip().startswith(COMMENTS)
    following = range(layout.skipped, layout.skipped + 1) if commented else _find_data_lines(lines, layout.skipped)[:1]
    for i in (i for i in following if i < len(lines)):
        row = _count_fields(_split_line(_strip_comment_mark(lines[i]), layout.separator))
        units = parse_units_row(layout.names, row, naming) if len(row) >= len(layout.names) - 1 else None
        if units is not None:
            return replace(layout, skipped=i + 1, units=units)
    return layout


def _name_extra_fields(layout: TableLayout, rows: Sequence[Sequence[str]]) -> TableLayout:
    """The layout with names for a separator at the end of each row, or for the numbers of rows before them."""
    number = len(layout.names) + 1
    if not rows or any(len(row) != number for row in rows):
        return layout
    if not any(row[-1].strip() for row in rows):
        return replace(layout, names=[*layout.names, _END])
    if [row[0] for row in rows] == [str(i + 1) for i in range(len(rows))]:
        return replace(layout, names=[_ROW, *layout.names])
    return layout


def _require_fields(path: Path, number: int, row: Sequence[str], layout: TableLayout) -> None:
    """Complain about a row with more fields than names; between blanks, also about one with fewer, which is shifted."""
    expected = len(layout.names)
    short = len(row) < expected and layout.separator == " "
    if not short and not any(cell.strip() for cell in row[expected:]):
        return
    advice = "read it with pandas.read_fwf" if short else "correct it"
    raise ObservationError(
        f"{path}: line {number} has {len(row)} fields between {_describe_separator(layout.separator)} "
        f"({', '.join(row[:6])}), but there are {expected} names ({', '.join(layout.names[:6])}). Expected one field a "
        f"name: {advice}, or give the table as a DataFrame"
    )


def _require_nothing_unnamed(text: TextFile, frame: pd.DataFrame) -> None:
    if _END in frame and frame[_END].notna().any():
        value = frame[_END].dropna().iloc[0]
        raise ObservationError(f"{text.path}: {value!r} has no name: a row has more fields than there are names")


def _correct_line_numbers(message: str, skipped: int) -> str:
    """A message of pandas with the lines of the file: it counts lines from 1, and rows from 0, after the names."""
    return re.sub(r"\b(line|row) (\d+)", lambda found: f"line {int(found[2]) + skipped + (found[1] == 'row')}", message)


def _detect_decimal_mark(text: TextFile, layout: TableLayout, rows: Sequence[Sequence[str]], naming: NameMap) -> str:
    """Decimal mark, by the columns of places and known quantities."""
    headings = [naming.parse_heading(name).name for name in layout.names]
    numeric = [i for i, name in enumerate(headings) if get_expected_units(name) is not None]
    places = [i for i in numeric if find_coordinate(headings[i]) in ("latitude", "longitude")]
    numbers = [(i, row[i].strip()) for row in rows for i in numeric if i < len(row)]
    commas = [(i, cell) for i, cell in numbers if _COMMA.fullmatch(cell)]
    points = [cell for _, cell in numbers if _POINT.fullmatch(cell)]
    mixed = [cell for _, cell in numbers if _MIXED.fullmatch(cell)]
    in_places = any(i in places for i, _ in commas)
    # Between commas, a quoted cell with one is a list of codes (ISD), unless places are written so too.
    if not (commas or mixed) or (layout.separator == "," and not in_places):
        return "."
    thousands = all(_THOUSANDS.fullmatch(cell) for _, cell in commas) and not in_places
    if points or mixed or thousands:
        example = (mixed + [cell for _, cell in commas])[0]
        raise ObservationError(
            f"{text.path}: the comma of {example!r} can mark decimals or thousands. Expected one mark of decimals and "
            "none of thousands: read the file with pandas.read_csv(path, sep=…, decimal=…, thousands=…) and give the "
            "table"
        )
    return ","


def _describe_separator(separator: str) -> str:
    return {" ": "blanks", "\t": "tabs"}.get(separator, repr(separator))
