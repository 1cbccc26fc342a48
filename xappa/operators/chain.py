"""Operators one after the other: what is made of the states, where it is read, over which period."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import NoReportsError, OperatorError, OptionError, is_number
from xappa.grids.matching import positions
from xappa.models.state import StateSpec
from xappa.observations.flags import Flag
from xappa.observations.form import quantities
from xappa.observations.own import is_own, units_to_match
from xappa.operators import reports
from xappa.operators.base import Operator
from xappa.operators.columns import Columns, Made, combined
from xappa.operators.function import Function, Physics
from xappa.operators.geometry import Geometry
from xappa.operators.interpolate import Interpolate
from xappa.operators.packing import blocks, linear
from xappa.operators.periods import Period
from xappa.operators.rows import Part, Rows
from xappa.operators.stencil import Stencil
from xappa.operators.tokens import token

if TYPE_CHECKING:
    from xappa.grids.axes import Layout


BLOCK = 1 << 20  # weights of sums over levels that are made at once


@dataclass(frozen=True, repr=False)
class _Over(Operator):
    """What reports are taken over, whatever they say themselves.

    Parameters
    ----------
    hours : float
        Length of the period, which ends at the report's time: a multiple of the model's step.
    """

    hours: float

    def __post_init__(self) -> None:
        if not is_number(self.hours) or self.hours <= 0:
            raise OptionError(
                f"{type(self).__name__}: found hours={self.hours!r}; expected a number of hours above 0, such as "
                f"{type(self).__name__}(12)"
            )

    @property
    @abstractmethod
    def period(self) -> Period:
        """The same as the geometries take it."""

    def __call__(
        self,
        obs: xr.Dataset,
        spec: StateSpec,
        times: Array,
        surface_height: Array | None = None,
        *,
        mask: Array | None = None,
        layout: Layout | None = None,
    ) -> tuple[Stencil | Rows, xr.Dataset]:
        """See `Operator.__call__`; fields are read by ``"interpolate"``."""
        return Chain((self,))(obs, spec, times, surface_height, mask=mask, layout=layout)


class Accumulate(_Over):
    """Sum over the states of a period that ends at the report's time, for amounts such as precipitation."""

    @property
    def period(self) -> Period:
        """The same as the geometries take it."""
        return Period(self.hours, "sum")

    def describe(self) -> str:
        """What the operator does, in words."""
        return f"sum over the {self.hours:g} hours before"


class Maximum(_Over):
    """Largest of the states of a period that ends at the report's time; see `extremes`."""

    @property
    def period(self) -> Period:
        """The same as the geometries take it."""
        return Period(self.hours, "maximum")

    def describe(self) -> str:
        """What the operator does, in words."""
        return f"maximum over the {self.hours:g} hours before"


class Minimum(_Over):
    """Smallest of the states of a period that ends at the report's time; see `extremes`."""

    @property
    def period(self) -> Period:
        """The same as the geometries take it."""
        return Period(self.hours, "minimum")

    def describe(self) -> str:
        """What the operator does, in words."""
        return f"minimum over the {self.hours:g} hours before"


class Average(_Over):
    """Mean over the states of a period that ends at the report's time."""

    @property
    def period(self) -> Period:
        """The same as the geometries take it."""
        return Period(self.hours, "mean")

    def describe(self) -> str:
        """What the operator does, in words."""
        return f"mean over the {self.hours:g} hours before"


@dataclass(frozen=True, repr=False)
class Chain(Operator):
    """Operators, the last applied first.

    Parameters
    ----------
    links : tuple of Operator
        At most one geometry (default: `Interpolate`) and one period, before what makes fields.
    """

    links: tuple[Operator, ...]

    def __post_init__(self) -> None:
        kinds = [0 if isinstance(a, _Over) else 1 if isinstance(a, Geometry) else 2 for a in self.links]
        if kinds != sorted(kinds) or kinds.count(0) > 1 or kinds.count(1) > 1:
            raise OptionError(
                f"{self!r} cannot be composed: expected, from left to right, at most one period (Average, Accumulate, "
                "Maximum, Minimum), at most one geometry (Interpolate, Nearest, Footprint, Grid), and then what makes "
                "fields"
            )

    @property
    def geometry(self) -> Geometry:
        """Where fields are read."""
        return next((link for link in self.links if isinstance(link, Geometry)), Interpolate())

    @property
    def period(self) -> Period | None:
        """What reports are taken over, if told."""
        return next((link.period for link in self.links if isinstance(link, _Over)), None)

    @property
    def physics(self) -> tuple[Physics, ...]:
        """What makes fields, the last first."""
        return tuple(link for link in self.links if isinstance(link, Physics))

    @property
    def whole_state(self) -> bool:
        """Whether variables may be read that were not observed."""
        return bool(self.physics)

    def __repr__(self) -> str:
        return " @ ".join(map(repr, self.links))

    def describe(self) -> str:
        """What the operator does, in words."""
        return ", of ".join(link.describe() for link in self.links)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xappa.Chain", *(token(link) for link in self.links))

    def __call__(
        self,
        obs: xr.Dataset,
        spec: StateSpec,
        times: Array,
        surface_height: Array | None = None,
        *,
        mask: Array | None = None,
        layout: Layout | None = None,
    ) -> tuple[Stencil | Rows, xr.Dataset]:
        """See `Operator.__call__`.

        Raises
        ------
        OperatorError
            If a function fails, or what it returns cannot be compared with the observations.
        ObservationError
            As for `Interpolate`.
        """
        reports.require_form(obs)
        obs = obs.compute()
        if not self.physics:
            return self.geometry.read(obs, spec, times, surface_height, mask=mask, period=self.period)
        candidates = _candidates(obs)
        if not candidates:
            raise NoReportsError(
                f"No usable report: all of {obs.sizes['obs']} are missing or rejected already; their flags say why"
            )
        if len(self.physics) == 1 and isinstance(self.physics[0], Columns):
            made = self.physics[0].made(spec, candidates, _units(obs), surface_height, mask)
            stencil, seen = self._read(obs, made.derived, times, surface_height, made.mask, made.by, made.names)
            if isinstance(stencil, Rows) and any(part.extreme for part in stencil.parts):
                raise OperatorError(
                    f"{self!r}: extremes of sums over levels are not made; write the sum as a function of a Dataset"
                )
            read = _stencils(stencil)
            del stencil
            return linear(_weighted(read, made), times), seen
        from xappa.operators.trace import trace
        from xappa.operators.view import State

        state = State(spec, layout, mask, surface_height)
        spare = {name for name in candidates if is_own(obs[name]) and f"{name}_error" not in obs}
        traced = trace(_Composed(self.physics), state, times, candidates, _units(obs), spare)
        names = {output.name for output in traced.view.outputs}
        surface = None if surface_height is None else _on_grid(surface_height, spec, traced.view.derived)
        stencil, seen = self._read(obs, traced.view.derived, times, surface, traced.mask, traced.by, names)
        parts = stencil.parts if isinstance(stencil, Rows) else (Part(stencil),)
        return Rows(tuple(replace(part, view=traced.view) for part in parts), times), seen

    def _read(
        self,
        obs: xr.Dataset,
        derived: StateSpec,
        times: Array,
        surface_height: Array | None,
        mask: Array,
        by: Mapping[str, str],
        names: set[str],
    ) -> tuple[Stencil | Rows, xr.Dataset]:
        """Reading of made fields; what was observed and has no counterpart is flagged as unused."""
        others = {}
        for name in quantities(obs):
            if name not in names:
                flag, value = reports.flags(obs, name), np.asarray(obs[name].values, float)
                reports.reject(flag, value, np.ones(len(value), bool), Flag.UNUSED)
                others[name] = flag
        obs = reports.with_flags(obs, others)
        return self.geometry.read(obs, derived, times, surface_height, mask=mask, by=by, period=self.period)


def _weighted(read: list[Stencil], made: Made) -> Iterator[Stencil]:
    """Sums over levels, block by block; what is done is let go, for it is large."""
    while read:
        for block in blocks(read.pop(0), BLOCK, made.width):
            yield combined(block, made)


def _stencils(read: Stencil | Rows) -> list[Stencil]:
    """The stencils of a linear reading."""
    return [part.stencil for part in read.parts] if isinstance(read, Rows) else [read]


@dataclass(frozen=True)
class _Composed:
    """Physics after each other, as one function of a Dataset."""

    physics: tuple[Physics, ...]

    @property
    def label(self) -> str:
        """What it is called, for messages."""
        return " @ ".join(map(repr, self.physics))

    def __call__(self, state: xr.Dataset) -> Any:
        result: Any = state
        for link in reversed(self.physics):
            if isinstance(result, xr.DataArray):
                result = result.to_dataset(name=result.name if result.name is not None else "field")
            if not isinstance(result, xr.Dataset):
                raise OperatorError(
                    f"{link!r} was given {type(result).__name__} by what comes before it; expected a DataArray or a "
                    "Dataset"
                )
            result = link.of(result)
        return result

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xappa.Composed", *(token(link) for link in self.physics))


def compose(left: Operator | Callable[..., Any], right: Operator | Callable[..., Any]) -> Chain:
    """`left` applied to what `right` makes."""
    links: list[Operator] = []
    for part in (left, right):
        if isinstance(part, Chain):
            links += part.links
        elif isinstance(part, Operator):
            links.append(part)
        elif callable(part):
            links.append(Function(part))
        else:
            raise OptionError(f"Operators compose with operators and functions; found {type(part).__name__}")
    return Chain(tuple(links))


def _candidates(obs: xr.Dataset) -> list[str]:
    """Observed quantities that have good reports."""
    return [
        name
        for name in quantities(obs)
        if reports.good(reports.flags(obs, name), np.asarray(obs[name].values, float)).any()
    ]


def _units(obs: xr.Dataset) -> dict[str, str]:
    return {name: units_to_match(obs[name]) for name in quantities(obs)}


def _on_grid(field: Array, spec: StateSpec, derived: StateSpec) -> Array | None:
    """A field of the states' grid in the order of that of made fields; None if that is another grid."""
    rows = positions(derived.latitude, spec.latitude)
    columns = positions(derived.longitude, spec.longitude, 360)
    return None if rows is None or columns is None else np.asarray(field, float)[np.ix_(rows, columns)]
