"""Distinct rows of several columns, found by hashes: the first row of each kind, and the kind of each row."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xappa._typing import Array

_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, of no pattern
_HALF = np.uint64(32)


def find_distinct(*columns: Array) -> tuple[Array, Array]:
    """Kinds of rows that are equal bit by bit.

    Parameters
    ----------
    *columns : array of float64, int64 or text of fixed width, (N,)
        NaN equals NaN of the same bits; 0.0 and -0.0 differ.

    Returns
    -------
    first : array of int, (K,)
        Where each kind comes first.
    number : array of int, (N,)
        Kind of each row, in the order in which kinds come.
    """
    words = [word for column in columns for word in _view_as_integers(column)]
    number, kinds = pd.factorize(_hash_rows(words))
    first = np.empty(len(kinds), np.int64)
    first[number[::-1]] = np.arange(len(number) - 1, -1, -1)
    if all((word == word[first][number]).all() for word in words):
        return first, number
    # Two kinds have one hash.
    frame = pd.DataFrame(dict(enumerate(words)))
    number = np.asarray(frame.groupby(list(range(len(words))), sort=False).ngroup())
    return np.unique(number, return_index=True)[1], number


def hash_rows(*columns: Array) -> Array:
    """One hash of each row, uint64 (N,), the same for rows that are equal; columns as for `find_distinct`."""
    return _hash_rows([word for column in columns for word in _view_as_integers(column)])


def _view_as_integers(column: Array) -> list[Array]:
    """A column as whole numbers, without a copy."""
    column = np.ascontiguousarray(column)
    if column.dtype.kind == "U":
        kind = np.uint32 if column.dtype.itemsize % 8 else np.uint64
        return list(column.view(kind).reshape(len(column), column.dtype.itemsize // kind().itemsize).T)
    return [column.view(np.uint64)]


def _hash_rows(words: list[Array]) -> Array:
    """One hash of each row."""
    mixed = np.zeros(len(words[0]), np.uint64)
    for word in words:
        mixed ^= mixed >> _HALF
        mixed *= _MIXER
        mixed += word
    return mixed
