"""Base class of operators: they are called with reports, and have a token and a name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import xarray as xr

from xappa.operators.composite import CompositeOperator
from xappa.operators.context import StateContext
from xappa.operators.sparse import SparseOperator
from xappa.registry import Registry
from xappa.tokens import tokenize


class Operator(ABC):
    """An observation operator H: what reports would say of a trajectory of states."""

    @abstractmethod
    def __call__(self, obs: xr.Dataset, state: StateContext) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """Build the observation operator of reports.

        Parameters
        ----------
        obs : Dataset
            Observations in xappa's CF form, each quantity with its ``<name>_error``. Only reports flagged good are
            read.
        state : StateContext
            The trajectory: channels, grid, times, height of the surface, where there are values.

        Returns
        -------
        rows : SparseOperator or CompositeOperator
            One row a report that is used.
        obs : Dataset
            The observations with ``<name>_flag`` for all quantities.
        """

    @property
    def whole_state(self) -> bool:
        """Whether variables may be read that were not observed."""
        return False

    @abstractmethod
    def describe(self) -> str:
        """Description of the operator."""

    def __str__(self) -> str:
        return self.describe()

    def __repr__(self) -> str:
        shown = [
            f"{name}={_format_value(getattr(self, name))}"
            for name, default in _get_defaults(self).items()
            if not _are_equal(getattr(self, name), default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        values = [(name, tokenize(getattr(self, name))) for name in _get_defaults(self)]
        return (type(self).__module__, type(self).__qualname__, *values)


def _prepare(item: Any) -> Operator | Callable[[xr.Dataset], Any]:
    """An operator with its default options, from its class, or itself; or a plain function of a Dataset."""
    if isinstance(item, type) and issubclass(item, Operator):
        return item()
    if isinstance(item, Operator) or (callable(item) and not isinstance(item, type)):
        return item
    raise TypeError(f"found {item!r}, expected a subclass of xappa.operators.Operator, or a function of a Dataset")


OPERATORS: Registry[Operator | Callable[[xr.Dataset], Any]] = Registry("operator", "xappa.operators", _prepare)
"""Names that choose an operator with its default options; each is registered in its own file."""


def _get_defaults(operator: Operator) -> dict[str, Any]:
    """Names of the options, and their defaults."""
    return {f.name: f.default for f in fields(operator)} if is_dataclass(operator) else {}


def _are_equal(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and not hasattr(value, "shape") and value == default)


def _format_value(value: Any) -> str:
    if hasattr(value, "shape") and getattr(value, "size", 1) > 4:
        return f"<{type(value).__name__} {value.shape}>"
    return repr(value)
