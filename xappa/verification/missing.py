"""Values missing on one side of a comparison: counted, warned of once, and kept with the scores."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import GapWarning, warn
from xappa.grids.axes import format_time

SHOWN = 3
"""Largest number of times, members or places that messages name."""
AREA = ("latitude", "longitude", "level", "obs")


@dataclass(eq=False)
class Gaps:
    """Values that the parts of a comparison lack.

    Parameters
    ----------
    missing : dict
        By what is lacked, such as ``("the reference", "time")``: what is missing, and how many there are in all.
    notes : list of str
        Description of what else is left out.
    warned : set of str
        Messages that were given before.
    """

    missing: dict[tuple[str, str], tuple[list, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warned: set[str] = field(default_factory=set)
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __dask_tokenize__(self) -> str:
        return self.key

    def __reduce__(self) -> tuple:
        return (Gaps, ())  # a worker elsewhere says for itself what it finds

    def add(self, whose: str, axis: str, missing: Sequence, of: int) -> None:
        """Note labels along an axis that `whose` lacks, of so many that the other side has."""
        before, total = self.missing.get((whose, axis), ([], 0))
        self.missing[(whose, axis)] = ([*before, *missing], total + of)

    def summarise(self) -> list[str]:
        """Sentences on what is lacked; each is warned of, but for levels, which are chosen as a rule."""
        lines = []
        for (whose, axis), (missing, total) in self.missing.items():
            if not missing:
                continue
            many = "quantities" if axis == "quantity" else f"{axis}s"
            line = f"{whose} lacks {len(missing)} of {total} {many}: {format_labels(missing)}"
            lines.append(line)
            if axis not in ("level", "variable"):
                self.warn_once(f"{line}. Scores are of the others")
        return [*lines, *self.notes]

    def warn_once(self, line: str, what: str | None = None) -> None:
        """Warn once in a comparison; once for `what`, if that is given."""
        with self.lock:
            if (what or line) in self.warned:
                return
            self.warned.add(what or line)
        warn(line, GapWarning)

    def watch(self, score: xr.DataArray, whose: str, states: xr.DataArray) -> xr.DataArray:
        """A score that tells, once it is computed, which whole states it lacks.

        Parameters
        ----------
        score : DataArray
        whose : str
            Name of the states in messages.
        states : DataArray of bool
            Whether there is anything of each state, from `find_present_states`.
        """
        if not states.ndim:
            return score
        labels = {str(dim): np.asarray(states[dim].values) for dim in states.dims if dim in states.coords}
        dims = [str(dim) for dim in states.dims]
        plain = states.drop_vars(list(states.coords))
        spelt = {dim: f"_state_{dim}" for dim in dims}
        return xr.apply_ufunc(
            self._warn_if_missing, score, plain.rename(spelt), input_core_dims=[list(score.dims), list(spelt.values())],
            output_core_dims=[list(score.dims)], kwargs={"whose": whose, "dims": dims, "labels": labels},
            dask="parallelized", dask_gufunc_kwargs={"allow_rechunk": True}, output_dtypes=[score.dtype],
            keep_attrs=True,
        )  # fmt: skip

    def _warn_if_missing(
        self, score: Array, states: Array, whose: str, dims: list[str], labels: dict[str, Array]
    ) -> Array:
        if states.size and not states.all():
            self.warn_once(describe(whose, states, dims, labels), what=whose)
        return score


def find_present_states(values: xr.DataArray) -> xr.DataArray:
    """Whether any value of each state (member and time) is there; lazy where the values are."""
    return (
        values.notnull()
        .any([dim for dim in values.dims if dim in AREA])
        .transpose("member", ..., missing_dims="ignore")
    )


def describe(whose: str, states: Array, dims: Sequence[str], labels: dict[str, Array]) -> str:
    """States that are missing as a whole: members first, then times.

    Parameters
    ----------
    whose : str
    states : array of bool
        Whether each is there, along `dims`.
    dims : sequence of str
    labels : dict of str to array
        Values along the dimensions.
    """
    lost = f"{int((~states).sum())} of {states.size} states are missing as a whole"
    parts = []
    for axis, dim in enumerate(dims):
        others = tuple(k for k in range(states.ndim) if k != axis)
        some = np.flatnonzero((~states).any(axis=others))
        names: Sequence[Hashable] = labels[dim][some].tolist() if dim in labels else some.tolist()
        if dim in labels and labels[dim].dtype.kind == "M":
            names = list(labels[dim][some])
        if len(some) < states.shape[axis] or states.ndim == 1:
            parts.append(f"{dim} {format_labels(names)}")
    where = f" ({'; '.join(parts)})" if parts else ""
    return f"{whose}: {lost}{where}. Scores are of the others; the metric 'count' says of how many values"


def format_labels(labels: Sequence) -> str:
    """The first of some labels in words."""
    written = [
        format_time(v) if isinstance(v, np.datetime64) else f"{v:g}" if isinstance(v, float) else str(v) for v in labels
    ]
    words = list(dict.fromkeys(written))
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
