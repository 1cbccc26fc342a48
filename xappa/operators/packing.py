"""Stencils of rows of unequal length, without filling the short ones up to the longest.

A mean over an area reads a handful of cells at the equator and dozens near a pole. Kept as one rectangle, all rows
would be as long as the longest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xappa.operators.rows import Part, Rows
from xappa.operators.stencil import Stencil, compact, concatenate

Array = np.ndarray

SMALL = 1 << 20  # entries, filled ones included, below which it is not worth while to part rows
WASTE = 2.0  # entries over those that are not zero, above which rows are parted


def packed(parts: list[Stencil]) -> list[Stencil]:
    """The same rows in few stencils, of which none is large and mostly filled up.

    Parameters
    ----------
    parts : list of Stencil
        Over one trajectory.

    Returns
    -------
    list of Stencil
        One, with the rows in their order, as long as that is small or not wasteful; otherwise several, the narrow rows
        first.
    """
    parts = [part for part in parts if len(part)] or parts[:1]
    sizes = [_lengths(part) for part in parts]
    if not parts or _tolerable(sum(map(len, parts)), max(map(_width, parts)), sum(int(s.sum()) for s in sizes)):
        return [concatenate(parts)]
    classes = [np.ceil(np.log2(np.maximum(size, 1))).astype(int) for size in sizes]
    groups: list[list[Stencil]] = []
    filled, real = 0, 0
    for number in np.unique(np.concatenate(classes)):
        rows = [np.flatnonzero(c == number) for c in classes]
        found = [_trimmed(part.select(r)) for part, r in zip(parts, rows, strict=True) if len(r)]
        width, entries = max(map(_width, found)), sum(int(s[r].sum()) for s, r in zip(sizes, rows, strict=True))
        count = sum(map(len, found))
        if groups and _tolerable(filled + count, width, real + entries):
            groups[-1] += found
            filled, real = filled + count, real + entries
        else:
            groups.append(found)
            filled, real = count, entries
    return [concatenate(group) for group in groups]


def linear(parts: list[Stencil], times: Array) -> Stencil | Rows:
    """Stencils over `times` as one reading: a stencil, if `packed` makes one of them."""
    together = packed(parts)
    return together[0] if len(together) == 1 else Rows(tuple(Part(stencil) for stencil in together), times)


def joined(found: list[Stencil | Rows], times: Array) -> Stencil | Rows:
    """One reading of several; a stencil, if all are."""
    parts = [part for rows in found for part in (rows.parts if isinstance(rows, Rows) else (Part(rows),))]
    others = tuple(part for part in parts if part.view is not None or part.extreme is not None)
    stencils = [part.stencil for part in parts if part.view is None and part.extreme is None]
    own = linear(stencils, times) if any(isinstance(rows, Rows) for rows in found) else concatenate(stencils)
    if not others:
        return own
    before = own.parts if isinstance(own, Rows) else (Part(own),) if len(own) else ()
    return Rows(before + others, times)


def blocks(stencil: Stencil, entries: int, times: int = 1) -> list[Stencil]:
    """Rows of a stencil in turn, so many that `times` their entries are at most about `entries`."""
    step = max(1, entries // max(1, _width(stencil) * times))
    rows = np.arange(len(stencil))
    return [stencil.select(rows[k : k + step]) for k in range(0, len(stencil), step)] or [stencil]


def _width(stencil: Stencil) -> int:
    return stencil.weight.shape[1]


def _lengths(stencil: Stencil) -> Array:
    return (stencil.weight != 0).sum(axis=1)


def _tolerable(rows: int, width: int, entries: int) -> bool:
    return rows * width <= max(SMALL, WASTE * entries)


def _trimmed(stencil: Stencil) -> Stencil:
    weight, time, channel, cell = compact(stencil.weight, stencil.time, stencil.channel, stencil.cell)
    return replace(stencil, weight=weight, time=time, channel=channel, cell=cell)
