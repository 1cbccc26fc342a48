"""Operators by name, by source, and how their reports fit into windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import ObservationError, OptionError, choose
from xappa.model.state import StateSpec
from xappa.observations.flags import Flag
from xappa.observations.schema import quantities
from xappa.operators import reports
from xappa.operators.base import OPERATORS, Operator
from xappa.operators.composite import CompositeOperator
from xappa.operators.context import StateContext
from xappa.operators.function import Function
from xappa.operators.packing import concatenate_operators
from xappa.operators.sparse import SparseOperator
from xappa.tokens import tokenize

Choice = str | Operator | Callable[[xr.Dataset], Any]

DEFAULT = "interpolate"


def choose_operator(operator: Choice | Mapping[str, Choice] | None) -> Operator:
    """The operator that was named, or is meant.

    Parameters
    ----------
    operator : str, Operator, function, or dict of these, optional
        A dict has the keys of the dict of observations. Default: ``"interpolate"``.

    Raises
    ------
    OptionError
        If there is no operator of that name; those known are listed.
    """
    if operator is None:
        return choose_operator(DEFAULT)
    if isinstance(operator, str):
        return choose_operator(choose("operator", operator, OPERATORS))
    if isinstance(operator, Mapping):
        return PerSource({str(key): choose_operator(value) for key, value in operator.items()})
    if isinstance(operator, Operator):
        return operator
    if isinstance(operator, type) and issubclass(operator, Operator):
        raise OptionError(f"operator={operator.__name__}: found a class; expected an object: {operator.__name__}()")
    if callable(operator):
        return Function(operator)
    raise OptionError(
        f"operator={operator!r}: expected one of {', '.join(map(repr, OPERATORS))}, an object of xappa.operators, a "
        "function of a Dataset, or a dict of these by source"
    )


@dataclass(frozen=True, repr=False)
class PerSource(Operator):
    """An operator for each source of a dict of observations.

    Parameters
    ----------
    operators : mapping of str to Operator
        Sources that are not named are interpolated.
    """

    operators: Mapping[str, Operator]

    @property
    def whole_state(self) -> bool:
        """Whether variables may be read that were not observed."""
        return any(operator.whole_state for operator in self.operators.values())

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{key!r}: {operator!r}" for key, operator in self.operators.items()) + "}"

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xappa.PerSource", *((key, tokenize(operator)) for key, operator in self.operators.items()))

    def describe(self) -> str:
        """What the operators do, in words."""
        return "; ".join(f"{key}: {operator.describe()}" for key, operator in self.operators.items())

    def __call__(self, obs: xr.Dataset, state: StateContext) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """See `Operator.__call__`.

        Raises
        ------
        ObservationError
            If the observations do not tell their source, or have none of one that is named.
        NoReportsError
            If no report of any source lies inside the times.
        """
        reports.require_schema(obs)
        obs = obs.compute()
        if "source" not in obs.coords:
            raise ObservationError(
                "operator= is a dict by source, but the observations have no coordinate 'source'; give them as a dict "
                f"with the same keys: {{{', '.join(f'{key!r}: ...' for key in self.operators)}}}"
            )
        source = np.array([str(key) for key in obs["source"].values], object)
        missing = sorted(set(self.operators) - set(source))
        if missing:
            raise ObservationError(
                f"operator= names the sources {', '.join(map(repr, missing))}; the observations have "
                f"{', '.join(map(repr, sorted(set(source))))}"
            )
        found, attrs = [], dict(obs.attrs)
        before = {name: reports.get_flags(obs, name) for name in quantities(obs)}
        flags = {name: flag.copy() for name, flag in before.items()}
        reason = _flag_outside(np.asarray(obs["time"].values), state.times, state.spec)
        for name, flag in flags.items():
            reports.reject(flag, np.asarray(obs[name].values, float), reason != Flag.GOOD, reason)
        timely = reports.with_flags(obs, flags)
        for key in dict.fromkeys(source):
            rows = np.flatnonzero(source == key)
            part = timely.isel(obs=rows)
            if not _has_good_reports(part):
                continue
            operator = self.operators.get(key, choose_operator(None))
            read, seen = operator(part, state)
            found.append(_renumber_reports(read, rows))
            attrs |= seen.attrs
            for name, flag in flags.items():
                flag[rows] = reports.get_flags(seen, name)
        if not found:
            reports.require_inside(obs, before, reason, state.times, state.spec)
        return concatenate_operators(found, state.times), reports.with_flags(obs, flags).assign_attrs(attrs)


def split_windows(
    rows: SparseOperator | CompositeOperator, obs: xr.Dataset, length: int, window: int, stride: int
) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
    """Leave out reports over periods that no window holds whole, and flag them.

    Parameters
    ----------
    rows : SparseOperator or CompositeOperator
    obs : Dataset
        With flags.
    length : int
        Times of the padded trajectory.
    window, stride : int
        Times of a window, and from the start of one to that of the next.
    """
    if not len(rows):
        return rows, obs
    first, last = (
        rows.compute_spans() if isinstance(rows, CompositeOperator) else (rows.time.min(axis=1), rows.time.max(axis=1))
    )
    starts = np.arange(0, max(length - window, 0) + 1, stride)
    start = starts[np.searchsorted(starts, first, side="right") - 1]
    split = last >= start + window
    if not split.any():
        return rows, obs
    flags = {}
    for code, name in enumerate(rows.names):
        flag = reports.get_flags(obs, name)
        flag[rows.observation[split & (rows.variable == code)]] = Flag.PERIOD_NOT_REPRESENTABLE
        flags[name] = flag
    return rows.select(~split), reports.with_flags(obs, flags)


def _flag_outside(when: Array, times: Array, spec: StateSpec) -> Array:
    """Flags of reports by their times alone."""
    half = np.timedelta64(1800 * spec.step_hours, "s")
    outside = (when < times[0] - half) | (when > times[-1] + half)
    return np.where(outside, Flag.OUTSIDE_TIMES, Flag.GOOD).astype(np.int8)


def _has_good_reports(obs: xr.Dataset) -> bool:
    return any(
        reports.is_good(reports.get_flags(obs, name), np.asarray(obs[name].values, float)).any()
        for name in quantities(obs)
    )


def _renumber_reports(read: SparseOperator | CompositeOperator, rows: Array) -> SparseOperator | CompositeOperator:
    """Reports of a part of the observations, numbered as in the whole."""
    if isinstance(read, SparseOperator):
        return replace(read, observation=rows[read.observation])
    parts = tuple(replace(p, stencil=replace(p.stencil, observation=rows[p.stencil.observation])) for p in read.blocks)
    return replace(read, blocks=parts)
