"""Which coordinates are in effect where the values of a BUFR message stand.

Elements of the classes 01 to 09 hold for everything that follows in their subset, until they are given again; given as
missing, they hold no longer (WMO-No. 306, volume I.2, FM 94, regulation 94.5.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xappa.observations.readers.bufr.decode import CHANNEL, COORDINATES, DISPLACEMENTS, KINDS, NUMBERS, TEXTS, VALUES

Columns = dict[str, np.ndarray]
Tables = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class MessageReports:
    """Values of one kind (of `KINDS`), with the coordinates in effect.

    Attributes
    ----------
    values : dict of array, shape (value,)
        ``code`` (descriptor), ``value``, ``context`` (row of it); of radiances ``channel``, NaN where none is known.
    contexts : dict of array, shape (context,)
        ``subset`` (row of `collect_subsets`), the columns of `COORDINATES` (NaN where not in effect), ``before`` and
        ``year_before`` (a displacement in time, a year right before that in effect: both are ends of a period), their
        descriptors (``vertical_code``, ``displacement_code``, ``before_code``), and ``level``, which tells the levels
        of a subset apart.
    """

    values: Columns
    contexts: Columns


@dataclass(frozen=True)
class _SubsetLayout:
    """Known elements of some subsets: their descriptors and places, rows in the table of subsets, values of each."""

    kind: int
    codes: np.ndarray
    places: np.ndarray
    rows: np.ndarray
    values: np.ndarray


def collect_subsets(parts: Sequence[Tables]) -> Columns:
    """Subsets in the order of the file: kind, category, whether climatological, correction, known elements, station."""
    columns: dict[str, list[np.ndarray]] = {}
    for tables in parts:
        if not len(tables["subsets"]["number"]):
            continue
        order = np.argsort(tables["subsets"]["number"])
        for name, column in _describe_subsets(tables).items():
            columns.setdefault(name, []).append(column[order])
    return {name: np.concatenate(arrays) for name, arrays in columns.items()}


def _describe_subsets(tables: Tables) -> Columns:
    layouts, subsets = [*_iterate_layouts(tables)], tables["subsets"]
    known = np.array([np.isin(layout.codes, VALUES[layout.kind]).sum() for layout in layouts])
    numbers = [np.concatenate([_get_first(layout, code) for layout in layouts]) for code in NUMBERS]
    return {
        "kind": tables["layouts"]["kind"][subsets["layout"]],
        "category": subsets["category"],
        "climatological": subsets["climatological"],
        "correction": subsets["correction"],
        "known": known[subsets["layout"]],
        "station": _name_stations(numbers, [subsets[str(code)] for code in TEXTS]),
    }


def _get_first(layout: _SubsetLayout, code: int) -> np.ndarray:
    there = np.flatnonzero(layout.codes == code)
    return layout.values[:, there[0]] if there.size else np.full(len(layout.rows), np.nan)


def _name_stations(numbers: Sequence[np.ndarray], texts: Sequence[np.ndarray]) -> np.ndarray:
    """Names of stations: the number that the WMO gave, else a name, else another identifier."""
    block, number, *wigos = (_format_column(numbers[i], 1) for i in (0, 1, 4, 5, 6))
    buoy, marine = (_format_column(numbers[i], 5) for i in (2, 3))
    flight, aircraft, moored, ship, airport, tail, local = (np.char.strip(column.astype(str)) for column in texts)
    both = np.isfinite(numbers[0]) & np.isfinite(numbers[1])
    wmo = np.char.add(np.char.zfill(block, 2), np.char.zfill(number, 3))
    joined = wigos[0]
    for part in (*wigos[1:], local):
        joined = np.char.add(np.char.add(joined, "-"), part)
    joined = np.where((local != "") & np.isfinite(numbers[4]), joined, "")
    names = np.where(both, wmo, "")
    for other in (ship, joined, airport, flight, aircraft, tail, moored, marine, buoy):
        names = np.where(names == "", other, names)
    return names


def _format_column(column: np.ndarray, digits: int) -> np.ndarray:
    return np.where(np.isfinite(column), np.char.mod(f"%0{digits}d", np.nan_to_num(column).astype(int)), "")


def _iterate_layouts(tables: Tables) -> Iterator[_SubsetLayout]:
    layouts, values = tables["layouts"], tables["values"]["all"]
    ends = np.cumsum(layouts["size"])
    counts = np.bincount(tables["subsets"]["layout"], minlength=len(ends))
    row = begin = 0
    for end, size, count, kind in zip(ends, layouts["size"], counts, layouts["kind"], strict=True):
        elements, rows = slice(end - size, end), slice(row, row + count)
        table = values[begin : begin + size * count].reshape(count, size)
        numbers = tables["subsets"]["number"][rows]
        yield _SubsetLayout(int(kind), layouts["codes"][elements], layouts["places"][elements], numbers, table)
        row, begin = row + count, begin + size * count


def collect_reports(parts: Iterable[Tables]) -> dict[str, MessageReports]:
    """What `decode` wrote of the parts of a file, by kind."""
    found: dict[str, list[MessageReports]] = {}
    offset = 0
    for tables in parts:
        for layout in _iterate_layouts(tables):
            found.setdefault(KINDS[layout.kind], []).append(_extract_reports(layout, offset))
        offset += len(tables["subsets"]["number"])
    return {kind: _concat_reports(reports) for kind, reports in found.items()}


def _concat_reports(reports: list[MessageReports]) -> MessageReports:
    sizes = [len(part.contexts["subset"]) for part in reports]
    starts = np.cumsum([0, *sizes[:-1]])
    values = {n: np.concatenate([part.values[n] for part in reports]) for n in reports[0].values}
    values["context"] += np.repeat(starts, [len(part.values["value"]) for part in reports])
    return MessageReports(
        values, {n: np.concatenate([part.contexts[n] for part in reports]) for n in reports[0].contexts}
    )


def _extract_reports(layout: _SubsetLayout, offset: int) -> MessageReports:
    """Values that are there, in the order of the elements, with their contexts."""
    where = np.flatnonzero(np.isin(layout.codes, VALUES[layout.kind]))
    index = _find_coordinates(layout, where)
    # What is in effect is never what was before, so that values of one context follow each other.
    changed = np.any([np.diff(columns, prepend=-2) != 0 for columns in index.values()], axis=0)
    run, first = np.cumsum(changed) - 1, np.flatnonzero(changed)
    measured = layout.values[:, where]
    row, column = np.nonzero(~np.isnan(measured))
    values = {
        "code": layout.codes[where][column],
        "value": measured[row, column],
        "context": row * len(first) + run[column],
    }
    size = len(layout.rows)
    padded = np.concatenate([layout.values, np.full((size, 1), np.nan)], axis=1)
    if KINDS[layout.kind] == "radiance":
        values["channel"] = padded[:, _find_channels(layout, where)][row, column]
    contexts = {name: padded[:, columns[first]].ravel() for name, columns in index.items()}
    codes = np.append(layout.codes, 0)
    for name in ("vertical", "displacement", "before"):
        contexts[f"{name}_code"] = np.tile(codes[index[name][first]], size)
    contexts["level"] = np.tile(index["vertical"][first], size)
    contexts["subset"] = np.repeat(offset + layout.rows, len(first))
    return MessageReports(values, contexts)


def _find_latest(layout: _SubsetLayout, codes: Sequence[int]) -> np.ndarray:
    """Column of the latest of some descriptors at each element; -1 before there is one."""
    return np.maximum.accumulate(np.where(np.isin(layout.codes, codes), np.arange(len(layout.codes)), -1))


def _find_coordinates(layout: _SubsetLayout, where: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the coordinates in effect at the values in the columns `where`."""
    latest = {name: _find_latest(layout, codes) for name, codes in COORDINATES.items()}
    index = {name: columns[where] for name, columns in latest.items()}
    for name, of, codes in (("before", "displacement", DISPLACEMENTS), ("year_before", "year", (4001,))):
        first = np.isin(layout.codes[:-1], codes) & (np.diff(layout.places) == 1)
        before = np.where(np.append(False, first), np.arange(-1, len(layout.codes) - 1), -1)
        index[name] = np.where(index[of] >= 0, before[index[of]], -1)
    if KINDS[layout.kind] == "aloft":
        # Displacements of a balloon may stand between the values of their level.
        last = where[np.searchsorted(index["vertical"], index["vertical"], side="right") - 1]
        index |= {name: latest[name][last] for name in ("north", "east")}
    return index


def _find_channels(layout: _SubsetLayout, where: np.ndarray) -> np.ndarray:
    """Columns of the channels of radiances; a channel is that of one value, what else comes with it are statistics."""
    channel = _find_latest(layout, CHANNEL)[where]
    return np.where(np.diff(channel, prepend=-2) == 0, -1, channel)
