"""``da.appa``: what can be asked of one variable. The rest is asked of a Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import xarray as xr

import xappa
from xappa.accessor import AppaAccessor
from xappa.binding import bind_array_method, bind_method
from xappa.errors import DatasetError


class _DatasetMethodError(DatasetError, AttributeError):
    """A method of Datasets, asked of a DataArray; `hasattr` says that it is not there."""


def _to_dataset(accessor: AppaArrayAccessor) -> xr.Dataset:
    """The variable as a Dataset.

    Raises
    ------
    DatasetError
        If it has no name.
    """
    if accessor._obj.name is None:
        raise DatasetError("This DataArray has no name; expected that of a quantity: use da.rename('2m_temperature')")
    return accessor._obj.to_dataset()


@xr.register_dataarray_accessor("appa")
class AppaArrayAccessor:
    """Data assimilation on one variable; made by xarray, used as ``da.appa``.

    The methods are functions of `xappa`, whose first parameter (``ds``) is this DataArray, or a Dataset of it alone.

    Parameters
    ----------
    da : xarray.DataArray
        A field. It is the quantity that its name says, wherever that matters.
    """

    def __init__(self, da: xr.DataArray) -> None:
        self._obj = da

    regrid = bind_array_method(lambda: xappa.regrid)
    observe = bind_method(lambda: xappa.observe, _to_dataset)
    verify = bind_method(lambda: xappa.verify, _to_dataset)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            own = ", ".join(key for key in vars(AppaArrayAccessor) if not key.startswith("_"))
            if name.startswith("_") or not hasattr(AppaAccessor, name):
                raise AttributeError(f"da.appa has no {name!r}; it has {own}, and ds.appa of a Dataset has more")
            raise _DatasetMethodError(
                f"da.appa.{name} was asked of one variable; expected a Dataset: use da.to_dataset().appa.{name}, or "
                f"that of the Dataset it comes from. A DataArray has {own}"
            )
