"""A linear reading of a trajectory of fields: which numbers, with which weights, make each report."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from xappa._typing import Array
from xappa.distinct_rows import hash_rows


@dataclass(frozen=True)
class Spans:
    """Kinds of reports: K pairs of first and last time, the number of reports of each, and the times that they read.

    Parameters
    ----------
    first, last, number : array of int, (K,)
    read : array of bool, (K, time)
    """

    first: Array
    last: Array
    number: Array
    read: Array


@dataclass(frozen=True)
class SparseOperator:
    r"""Observation operator as a sparse matrix by rows: :math:`H(x)_m = b_m + \sum_p w_{mp} x_{mp}`.

    Rows are M reports, each the sum of P numbers of a trajectory (time, channel, latitude, longitude) in the units of
    the state. Entries of weight zero repeat another entry of their row, so that missing values that are not read do no
    harm.

    Parameters
    ----------
    time, channel, cell : array of int, (M, P)
        Where each number is: time index, channel index and flat index row * width + column.
    weight : array of float, (M, P)
        Its weight.
    offset : array of float, (M,)
        What is added.
    value, error : array of float, (M,)
        What was reported, and the standard deviation of its error.
    observation : array of int, (M,)
        Position of the report on the `obs` dimension of the observations.
    variable : array of int, (M,)
        Index of the reported quantity in `names`.
    names : tuple of str
        WeatherBench names.
    """

    time: Array
    channel: Array
    cell: Array
    weight: Array
    offset: Array
    value: Array
    error: Array
    observation: Array
    variable: Array
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.value)

    def list_arrays(self) -> tuple[Array, ...]:
        """All arrays, in the order of the parameters."""
        return tuple(getattr(self, f.name) for f in fields(self) if f.name != "names")

    @property
    def frames(self) -> Array:
        """Indices of the times that are read, ascending."""
        return np.unique(self.time)

    def compute_spans(self) -> tuple[Array, Array]:
        """First and last time that each report reads."""
        return self.time.min(axis=1, initial=np.iinfo(int).max), self.time.max(axis=1, initial=0)

    @cached_property
    def by_span(self) -> Spans:
        """Reports by the first and last time that they read."""
        first, last = self.compute_spans()
        length = int(last.max(initial=0)) + 1
        span, kind, number = np.unique(first * length + last, return_inverse=True, return_counts=True)
        read = np.zeros((len(span), length), bool)
        read[kind[:, None], self.time] = True
        return Spans(span // length, span % length, number, read)

    def apply(self, trajectory: Array) -> Array:
        """Predicted reports.

        Parameters
        ----------
        trajectory : array, (..., T, channel, latitude, longitude)
            Physical fields at the times that the stencil indexes.

        Returns
        -------
        array of float64, (..., M)
        """
        picked = self._gather(trajectory)
        return np.einsum("...mp,mp->...m", picked.astype(float), self.weight) + self.offset

    def compute_terms(self, trajectory: Array) -> Array:
        """The weighted numbers (..., M, P) that make up the predicted reports, without what is added."""
        return self._gather(trajectory).astype(float) * self.weight

    def _gather(self, trajectory: Array) -> Array:
        *more, height, width = trajectory.shape
        return trajectory.reshape(*more, height * width)[..., self.time, self.channel, self.cell]

    def select(self, rows: Array) -> SparseOperator:
        """The stencil of some rows, given as a mask or as indices."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "names"})

    def sort(self) -> SparseOperator:
        """The same rows in an order that their own numbers decide, so that sums over them are always rounded alike."""
        whole = (self.time, self.channel, self.cell)
        real = (self.weight, self.offset[:, None], self.value[:, None], self.error[:, None])
        columns = [column.astype(np.int64) for part in whole for column in part.T]
        columns += [column.astype(np.float64) for part in real for column in part.T]
        first = (part[:, 0] for part in (self.cell, self.channel, self.time) if part.shape[1])
        return self.select(np.lexsort((hash_rows(*columns), *first, self.variable)))

    def reindex_times(self, frames: Array) -> SparseOperator:
        """The same for a trajectory that has only the times `frames`."""
        return replace(self, time=np.searchsorted(frames, self.time))

    def select_window(self, start: int, length: int) -> SparseOperator:
        """The rows that read nothing outside times `start` ... `start + length - 1`, times counted from `start`."""
        inside = (self.time >= start) & (self.time < start + length)
        part = self.select(np.flatnonzero(inside.all(axis=1)))
        return replace(part, time=part.time - start)


def compact(weight: Array, *indices: Array) -> tuple[Array, ...]:
    """Drop entries of weight zero as far as rows stay of one length; those that remain repeat the row's heaviest entry.

    Parameters
    ----------
    weight : array of float, (M, P)
    *indices : array of int, (M, P)

    Returns
    -------
    weight, *indices : arrays, (M, Q), Q <= P
    """
    number = np.count_nonzero(weight, axis=1)
    most = max(int(number.max(initial=0)), 1)
    if most < weight.shape[1]:
        return _select_nonzero(most, weight, *indices)
    # Rows without a zero stay as they are.
    some = np.flatnonzero(number < most)
    ordered = _select_nonzero(most, *(array[some] for array in (weight, *indices)))
    whole = tuple(np.array(array) for array in (weight, *indices))
    for array, rows in zip(whole, ordered, strict=True):
        array[some] = rows
    return whole


def _select_nonzero(most: int, weight: Array, *indices: Array) -> tuple[Array, ...]:
    """The first entries of each row that are not zero, `most` of them or with the heaviest in place of others."""
    nonzero = weight != 0
    order = np.argsort(~nonzero, axis=1, kind="stable")[:, :most]
    heaviest = np.argmax(np.abs(weight), axis=1)[:, None]
    kept = np.take_along_axis(nonzero, order, axis=1)
    order = np.where(kept, order, heaviest)
    weight = np.where(kept, np.take_along_axis(weight, order, axis=1), 0.0)
    return weight, *(np.take_along_axis(index, order, axis=1) for index in indices)


def concatenate(parts: list[SparseOperator]) -> SparseOperator:
    """One stencil of several over the same trajectory; shorter rows are filled with entries of weight zero."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.names))
    width = max((part.weight.shape[1] for part in parts), default=1)

    def padded(name: str) -> Array:
        blocks = [getattr(part, name) for part in parts]
        kind = np.result_type(*blocks) if blocks else np.dtype(float if name == "weight" else int)
        whole, first = np.zeros((sum(map(len, blocks)), width), kind), 0
        for block in blocks:
            rows = whole[first : first + len(block)]
            rows[:, : block.shape[1]] = block
            if name != "weight":  # the first entry is never of weight zero, so that repeating it is harmless
                rows[:, block.shape[1] :] = block[:, :1]
            first += len(block)
        return whole

    def joined(name: str) -> Array:
        return np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0)

    codes = [np.array([names.index(name) for name in part.names], int)[part.variable] for part in parts]
    return SparseOperator(
        **{name: padded(name) for name in ("time", "channel", "cell", "weight")},
        **{name: joined(name) for name in ("offset", "value", "error")},
        observation=np.concatenate([part.observation for part in parts]) if parts else np.zeros(0, int),
        variable=np.concatenate(codes) if parts else np.zeros(0, int),
        names=names,
    )
