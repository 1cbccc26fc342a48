"""Operators one after the other: what is made of the states, where it is read, over which period."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import NoReportsError, OperatorError, OptionError
from xappa.grids.matching import find_positions
from xappa.model.state import StateSpec
from xappa.observations.flags import Flag
from xappa.observations.schema import quantities
from xappa.observations.user_variables import get_target_units, is_user_defined
from xappa.operators import reports
from xappa.operators.base import Operator
from xappa.operators.composite import CompositeOperator, OperatorBlock
from xappa.operators.context import StateContext
from xappa.operators.packing import build_linear_operator, split_blocks
from xappa.operators.periods import Period
from xappa.operators.sparse import SparseOperator
from xappa.tokens import describe, get_function_name, tokenize

if TYPE_CHECKING:
    from xappa.operators.column_sum import ColumnSum

Function = Callable[[xr.Dataset], Any]

BLOCK = 1 << 20  # weights of sums over levels that are made at once

PERIOD, GEOMETRY, PHYSICS = range(3)
"""Kinds of links of a chain, in the order in which they are written."""


class Composable(Operator):
    """Operators with ``@``: ``a @ b`` is `a` applied to what `b` makes, as in ``Footprint(radius=25) @ wind_speed``.

    A plain function of a Dataset may stand on either side.
    """

    def __matmul__(self, other: Operator | Function) -> OperatorChain:
        return OperatorChain((*_list_links(self), *_list_links(other)))

    def __rmatmul__(self, other: Function) -> OperatorChain:
        return OperatorChain((*_list_links(other), *_list_links(self)))


class Link(Composable):
    """An operator of which chains are made.

    Attributes
    ----------
    rank : int
        `PERIOD`, `GEOMETRY` or `PHYSICS`.
    """

    rank: ClassVar[int]


class PeriodOperator(Link):
    """Operators that say over which period reports are taken.

    Attributes
    ----------
    default : Operator
        The geometry that reads fields unless another is composed with it.
    """

    rank = PERIOD
    default: ClassVar[Operator]

    @property
    @abstractmethod
    def period(self) -> Period:
        """The period that reports are taken over."""

    def __call__(self, obs: xr.Dataset, state: StateContext) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """See `Operator.__call__`; fields are read by the default geometry."""
        return OperatorChain((self,))(obs, state)


class Physics(Link):
    """Operators that make fields of fields, and leave it to a geometry where they are read.

    Attributes
    ----------
    default : Operator
        The geometry that reads fields unless another is composed with it.
    """

    rank = PHYSICS
    default: ClassVar[Operator]

    @property
    def whole_state(self) -> bool:
        """Whether variables may be read that were not observed."""
        return True

    @abstractmethod
    def of(self, state: xr.Dataset) -> Any:
        """Fields that are made of labelled fields: a DataArray or a Dataset."""

    def sums(self, state: StateContext, candidates: Sequence[str], units: dict[str, str]) -> ColumnSum | None:
        """The same as weighted sums of a state's channels, which need no derivative; None if they are no such sums.

        Parameters
        ----------
        state : StateContext
        candidates : sequence of str
            Observed quantities that have good reports.
        units : dict
            Units of the observed quantities.
        """
        return None

    def __call__(self, obs: xr.Dataset, state: StateContext) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """See `Operator.__call__`; fields are read by the default geometry."""
        return OperatorChain((self,))(obs, state)


@dataclass(frozen=True, repr=False)
class OperatorChain(Composable):
    """Operators, the last applied first.

    Parameters
    ----------
    links : tuple of Link or function of a Dataset
        At most one period and one geometry (default: `Interpolate`), before what makes fields.

    Raises
    ------
    OptionError
        If the links are others, or in another order.
    """

    links: tuple[Link | Function, ...]

    def __post_init__(self) -> None:
        foreign = [link for link in self.links if isinstance(link, Operator) and not isinstance(link, Link)]
        if foreign or not any(isinstance(link, Link) for link in self.links):
            raise OptionError(
                f"{self!r} cannot be composed: expected periods, geometries, what makes fields (a subclass of "
                "xappa.operators.Physics), and functions; found "
                f"{', '.join(map(_format_link, foreign)) or 'functions alone'}"
            )
        ranks = [_get_rank(link) for link in self.links]
        if ranks != sorted(ranks) or ranks.count(PERIOD) > 1 or ranks.count(GEOMETRY) > 1:
            raise OptionError(
                f"{self!r} cannot be composed: expected, from left to right, at most one period (Average, Accumulate, "
                "Maximum, Minimum), at most one geometry (Interpolate, Nearest, Footprint, Grid), and then what makes "
                "fields"
            )

    @property
    def geometry(self) -> Operator:
        """Geometry: the link that reads fields at the reports."""
        links = [link for link in self.links if isinstance(link, Link)]
        found = next((link for link in links if link.rank == GEOMETRY), None)
        return found or next(link.default for link in links if isinstance(link, PeriodOperator | Physics))

    @property
    def period(self) -> Period | None:
        """Period of the reports, if given."""
        return next((link.period for link in self.links if isinstance(link, PeriodOperator)), None)

    @property
    def physics(self) -> tuple[Physics | Function, ...]:
        """Links that make fields, the last one first."""
        return tuple(link for link in self.links if _get_rank(link) == PHYSICS)  # type: ignore[misc]

    @property
    def whole_state(self) -> bool:
        """Whether variables may be read that were not observed."""
        return bool(self.physics)

    def __repr__(self) -> str:
        return " @ ".join(map(_format_link, self.links))

    def describe(self) -> str:
        """Description of the operator."""
        return ", of ".join(link.describe() if isinstance(link, Link) else describe(link) for link in self.links)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xappa.Chain", *(tokenize(link) for link in self.links))

    def __call__(self, obs: xr.Dataset, state: StateContext) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """See `Operator.__call__`.

        Raises
        ------
        OperatorError
            If a function fails, or what it returns cannot be compared with the observations.
        ObservationError
            As for `Interpolate`.
        """
        reports.require_schema(obs)
        obs, state = obs.compute(), replace(state, period=self.period)
        if not self.physics:
            return self.geometry(obs, state)
        candidates = _list_candidates(obs)
        if not candidates:
            raise NoReportsError(
                f"No usable report: all of {obs.sizes['obs']} are missing or rejected already; their flags say why"
            )
        only = self.physics[0] if len(self.physics) == 1 else None
        sums = only.sums(state, candidates, _list_units(obs)) if isinstance(only, Physics) else None
        return self._trace(obs, state, candidates) if sums is None else self._sum_channels(obs, state, sums)

    def _sum_channels(
        self, obs: xr.Dataset, state: StateContext, sums: ColumnSum
    ) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """Reading of weighted sums of channels: linear again."""
        made = replace(state, spec=sums.derived, mask=sums.mask, level_coordinate=sums.level_coordinate)
        stencil, seen = self._apply_geometry(obs, made, sums.names)
        if isinstance(stencil, CompositeOperator) and any(part.extreme for part in stencil.blocks):
            raise OperatorError(
                f"{self!r}: extremes of sums over levels are not made; write the sum as a function of a Dataset"
            )
        read = _list_stencils(stencil)
        del stencil
        return build_linear_operator(_sum_levels(read, sums), state.times), seen

    def _trace(
        self, obs: xr.Dataset, state: StateContext, candidates: Sequence[str]
    ) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """Reading of what functions make, which are differentiated."""
        from xappa.operators.forward.trace import trace

        spare = {name for name in candidates if is_user_defined(obs[name]) and f"{name}_error" not in obs}
        traced = trace(ComposedFunction(self.physics), state, candidates, _list_units(obs), spare)
        derived, height = traced.function.derived, state.surface_height
        surface = None if height is None else _reorder_on_grid(height, state.spec, derived)
        made = replace(
            state, spec=derived, surface_height=surface, mask=traced.mask, level_coordinate=traced.level_coordinate
        )
        stencil, seen = self._apply_geometry(obs, made, {output.name for output in traced.function.outputs})
        parts = stencil.blocks if isinstance(stencil, CompositeOperator) else (OperatorBlock(stencil),)
        return CompositeOperator(tuple(replace(part, function=traced.function) for part in parts), state.times), seen

    def _apply_geometry(
        self, obs: xr.Dataset, made: StateContext, names: set[str]
    ) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """Reading of made fields; what was observed and has no counterpart is flagged as unused."""
        others = {}
        for name in quantities(obs):
            if name not in names:
                flag, value = reports.get_flags(obs, name), np.asarray(obs[name].values, float)
                reports.reject(flag, value, np.ones(len(value), bool), Flag.UNUSED)
                others[name] = flag
        return self.geometry(reports.with_flags(obs, others), made)


@dataclass(frozen=True)
class ComposedFunction:
    """Physics after each other, as one function of a Dataset."""

    physics: tuple[Physics | Function, ...]

    @property
    def label(self) -> str:
        """Name in messages."""
        return " @ ".join(map(_format_link, self.physics))

    def __call__(self, state: xr.Dataset) -> Any:
        """Apply the links to labelled fields, one after the other."""
        result: Any = state
        for link in reversed(self.physics):
            if isinstance(result, xr.DataArray):
                result = result.to_dataset(name=result.name if result.name is not None else "field")
            if not isinstance(result, xr.Dataset):
                raise OperatorError(
                    f"{_format_link(link)} was given {type(result).__name__} by what comes before it; expected a "
                    "DataArray "
                    "or a Dataset"
                )
            result = link.of(result) if isinstance(link, Physics) else link(result)
        return result

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("xappa.Composed", *(tokenize(link) for link in self.physics))


def _list_links(part: Operator | Function) -> tuple[Any, ...]:
    """The links of one side of ``@``."""
    if isinstance(part, OperatorChain):
        return part.links
    if not callable(part) or isinstance(part, type):
        found = part.__name__ if isinstance(part, type) else type(part).__name__
        raise OptionError(f"Operators compose with operators and functions; found {found}")
    return (part,)


def _get_rank(link: Link | Function) -> int:
    return link.rank if isinstance(link, Link) else PHYSICS


def _format_link(link: Operator | Function) -> str:
    return repr(link) if isinstance(link, Operator) else get_function_name(link)


def _sum_levels(read: list[SparseOperator], sums: ColumnSum) -> Iterator[SparseOperator]:
    """Sums over levels, block by block; finished blocks are freed, since they are large."""
    while read:
        for block in split_blocks(read.pop(0), BLOCK, sums.width):
            yield sums.combine(block)


def _list_stencils(read: SparseOperator | CompositeOperator) -> list[SparseOperator]:
    """The stencils of a linear reading."""
    return [part.stencil for part in read.blocks] if isinstance(read, CompositeOperator) else [read]


def _list_candidates(obs: xr.Dataset) -> list[str]:
    """Observed quantities that have good reports."""
    return [
        name
        for name in quantities(obs)
        if reports.is_good(reports.get_flags(obs, name), np.asarray(obs[name].values, float)).any()
    ]


def _list_units(obs: xr.Dataset) -> dict[str, str]:
    return {name: get_target_units(obs[name]) for name in quantities(obs)}


def _reorder_on_grid(field: Array, spec: StateSpec, derived: StateSpec) -> Array | None:
    """A field of the states' grid in the order of that of made fields; None if that is another grid."""
    rows = find_positions(derived.latitude, spec.latitude)
    columns = find_positions(derived.longitude, spec.longitude, 360)
    return None if rows is None or columns is None else np.asarray(field, float)[np.ix_(rows, columns)]
