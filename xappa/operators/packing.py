"""Stencils of rows of unequal length, without filling the short ones up to the longest.

A mean over an area reads a handful of cells at the equator and dozens near a pole. Kept as one rectangle, all rows
would be as long as the longest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from xappa._typing import Array
from xappa.operators.composite import CompositeOperator, OperatorBlock
from xappa.operators.sparse import SparseOperator, compact, concatenate

SMALL = 1 << 20  # entries, filled ones included, below which it is not worth while to part rows
WASTE = 2.0  # entries over those that are not zero, above which rows are parted


def pack_rows(parts: Iterable[SparseOperator]) -> list[SparseOperator]:
    """The same rows in few stencils, of which none is large and mostly filled up.

    Parameters
    ----------
    parts : iterable of SparseOperator
        Over one trajectory. They are taken one by one, and none is kept as it comes once they are large together.

    Returns
    -------
    list of SparseOperator
        One, with the rows in their order, as long as that is small. Otherwise rows of like length together, the short
        ones first, in as few stencils as are not wasteful.
    """
    waiting: list[SparseOperator] = []
    pieces: dict[int, list[SparseOperator]] = {}
    empty, rows, width = None, 0, 0
    for part in parts:
        if not len(part):
            empty = empty or part
            continue
        waiting.append(part)
        rows, width = rows + len(part), max(width, _get_width(part))
        if rows * width > SMALL:
            while waiting:
                _sort_by_length(waiting.pop(0), pieces)
    if not pieces:
        return [concatenate(waiting or ([] if empty is None else [empty]))]
    groups = _group_lengths(pieces)
    pieces.clear()
    together = []
    while groups:
        together.append(concatenate(groups.pop(0)))
    return together


def _sort_by_length(part: SparseOperator, pieces: dict[int, list[SparseOperator]]) -> None:
    """Add the rows of a stencil to those that need, to a factor of two, as many entries."""
    number = np.ceil(np.log2(np.maximum(_count_entries(part), 1))).astype(int)
    for n in np.unique(number).tolist():
        pieces.setdefault(n, []).append(_trim(part.select(np.flatnonzero(number == n))))


def _group_lengths(pieces: dict[int, list[SparseOperator]]) -> list[list[SparseOperator]]:
    """Classes of rows, the short ones first, those together that may be."""
    groups: list[list[SparseOperator]] = []
    filled, real = 0, 0
    for _, found in sorted(pieces.items()):
        width, entries = max(map(_get_width, found)), sum(int(_count_entries(part).sum()) for part in found)
        count = sum(map(len, found))
        if groups and _is_tolerable(filled + count, width, real + entries):
            groups[-1] += found
            filled, real = filled + count, real + entries
        else:
            groups.append(list(found))
            filled, real = count, entries
    return groups


def build_linear_operator(parts: Iterable[SparseOperator], times: Array) -> SparseOperator | CompositeOperator:
    """Stencils over `times` as one reading: a stencil, if `pack_rows` makes one of them."""
    together = pack_rows(parts)
    return (
        together[0]
        if len(together) == 1
        else CompositeOperator(tuple(OperatorBlock(stencil) for stencil in together), times)
    )


def concatenate_operators(
    found: list[SparseOperator | CompositeOperator], times: Array
) -> SparseOperator | CompositeOperator:
    """One reading of several; a stencil, if all are."""
    parts = [
        part
        for rows in found
        for part in (rows.blocks if isinstance(rows, CompositeOperator) else (OperatorBlock(rows),))
    ]
    others = tuple(part for part in parts if part.function is not None or part.extreme is not None)
    stencils = [part.stencil for part in parts if part.function is None and part.extreme is None]
    own = (
        build_linear_operator(stencils, times)
        if any(isinstance(rows, CompositeOperator) for rows in found)
        else concatenate(stencils)
    )
    if not others:
        return own
    before = own.blocks if isinstance(own, CompositeOperator) else (OperatorBlock(own),) if len(own) else ()
    return CompositeOperator(before + others, times)


def split_blocks(stencil: SparseOperator, entries: int, times: int = 1) -> list[SparseOperator]:
    """Rows of a stencil in turn, so many that `times` their entries are at most about `entries`."""
    step = max(1, entries // max(1, _get_width(stencil) * times))
    rows = np.arange(len(stencil))
    return [stencil.select(rows[k : k + step]) for k in range(0, len(stencil), step)] or [stencil]


def _get_width(stencil: SparseOperator) -> int:
    return stencil.weight.shape[1]


def _count_entries(stencil: SparseOperator) -> Array:
    return (stencil.weight != 0).sum(axis=1)


def _is_tolerable(rows: int, width: int, entries: int) -> bool:
    return rows * width <= max(SMALL, WASTE * entries)


def _trim(stencil: SparseOperator) -> SparseOperator:
    weight, *places = compact(stencil.weight, stencil.time, stencil.channel, stencil.cell)
    time, channel, cell = (a.astype(np.int32) for a in places)  # there are many, and half as wide ones hold them
    return replace(stencil, weight=weight, time=time, channel=channel, cell=cell)
