r"""Regridding weights: a sparse matrix, or factors of one, applied to arrays.

Between grids of rows and columns the matrix is a sum of Kronecker products, :math:`W = \sum_k A_k \otimes B_k` (one for
the grid itself, one for what lies between the last row and the pole): :math:`A_k F B_k^T` then takes a fraction of the
memory, and often of the time, of the whole matrix.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, kron

from xappa._typing import Array
from xappa.errors import OptionError

Factors = tuple[csr_array, csr_array]

SMALL = 1e-9


@dataclass(frozen=True, eq=False)
class Weights:
    """A linear map from the fields of one grid to those of another.

    Parameters
    ----------
    source_shape, target_shape : tuple of int
        Sizes of the horizontal dimensions.
    parts : sequence of (csr_array, csr_array), optional
        Factors along rows, (H_target, H_source), and columns, (W_target, W_source).
    full : csr_array, optional
        The matrix, (targets, sources), where it has no factors.
    normalize : bool, default True
        Whether a target that is not wholly covered gets the mean of what is; otherwise the sum, as the matrix has it.
    share : Weights, optional
        Weights of which missing values take their share, where it is not these (components of vectors near a pole).
    attrs : mapping, optional
        What is known about the weights: method, where they come from.
    places : mapping, optional
        ``source_latitude`` and so on, where a file of weights tells them; degrees, flat.
    """

    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    parts: Sequence[Factors] = ()
    full: csr_array | None = None
    normalize: bool = True
    share: Weights | None = None
    attrs: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.full is not None:
            object.__setattr__(self, "full", csr_array(self.full))

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Numbers of targets and sources."""
        return math.prod(self.target_shape), math.prod(self.source_shape)

    @cached_property
    def matrix(self) -> csr_array:
        """The whole matrix, (targets, sources), float64."""
        if self.full is not None:
            return self.full
        made = sum((kron(rows, columns, format="csr") for rows, columns in self.parts), csr_array(self.shape))
        return csr_array(made)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        held = [m for pair in self.parts for m in pair]
        held += [m for m in (self.full, self.__dict__.get("matrix")) if m is not None]
        for parts, full, _ in self.__dict__.get("_casts", {}).values():
            held += [m for pair in parts for m in pair] + ([] if full is None else [full])
        return sum(m.data.nbytes + m.indices.nbytes + m.indptr.nbytes for m in {id(m): m for m in held}.values())

    @cached_property
    def total(self) -> Array:
        """Sum of the weights of each target, (targets,): what share of it the source covers."""
        if self.share is not None:
            return self.share.total
        if self.full is not None:
            return self.full.sum(axis=1)
        return np.sum([np.outer(a.sum(axis=1), b.sum(axis=1)) for a, b in self.parts], axis=0).ravel()

    @cached_property
    def digest(self) -> str:
        """Hash of the map."""
        text = hashlib.sha256(f"{self.source_shape} {self.target_shape} {self.normalize}".encode())
        for part in [m for pair in self.parts for m in pair] + [m for m in (self.full,) if m is not None]:
            for values in (part.data, part.indices, part.indptr):
                text.update(np.ascontiguousarray(values).tobytes())
        text.update(b"" if self.share is None else self.share.digest.encode())
        return text.hexdigest()

    def __dask_tokenize__(self) -> str:
        return self.digest

    def __getstate__(self) -> dict[str, object]:
        # What can be made again is not sent to workers.
        made = {"matrix", "total", "_casts", "_chosen"}
        return {key: value for key, value in self.__dict__.items() if key not in made}

    def __repr__(self) -> str:
        by = " by ".join("x".join(map(str, s)) for s in (self.target_shape, self.source_shape))
        return f"<xappa Weights {by}{''.join(f', {k}: {v}' for k, v in self.attrs.items())}>"

    def with_attrs(self, **attrs: str) -> Weights:
        """The same weights, with something said about them."""
        return replace(self, attrs={**self.attrs, **attrs})

    def apply(self, fields: Array, min_valid: float = 0.5) -> Array:
        """Regrid arrays.

        Parameters
        ----------
        fields : array, (..., *source_shape)
            Of any float type, which the result keeps; other numbers become float64. NaN is missing.
        min_valid : float, default 0.5
            Share of a target's weight that must fall on values; those that are there then make up for those that are
            not. Below it, and where no weight falls on any value, targets are NaN. 1: any missing value makes NaN.

        Returns
        -------
        array, (..., *target_shape)
        """
        check_share(min_valid)
        kept = fields.dtype.newbyteorder("=") if fields.dtype.kind == "f" else np.dtype(float)
        lead = fields.shape[: fields.ndim - len(self.source_shape)]
        working = kept if kept.itemsize > 2 else np.dtype(np.float32)
        flat = np.ascontiguousarray(fields, dtype=working).reshape(-1, self.shape[1])
        out = self._multiply(flat)
        if self._covers_evenly and not np.isnan(np.vdot(out, out)):
            return out.reshape(*lead, *self.target_shape).astype(kept, copy=False)
        mapped = np.abs(self.total) >= (max(min_valid - SMALL, SMALL) if self.normalize else SMALL)
        self._scale(out, mapped)
        self._fill_missing(flat, out, mapped, min_valid)
        return out.reshape(*lead, *self.target_shape).astype(kept, copy=False)

    @cached_property
    def _covers_evenly(self) -> bool:
        """Whether every target is covered, and only once: sums are means."""
        return bool(np.abs(self.total - 1).max(initial=0) <= 1e-13)

    def _scale(self, out: Array, mapped: Array) -> None:
        """Make means of sums, in place; NaN where nothing is mapped."""
        if not mapped.all():
            out[:, ~mapped] = np.nan
        if self.normalize and not self._covers_evenly:
            out[:, mapped] /= self.total[mapped].astype(out.dtype)

    def _fill_missing(self, flat: Array, out: Array, mapped: Array, min_valid: float) -> None:
        """Share out the weight of missing values, in place, where they have spoilt a result."""
        full = np.ones(len(mapped)) if self.normalize else np.abs(self.total)
        before, share = np.zeros(0, bool), np.zeros(0)
        for field_in, field_out in zip(flat, out, strict=True):
            spoilt = np.isnan(field_out) & mapped
            if not spoilt.any():
                continue
            missing = np.isnan(field_in)
            if not np.array_equal(before, missing):
                before, share = missing, (self.share or self)._multiply((~missing)[None].astype(float))[0]
            enough = spoilt & (np.abs(share) >= np.maximum(min_valid - SMALL, SMALL) * full)
            product = self._multiply(np.where(missing, 0, field_in)[None])[0]
            scale = 1 / share[enough] if self.normalize else self.total[enough] / share[enough]
            field_out[enough] = product[enough] * scale

    def _multiply(self, flat: Array) -> Array:
        """Sums of weighted sources, (K, targets), of fields (K, sources)."""
        parts, full, chosen = self._cast(flat.dtype)
        if chosen is not None:
            return flat[0].take(chosen)[None] if len(flat) == 1 else flat.take(chosen, axis=1)
        if full is not None:
            if len(flat) == 1:
                return (full @ flat[0])[None]
            out = np.empty((len(flat), self.shape[0]), flat.dtype)
            for field_in, field_out in zip(flat, out, strict=True):
                field_out[:] = full @ field_in
            return out
        out = np.empty((len(flat), *self.target_shape), flat.dtype)
        for field_in, target in zip(flat.reshape(-1, *self.source_shape), out, strict=True):
            rows, columns = parts[0]
            target[:] = (columns @ (rows @ field_in).T).T
            for rows, columns in parts[1:]:
                target += (columns @ (rows @ field_in).T).T
        return out.reshape(len(flat), -1)

    @cached_property
    def _casts(self) -> dict[str, tuple[list[Factors], csr_array | None, Array | None]]:
        return {}

    def _cast(self, dtype: np.dtype) -> tuple[list[Factors], csr_array | None, Array | None]:
        """Factors, or else the matrix, in the type of the fields (scipy would convert these), or just which source."""
        held = self._casts.get(dtype.name)
        if held is None:
            if self._prefers_parts:
                held = ([(a.astype(dtype), b.astype(dtype)) for a, b in self.parts], None, None)
            elif self._single_sources is not None:
                held = ([], None, self._single_sources)
            else:
                held = ([], self.matrix.astype(dtype), None)
            self._casts[dtype.name] = held
        return held

    @cached_property
    def _single_sources(self) -> Array | None:
        """The source of each target, where each has just one; else None."""
        if self.full is None or self.full.nnz != self.shape[0] or not (self.full.data == 1).all():
            return None
        one = bool((np.diff(self.full.indptr) == 1).all())
        return self.full.indices.astype(np.intp) if one else None

    @cached_property
    def _prefers_parts(self) -> bool:
        """Whether factors are quicker than the matrix: entries, and a transposition, at what each was seen to take."""
        if not self.parts:
            return False
        whole = sum(a.nnz * b.nnz for a, b in self.parts)
        apart = sum(a.nnz * self.source_shape[1] / 5 + b.nnz * self.target_shape[0] / 2.5 for a, b in self.parts)
        return apart + 5 * self.shape[0] * len(self.parts) < whole


def check_share(min_valid: float) -> None:
    """Refuse a share that is not between 0 and 1.

    Raises
    ------
    OptionError
    """
    if not 0 <= min_valid <= 1:
        raise OptionError(f"min_valid={min_valid!r}; expected a share of a target's weight, from 0 to 1")
