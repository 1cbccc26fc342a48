"""Plain functions of a Dataset as operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import xarray as xr

from xappa.errors import OptionError
from xappa.operators.base import Operator
from xappa.operators.chain import Physics
from xappa.operators.interpolate import Interpolate
from xappa.tokens import describe, get_function_name


@dataclass(frozen=True, repr=False)
class Function(Physics):
    """A plain function of a Dataset, which is differentiated.

    Parameters
    ----------
    function : callable
        Takes the state, an xarray Dataset over (time, level, latitude, longitude) with the names, order and units of
        the user's Dataset (or the model's, if it asks for those), and returns a DataArray or a Dataset. A DataArray is
        compared with the observed variable of its name, or else the only one; of a Dataset, each variable with its
        namesake.

    Examples
    --------
    >>> Function(lambda state: state["2m_temperature"].mean("longitude")) @ Function(abs)  # doctest: +ELLIPSIS
    lambda ... @ abs
    """

    default: ClassVar[Operator] = Interpolate()

    function: Callable[[xr.Dataset], Any]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise OptionError(f"Function: found {type(self.function).__name__}; expected a function of a Dataset")

    def of(self, state: xr.Dataset) -> Any:
        """Description of the function's result."""
        return self.function(state)

    def __repr__(self) -> str:
        return get_function_name(self.function)

    def describe(self) -> str:
        """Description of the operator."""
        return describe(self.function)
