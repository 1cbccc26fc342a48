"""Plain functions of a Dataset as operators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from xappa._typing import Array
from xappa.errors import OptionError
from xappa.models.state import StateSpec
from xappa.operators.base import Operator
from xappa.operators.tokens import name_of

if TYPE_CHECKING:
    from xappa.grids.axes import Layout
    from xappa.operators.rows import Rows
    from xappa.operators.stencil import Stencil


class Physics(Operator):
    """Operators that make fields of fields, and leave it to a geometry where they are read."""

    @property
    def whole_state(self) -> bool:
        """Whether variables may be read that were not observed."""
        return True

    @abstractmethod
    def of(self, state: xr.Dataset) -> Any:
        """Fields that are made of labelled fields: a DataArray or a Dataset."""

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
        from xappa.operators.chain import Chain

        return Chain((self,))(obs, spec, times, surface_height, mask=mask, layout=layout)


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

    function: Callable[[xr.Dataset], Any]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise OptionError(f"Function: found {type(self.function).__name__}; expected a function of a Dataset")

    def of(self, state: xr.Dataset) -> Any:
        """What the function returns."""
        return self.function(state)

    def __repr__(self) -> str:
        return name_of(self.function)

    def describe(self) -> str:
        """What the operator does, in words."""
        text = (getattr(self.function, "__doc__", None) or "").strip().splitlines()
        return f"{name_of(self.function)}(state)" + (f" ({text[0].rstrip('.')})" if text else "")
