"""BUFR messages to arrays; run as a program of its own, because ecCodes can take its process down.

    python -P bufr_decode.py SOURCE TARGET PART PARTS

reads one of PARTS equal parts of the BUFR file SOURCE and writes the NumPy archive TARGET. It says on standard output
how many bytes it has done. It imports nothing of xappa, so that nothing else is in the process. Exit status 3 means
that ecCodes is not installed, 4 that there is not enough memory.

Subsets whose known elements stand at the same places have one layout. The archive holds, as ``<table>.<column>``:

``layouts``
    Descriptors and places of the known elements of all layouts, the number of elements and the kind of each.
``subsets``
    Number in the part, category, whether it is climatological, number of its correction, layout, and identifiers that
    are text by descriptor; those of one layout together.
``values.all``
    Values of all subsets in this order, those of one subset together; NaN where missing.
``count``
    Messages and subsets that were read, skipped or broken.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# BUFR table A: surface data of land and sea; soundings and aircraft; satellite soundings and radiances.
KINDS = ("surface", "aloft", "radiance")
KIND_OF = {0: 0, 1: 0, 2: 1, 4: 1, 3: 2, 21: 2}
# Common code table C-13: CLIMAT, CLIMAT SHIP, CLIMAT TEMP of land and sea.
CLIMATOLOGICAL = {(0, 20), (1, 20), (2, 25), (2, 26)}
# Common sequences of the same (table D): editions and centres without an international subcategory have these only.
_MONTHLY = {*range(307071, 307078), *range(308011, 308014), 309054}

_TEMPERATURES = (12001, 12101, 12003, 12103, 12004, 12104, 12006, 12106)
_EXTREMES = (12011, 12012, 12111, 12112, *range(12014, 12018), *range(12114, 12120))
_WINDS = (11001, 11002, 11011, 11012)
VALUES: tuple[tuple[int, ...], ...] = (
    (*_TEMPERATURES, *_EXTREMES, *_WINDS, 10004, 10051, 10052, 22042, 22043, 22045, 22049, 13011, *range(13019, 13024)),
    (12001, 12101, 12003, 12103, 11001, 11002, 13003, 13009, 10003, 10008, 10009),
    (12063, 12163),
)
"""Descriptors of the values of each kind."""

DISPLACEMENTS = (4021, 4022, 4023, 4024, 4025, 4026, 4073, 4074, 4075, 4086)
VERTICAL = (7002, 7003, 7004, 7006, 7007, 7009, 7010)
CHANNEL = (2150, 5042)
COORDINATES: dict[str, tuple[int, ...]] = {
    "year": (4001,),
    "month": (4002,),
    "day": (4003,),
    "hour": (4004,),
    "minute": (4005,),
    "second": (4006,),
    "latitude": (5001, 5002),
    "longitude": (6001, 6002),
    "altitude": (7001, 7030),
    "north": (5015, 5016),
    "east": (6015, 6016),
    "vertical": VERTICAL,
    "sensor": (7032,),
    "sensor_over_water": (7033,),
    "depth_in_soil": (7061,),
    "depth": (7062, 7063),
    "water_pressure": (7065,),
    "displacement": DISPLACEMENTS,
    "time_increment": (*range(4011, 4018), 4065, 4066),
    "north_increment": (5011, 5012),
    "east_increment": (6011, 6012),
    "significance": (8021,),
    "statistic": (8023,),
    "difference": (8024,),
    "occurrence": (8053,),
}
"""Coordinates by the descriptors that set them; the latest one holds."""

NUMBERS = (1001, 1002, 1005, 1087, 1125, 1126, 1127)
TEXTS = (1006, 1008, 1010, 1011, 1063, 1110, 1128)
HEADER = (4001, 4002, 4003, 4004, 4005, 4006)

_COORDINATES = {code for codes in (*COORDINATES.values(), CHANNEL, NUMBERS, TEXTS) for code in codes}
_WANTED = [{*values, *_COORDINATES} for values in VALUES]
_ASSOCIATED = 999999  # what ecCodes puts before a value with an associated field
_DELAYED = {31000, 31001, 31002, 31011, 31012}
# Keys that several descriptors with other units or meanings share.
_SHARED = {
    "timePeriod": {*DISPLACEMENTS},
    "height": {7002, 7007, 7071},
    "geopotential": {7003, 7008},
    "windSpeed": {11002, 11083, 11084},
    "dewpointTemperature": {12003, 12024, 12103},
    "relativeHumidity": {13003, 13009, 13193},
    **{name: {4004 + i, 26196 + i} for i, name in enumerate(("hour", "minute", "second"))},
}
_FACTORS = [f"{kind}elayedDescriptorReplicationFactor" for kind in ("d", "shortD", "extendedD")]
_TABLES = ("masterTablesVersionNumber", "localTablesVersionNumber", "bufrHeaderCentre")
_MISSING = (-1e100, 2147483647.0)
_TOLD = ("category", "climatological", "correction")
# WMO abbreviated heading with the indicator of a correction (CCA, CCB, ...), right before a message.
_CORRECTED = re.compile(rb"[A-Z]{4}\d\d +[A-Z0-9]{4} +\d{6} +CC([A-X])\s*\Z")
_REPORT_EVERY = 0.2
_COMPLAINTS = 20


Starts = dict[str, np.ndarray] | None
"""Number of the first value of each key in subsets; None where a key holds those of all subsets (compressed)."""


@dataclass
class Subset:
    """Elements of a subset in their order, as its keys tell them.

    Known ones are kept as (place among all, descriptor, key without rank, occurrence of that key), text by descriptor.
    Totals are occurrences of each key, those in quality information included.
    """

    elements: list[tuple[int, int, str, int]] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    texts: dict[int, tuple[str, int]] = field(default_factory=dict)
    place: int = 0
    open: bool = True

    def add(self, name: str, code: int, wanted: bool) -> None:
        """Add the next element."""
        occurrence = self.totals.get(name, 0)
        self.totals[name] = occurrence + 1
        self.place += 1
        if code in TEXTS:
            self.texts.setdefault(code, (name, occurrence))
        elif wanted and self.open:
            self.elements.append((self.place, code, name, occurrence))


class MessageLayout:
    """Where the known elements of subsets stand; the message's time takes the first columns where they have none."""

    def __init__(self, subset: Subset, plain: bool) -> None:
        codes = [code for _, code, _, _ in subset.elements]
        header = HEADER if not {*HEADER} & {*codes} else ()
        self.header = len(header)
        self.codes = np.array([*header, *codes], dtype=np.int64)
        self.places = np.array([*range(-len(header), 0), *(e[0] for e in subset.elements)], dtype=np.int64)
        columns: dict[str, list[tuple[int, int]]] = {}
        for column, (_, _, name, occurrence) in enumerate(subset.elements, self.header):
            columns.setdefault(name, []).append((column, occurrence))
        self.columns = {name: np.array(pairs).T for name, pairs in columns.items()}
        self.totals, self.texts = subset.totals, subset.texts
        self.names = {*columns, *(name for name, _ in subset.texts.values())}
        self.messages, self.plain, self.regular = 0, plain, False
        self.identity = (self.codes.tobytes(), self.places.tobytes(), *self.texts)


class BufrDecoder:
    """Takes messages one after another, and keeps their values by layout."""

    def __init__(self) -> None:
        import eccodes

        self.ec = eccodes
        names = ("messages", *(f"{what}_{how}" for what in ("messages", "subsets") for how in ("skipped", "broken")))
        self.counts = {**dict.fromkeys(names, 0), "subsets_read": 0}
        self.groups: dict[Any, tuple[MessageLayout, list[Any]]] = {}
        self._layouts: dict[Any, list[MessageLayout]] = {}
        self._codes: dict[Any, dict[str, int]] = {}
        self._expanded: dict[Any, tuple[bool, set[str], bool]] = {}

    def decode_message(self, data: bytes, correction: int = 0) -> None:
        """Take one message; raises what ecCodes raises if it is broken, and nothing of it is kept then.

        `correction` is the number of it that its heading tells; 0 for none.
        """
        ec, size = self.ec, 0
        handle = ec.codes_new_from_message(data)
        try:
            size = ec.codes_get_long(handle, "numberOfSubsets")
            category = ec.codes_get_long(handle, "dataCategory")
            if category not in KIND_OF:
                self._count(messages_skipped=1, subsets_skipped=size, **{f"category_{category}": 1})
                return
            # Without attributes that only repeat the tables; it takes two thirds of the time.
            ec.codes_set(handle, "skipExtraKeyAttributes", 1)
            ec.codes_set(handle, "unpack", 1)
            correction = max(correction, ec.codes_get_long(handle, "updateSequenceNumber"))
            self._unpack(handle, category, size, correction)
        except Exception:
            self._count(subsets_broken=size)
            raise
        finally:
            ec.codes_release(handle)

    def _count(self, **numbers: int) -> None:
        for name, number in numbers.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def _unpack(self, handle: Any, category: int, size: int, correction: int) -> None:
        kind, first = KIND_OF[category], self.counts["subsets_read"]
        compressed = bool(self.ec.codes_get_long(handle, "compressedData"))
        layouts = self._find_layouts(handle, kind, compressed, size)
        climatological = self._is_climatological(handle, category)
        done = []
        for layout, starts, subsets in _group_by_layout(layouts, size, compressed):
            values = self._read_values(handle, layout, starts, len(subsets))
            texts = self._read_texts(handle, layout, starts, len(subsets))
            if layout.header:
                values[:, : layout.header] = self._find_typical_values(handle)
            done.append((layout, (first + subsets, values, texts, category, climatological, correction)))
        for layout, rows in done:
            self.groups.setdefault((kind, layout.identity), (layout, []))[1].append(rows)
        self._count(subsets_read=size)

    def _is_climatological(self, handle: Any, category: int) -> bool:
        if _MONTHLY & {*self.ec.codes_get_long_array(handle, "unexpandedDescriptors").tolist()}:
            return True
        with contextlib.suppress(self.ec.KeyValueNotFoundError):  # edition 3 knows only subcategories of its centres
            return (category, self.ec.codes_get_long(handle, "internationalDataSubCategory")) in CLIMATOLOGICAL
        return False

    def _find_typical_values(self, handle: Any) -> list[float]:
        date, clock = (self.ec.codes_get_string(handle, key) for key in ("typicalDate", "typicalTime"))
        parts = [date[:4], date[4:6], date[6:8], clock[:2], clock[2:4], clock[4:6]]
        return [float(part) if part.isdigit() else np.nan for part in parts]

    def _find_layouts(self, handle: Any, kind: int, compressed: bool, size: int) -> list[MessageLayout]:
        """Layouts of the subsets of a message, or the one that all have."""
        ec, tables = self.ec, tuple(self.ec.codes_get_long(handle, key) for key in _TABLES)
        key: Any = (tables, kind, compressed, ec.codes_get_long_array(handle, "unexpandedDescriptors").tobytes())
        if key not in self._expanded:
            expanded = {*ec.codes_get_long_array(handle, "expandedDescriptors").tolist()}
            ambiguous = {name for name, shared in _SHARED.items() if len(expanded & shared) > 1}
            self._expanded[key] = bool(expanded & _DELAYED), ambiguous, _ASSOCIATED not in expanded
            self._codes[key] = {}
        (delayed, ambiguous, plain), codes = self._expanded[key], self._codes[key]
        alike = compressed or size == 1 or not delayed
        if delayed:
            key = (*key, alike or size, *map(self._read_factors, [handle] * len(_FACTORS), _FACTORS))
        if key not in self._layouts:
            subsets = self._list_subsets(handle, kind, codes, alike, ambiguous)
            self._layouts[key] = [MessageLayout(subset, plain and alike) for subset in subsets]
        return self._layouts[key]

    def _read_factors(self, handle: Any, key: str) -> bytes:
        try:
            return self.ec.codes_get_long_array(handle, key).tobytes()
        except self.ec.KeyValueNotFoundError:
            return b""

    def _list_subsets(
        self, handle: Any, kind: int, codes: dict[str, int], alike: bool, ambiguous: set[str]
    ) -> list[Subset]:
        subsets, numbered = [Subset()], False
        for key in self._list_keys(handle):
            if key == "subsetNumber":
                if numbered and alike:
                    break
                subsets += [Subset()] if numbered else []
                numbered = True
            elif key == "operator":
                # What follows are quality information and statistics of the values, under the same names.
                subsets[-1].open = False
            elif key[0] == "#" and "->" not in key:
                name = key[key.index("#", 1) + 1 :]
                if name not in codes or name in ambiguous:
                    codes[name] = self._get_code(handle, key)
                subsets[-1].add(name, codes[name], codes[name] in _WANTED[kind])
        return subsets

    def _list_keys(self, handle: Any) -> Iterator[str]:
        iterator = self.ec.codes_bufr_keys_iterator_new(handle)
        try:
            while self.ec.codes_bufr_keys_iterator_next(iterator):
                yield self.ec.codes_bufr_keys_iterator_get_name(iterator)
        finally:
            self.ec.codes_bufr_keys_iterator_delete(iterator)

    def _get_code(self, handle: Any, key: str) -> int:
        with contextlib.suppress(self.ec.KeyValueNotFoundError):
            return int(self.ec.codes_get_string(handle, f"{key}->code"))
        return 0

    def _read_values(self, handle: Any, layout: MessageLayout, starts: Starts, size: int) -> np.ndarray:
        """Values (subset, element) of subsets of one layout; NaN where missing."""
        layout.messages += 1
        if layout.regular:
            values = self._read_whole_array(handle, layout, size)
        else:
            values = self._read_by_keys(handle, layout, starts, size)
            if layout.messages == 2 and layout.plain:
                # If places are right in one message, they are in all of this structure: they follow from it alone.
                layout.regular = np.array_equal(values, self._read_whole_array(handle, layout, size), equal_nan=True)
        return values

    def _read_whole_array(self, handle: Any, layout: MessageLayout, size: int) -> np.ndarray:
        """The same from one array with everything, which is faster; NaN if that has other numbers as well."""
        values = np.full((size, len(layout.codes)), np.nan)
        found = self.ec.codes_get_double_array(handle, "numericValues")
        if found.size % size == 0 and layout.places[-1] <= found.size // size:
            table = found.reshape(size, -1)
            values[:, layout.header :] = _mask_missing(table[:, layout.places[layout.header :] - 1])
        return values

    def _read_by_keys(self, handle: Any, layout: MessageLayout, starts: Starts, size: int) -> np.ndarray:
        values = np.full((size, len(layout.codes)), np.nan)
        for name, (columns, occurrences) in layout.columns.items():
            if starts is None:  # one value stands for all subsets where they are equal
                for column, occurrence in zip(columns, occurrences, strict=True):
                    values[:, column] = self.ec.codes_get_double_array(handle, f"#{occurrence + 1}#{name}")
            else:
                found = self.ec.codes_get_double_array(handle, name)
                values[:, columns] = found[starts[name][:, None] + occurrences]
        return _mask_missing(values)

    def _read_texts(self, handle: Any, layout: MessageLayout, starts: Starts, size: int) -> dict[int, np.ndarray]:
        texts = {}
        for code, (name, occurrence) in layout.texts.items():
            key = f"#{occurrence + 1}#{name}" if starts is None else name
            found = np.array(self.ec.codes_get_string_array(handle, key))
            texts[code] = np.broadcast_to(found, size) if starts is None else found[starts[name] + occurrence]
        return texts


def _mask_missing(values: np.ndarray) -> np.ndarray:
    return np.where((values == _MISSING[0]) | (values == _MISSING[1]), np.nan, values)


def _group_by_layout(
    layouts: list[MessageLayout], size: int, compressed: bool
) -> Iterator[tuple[MessageLayout, Starts, np.ndarray]]:
    """Subsets by their layout, with the numbers of occurrences of each key before them."""
    if len(layouts) == 1:
        subsets, layout = np.arange(size), layouts[0]
        yield layout, None if compressed else {name: subsets * layout.totals[name] for name in layout.names}, subsets
        return
    if len(layouts) != size:
        raise ValueError(f"{len(layouts)} subsets found, {size} expected")
    names = {name for layout in layouts for name in layout.totals}
    counts = {name: np.array([layout.totals.get(name, 0) for layout in layouts]) for name in names}
    starts = {name: np.cumsum(count) - count for name, count in counts.items()}
    groups: dict[Any, list[int]] = {}
    for number, layout in enumerate(layouts):
        groups.setdefault(layout.identity, []).append(number)
    for numbers in groups.values():
        subsets = np.array(numbers)
        yield layouts[numbers[0]], {name: start[subsets] for name, start in starts.items()}, subsets


def concat_groups(groups: dict[Any, tuple[MessageLayout, list[Any]]]) -> dict[str, np.ndarray]:
    """All layouts and subsets as arrays, those of one layout together."""
    columns: dict[str, list[np.ndarray]] = {}
    for number, (layout, rows) in enumerate(groups.values()):
        subsets, values, texts, *told = zip(*rows, strict=True)
        sizes = [len(part) for part in subsets]
        parts = {name: np.repeat(column, sizes) for name, column in zip(_TOLD, told, strict=True)}
        parts |= {"number": np.concatenate(subsets), "layout": np.full(sum(sizes), number)}
        for code in TEXTS:
            there = [part[code] for part in texts] if code in layout.texts else [np.full(sum(sizes), "")]
            parts[str(code)] = np.concatenate(there)
        for name, part in (parts | {"values": np.concatenate([part.ravel() for part in values])}).items():
            columns.setdefault(name, []).append(part)
    none, layouts = np.empty(0, int), [layout for layout, _ in groups.values()]
    result = {
        "layouts.codes": np.concatenate([none, *(layout.codes for layout in layouts)]),
        "layouts.places": np.concatenate([none, *(layout.places for layout in layouts)]),
        "layouts.size": np.array([len(layout.codes) for layout in layouts], dtype=int),
        "layouts.kind": np.array([kind for kind, _ in groups], dtype=int),
        "values.all": np.concatenate([np.empty(0), *columns.pop("values", [])]),
    }
    columns = columns or {name: [none] for name in ("number", "layout")}
    return result | {f"subsets.{name}": np.concatenate(arrays) for name, arrays in columns.items()}


def parse_correction(data: Any, position: int) -> int:
    """Number of the correction that the heading before a message tells: 1 for ``CCA``, and so on; 0 for none."""
    found = _CORRECTED.search(data[max(position - 40, 0) : position])
    return 0 if found is None else found[1][0] - ord("A") + 1


def find_messages(data: Any, start: int, stop: int) -> Iterator[tuple[int, bytes | None, int]]:
    """Messages that begin in a range of bytes, with where they end, and the number of their correction.

    None is one that is not whole.
    """
    position = 0
    while 0 <= (position := data.find(b"BUFR", position)) < stop:
        end = position + int.from_bytes(data[position + 4 : position + 7], "big")
        whole = position + 8 <= end <= len(data) and data[end - 4 : end] == b"7777"
        begin, position = position, end if whole else position + 4
        if begin >= start:
            yield position, data[begin:end] if whole else None, parse_correction(data, begin)


def decode(data: Any, start: int, stop: int) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Tables and counts of the messages in a range of bytes; a broken one does not take the others with it."""
    decoder, done, said = BufrDecoder(), start, time.monotonic()
    for position, message, correction in find_messages(data, start, stop):
        decoder.counts["messages"] += 1
        try:
            if message is None:
                raise ValueError("it has no end where its length says (truncated?)")
            decoder.decode_message(message, correction)
        except Exception as error:
            # Where there is no memory, nothing is wrong with the message.
            if isinstance(error, MemoryError) or type(error).__name__ == "MemoryAllocationError":
                raise MemoryError(f"message before byte {position}: {error}") from error
            decoder.counts["messages_broken"] += 1
            if decoder.counts["messages_broken"] <= _COMPLAINTS:
                print(f"message before byte {position}: {type(error).__name__}: {error}", file=sys.stderr)
        if time.monotonic() - said > _REPORT_EVERY:
            print(position - done, flush=True)
            done, said = position, time.monotonic()
    return concat_groups(decoder.groups), decoder.counts


def main(source: str, target: str, part: str = "0", parts: str = "1") -> int:
    """Decode a part of `source` into `target`; returns the exit status."""
    with open(source, "rb") as file:
        data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.seek(0, 2) else b""
        start, stop = (len(data) * (int(part) + i) // int(parts) for i in (0, 1))
        try:
            tables, counts = decode(data, start, stop)
        except ImportError as error:
            print(error, file=sys.stderr)
            return 3
    contents: dict[str, Any] = tables | {f"count.{name}": np.array(number) for name, number in counts.items()}
    with open(target, "wb") as out:
        np.savez(out, **contents)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
