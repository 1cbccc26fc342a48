"""Damage to bytes, texts and trees of lists and dicts."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

NUMBERS = (
    "", "0", "-0", "1", "-1", "0.5", "90", "-90.0001", "91", "180", "360.1", "541", "999", "9999", "-999.9", "-9999",
    "99999", "1e20", "1e308", "1e309", "-1e309", "inf", "-inf", "Infinity", "nan", "NaN", "None", "null", "NA", "--",
    "1,5", "1.013,25", "1_000", "0x1F", "1e", "e5", "1.2.3", "++1", "٣", "½", "²", "true", "False", "1+2j",
    "2147483648", "-9223372036854775808", "18446744073709551616", "9" * 40, "0." + "0" * 40 + "1", " 12 ", "12°30'N",
    "12N", "1d", "1D3", "\x00", "\u2212" + "5",
)  # fmt: skip
"""Numbers as files have them, good ones of other orders and what is none."""

DATES = (
    "0000-00-00", "0001-01-01", "1500-01-01", "1599-12-31", "1600-01-01", "1970-01-01", "2018-11-02", "2018-02-30",
    "2018-13-01", "2018-11-02T24:00", "2018-11-02T25:61", "2261-12-31", "2262-04-12", "3000-01-01", "9999-12-31",
    "10000-01-01", "20181102", "2018306", "02.11.2018", "11/02/18", "-4713-01-01", "2018-11-02T12:00+99:00",
    "2018-11-02 12:00 UTC", "now", "NaT", "1541160000", "43406.5", "2018-W44-5", "2018-11", "2018", "12:00",
)  # fmt: skip
"""Dates in many forms, and what is none."""

TEXTS = (
    "",
    " ",
    "\t",
    "\n",
    "\r",
    '"',
    "'",
    ",",
    ";",
    "|",
    "#",
    "%",
    "\\",
    "\ufeff",
    "\u202e",
    "é" * 300,
    "\x00",
    "\x1a",
    "x" * 5000,
    "{",
    "[",
    "=",
)

_INTEGERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


def repeated(rng: random.Random, once: Callable[[], None]) -> None:
    """Once mostly, at times up to eight times."""
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 8))):
        once()


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bits turned, bytes replaced, put in, taken out, doubled, exchanged; integers of odd sizes; cut ends."""
    array = bytearray(data)

    def once() -> None:
        rng.choice(_BYTES)(array, rng)

    repeated(rng, once)
    return bytes(array)


def _place(array: bytearray, rng: random.Random) -> int:
    """Anywhere; heads, where formats have their structure, as often as all the rest."""
    size = len(array)
    return rng.randrange(min(size, 512) if rng.random() < 0.5 else size) if size else 0


def _span(array: bytearray, rng: random.Random) -> slice:
    start = _place(array, rng)
    return slice(start, start + rng.choice((1, 1, 2, 4, 8, 16, 64, 512)))


def _turn(array: bytearray, rng: random.Random) -> None:
    if array:
        array[_place(array, rng)] ^= 1 << rng.randrange(8)


def _replace(array: bytearray, rng: random.Random) -> None:
    span = _span(array, rng)
    array[span] = rng.randbytes(len(array[span]))


def _fill(array: bytearray, rng: random.Random) -> None:
    span = _span(array, rng)
    array[span] = bytes([rng.choice((0, 0xFF, 0x20, 0x7F))]) * len(array[span])


def _integer(array: bytearray, rng: random.Random) -> None:
    size, start = rng.choice((1, 2, 3, 4, 8)), _place(array, rng)
    value = rng.choice(_INTEGERS) % 256**size
    array[start : start + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _delete(array: bytearray, rng: random.Random) -> None:
    del array[_span(array, rng)]


def _double(array: bytearray, rng: random.Random) -> None:
    part = bytes(array[_span(array, rng)])
    start = _place(array, rng)
    array[start:start] = part * rng.choice((1, 1, 2, 20))


def _cut(array: bytearray, rng: random.Random) -> None:
    del array[_place(array, rng) :]


def _append(array: bytearray, rng: random.Random) -> None:
    array += rng.randbytes(rng.choice((1, 16, 300)))


def _exchange(array: bytearray, rng: random.Random) -> None:
    one, other = _span(array, rng), _span(array, rng)
    first, second = bytes(array[one]), bytes(array[other])
    array[one] = second
    array[other] = first


_BYTES = (_turn, _turn, _turn, _replace, _fill, _integer, _integer, _delete, _double, _cut, _append, _exchange)


_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(r"[^\s,;]+")


def mutate_text(text: str, rng: random.Random, words: Sequence[str] = ()) -> str:
    """Numbers, dates and words replaced, lines and columns moved, doubled and lost, separators changed.

    `words` are those that mean something in the format: they take the place of others.
    """
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 8))):
        text = rng.choice(_TEXT)(text, rng, words)
    return text


def _one(pattern: re.Pattern[str], text: str, rng: random.Random, new: str) -> str:
    found = [*pattern.finditer(text)]
    if not found:
        return text + new
    match = rng.choice(found)
    return text[: match.start()] + new + text[match.end() :]


def _number(text: str, rng: random.Random, words: Sequence[str]) -> str:
    return _one(_NUMBER, text, rng, rng.choice(NUMBERS))


def _word(text: str, rng: random.Random, words: Sequence[str]) -> str:
    return _one(_WORD, text, rng, rng.choice(rng.choice((NUMBERS, DATES, TEXTS, tuple(words) or TEXTS))))


def _digit(text: str, rng: random.Random, words: Sequence[str]) -> str:
    return _one(re.compile(r"\d"), text, rng, rng.choice("0123456789./-+M "))


def _characters(text: str, rng: random.Random, words: Sequence[str]) -> str:
    start = rng.randrange(len(text) + 1)
    return text[:start] + rng.choice(TEXTS) + text[start + rng.choice((0, 0, 1, 5)) :]


def _lines(text: str, rng: random.Random, words: Sequence[str]) -> str:
    lines = text.split("\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    change = rng.randrange(5)
    if change == 0:
        del lines[first]
    elif change == 1:
        lines.insert(second, lines[first])
    elif change == 2:
        lines[first], lines[second] = lines[second], lines[first]
    elif change == 3:
        lines[first] += lines[second]
    else:
        lines = lines[: first + 1] + [rng.choice(TEXTS)] + lines[first + 1 :]
    return "\n".join(lines)


def _separators(text: str, rng: random.Random, words: Sequence[str]) -> str:
    old = rng.choice([mark for mark in ",;\t .:-\n" if mark in text] or ["\n"])
    return text.replace(old, rng.choice(",;\t |.:\n"), rng.choice((1, 1, -1)))


def _cut_text(text: str, rng: random.Random, words: Sequence[str]) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _column(text: str, rng: random.Random, words: Sequence[str]) -> str:
    """One number everywhere instead of a field of each line: a column that is wrong as a whole."""
    mark = rng.choice(",;\t ")
    rows = [line.split(mark) for line in text.split("\n")]
    column, new = rng.randrange(max(map(len, rows))), rng.choice(rng.choice((NUMBERS, DATES)))
    return "\n".join(mark.join(new if k == column and i else f for k, f in enumerate(r)) for i, r in enumerate(rows))


_TEXT = (_number, _number, _number, _word, _word, _digit, _digit, _characters, _lines, _separators, _cut_text, _column)


def encode(text: str, rng: random.Random) -> bytes:
    """A text as bytes, mostly in UTF-8."""
    return text.encode(rng.choice(("utf-8",) * 12 + ("utf-16", "latin-1", "utf-8-sig")), errors="replace")


LEAVES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 1e308, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, float("inf"), float("-inf"),
    float("nan"), "", "x", "nan", "inf", "1", "é", "x" * 5000, "../..", "/", "\x00", [], {}, [[]], [None], {"": {}},
    [1, "a"], [float("nan")], [0] * 100,
)  # fmt: skip
"""Odd values of JSON and YAML."""


def mutate_tree(tree: Any, rng: random.Random, leaves: Sequence[Any] = LEAVES) -> Any:
    """A copy of nested dicts and lists in which values, keys, lengths and types are changed."""
    holder = [copy.deepcopy(tree)]

    def once() -> None:
        if places := _places(holder):
            rng.choice(_TREE)(*rng.choice(places), rng, leaves)

    repeated(rng, once)
    return holder[0] if holder else None


def _places(node: Any) -> list[tuple[Any, Any]]:
    keys = [*node] if isinstance(node, dict) else [*range(len(node))] if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in _places(node[key])]


def _leaf(parent: Any, key: Any, rng: random.Random, leaves: Sequence[Any]) -> None:
    parent[key] = copy.deepcopy(rng.choice(leaves))


def _near(parent: Any, key: Any, rng: random.Random, leaves: Sequence[Any]) -> None:
    """A value of the same type, somewhat off."""
    value = parent[key]
    if isinstance(value, bool):
        parent[key] = not value
    elif isinstance(value, int | float):
        parent[key] = rng.choice((value + 1, value - 1, -value, value * 1000, value / 3, float(value), str(value)))
    elif isinstance(value, str):
        parent[key] = rng.choice((value[:-1], value + "x", value.upper(), [value], value[::-1]))
    else:
        parent[key] = copy.deepcopy(rng.choice(leaves))


def _drop(parent: Any, key: Any, rng: random.Random, leaves: Sequence[Any]) -> None:
    del parent[key]


def _wrap(parent: Any, key: Any, rng: random.Random, leaves: Sequence[Any]) -> None:
    parent[key] = rng.choice(([parent[key]], {"a": parent[key]}, [parent[key]] * 3))


def _grow(parent: Any, key: Any, rng: random.Random, leaves: Sequence[Any]) -> None:
    if isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    else:
        parent[f"{key}{rng.choice(('x', '', '2'))}"] = copy.deepcopy(rng.choice(leaves))


def _swap(parent: Any, key: Any, rng: random.Random, leaves: Sequence[Any]) -> None:
    keys = [*parent] if isinstance(parent, dict) else [*range(len(parent))]
    other = rng.choice(keys)
    parent[key], parent[other] = parent[other], parent[key]


_TREE = (_leaf, _leaf, _leaf, _near, _near, _near, _drop, _wrap, _grow, _swap)
