"""``da.appa``: what can be asked of one variable. The rest is asked of a Dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import xarray as xr

from xappa.accessor import AppaAccessor
from xappa.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

    from xappa.grids.regrid.weights import Weights
    from xappa.observations.errors_table import Deviation
    from xappa.operators.sources import Choice


class _NotOfOneVariable(DatasetError, AttributeError):
    """A method of Datasets, asked of a DataArray; `hasattr` says that it is not there."""


@xr.register_dataarray_accessor("appa")
class AppaArrayAccessor:
    """Data assimilation on one variable; made by xarray, used as ``da.appa``.

    Parameters
    ----------
    da : xarray.DataArray
        A field. It is the quantity that its name says, wherever that matters.
    """

    def __init__(self, da: xr.DataArray) -> None:
        self._obj = da

    def regrid(
        self,
        target: xr.Dataset | xr.DataArray | float | str | Path | None = None,
        method: str = "bilinear",
        *,
        backend: str | None = None,
        weights: Weights | str | Path | None = None,
        min_valid: float = 0.5,
    ) -> xr.DataArray:
        """Bring this DataArray onto another grid.

        Parameters
        ----------
        target, method, backend, weights, min_valid
            As of ``ds.appa.regrid``.

        Returns
        -------
        xarray.DataArray
            Under its name; NaN where this DataArray does not reach.

        Raises
        ------
        xappa.errors.XappaError
            As ``ds.appa.regrid``.

        Examples
        --------
        >>> coarse = ds["t2m"].appa.regrid(1.5, "conservative")  # doctest: +SKIP
        """
        from xappa.tasks.regrid import regrid

        return regrid(self._obj, target, method, backend=backend, weights=weights, min_valid=min_valid)

    def observe(
        self,
        where: xr.Dataset | pd.DataFrame,
        operator: Choice | Mapping[str, Choice] = "interpolate",
        error: Mapping[str, Deviation] | Deviation | None = None,
        seed: int | None = None,
    ) -> xr.Dataset:
        """What a network would have reported of this DataArray.

        Parameters
        ----------
        where, operator, error, seed
            As of ``ds.appa.observe``.

        Returns
        -------
        xarray.Dataset
            Observations, as of ``ds.appa.observe``.

        Raises
        ------
        xappa.errors.XappaError
            As ``ds.appa.observe``, or if this DataArray has no name.

        Examples
        --------
        >>> reports = truth["t2m"].appa.observe(stations)  # doctest: +SKIP
        """
        from xappa.tasks.observe import observe

        return observe(self._alone(), where, operator=operator, error=error, seed=seed)

    def verify(
        self,
        reference: xr.Dataset | xr.DataArray | pd.DataFrame,
        metrics: Sequence[str] | None = None,
        baselines: Mapping[str, xr.Dataset | xr.DataArray] | None = None,
    ) -> xr.Dataset:
        """How good this DataArray is, against fields or (withheld) observations.

        Parameters
        ----------
        reference, metrics, baselines
            As of ``ds.appa.verify``.

        Returns
        -------
        xarray.Dataset
            Scores, as of ``ds.appa.verify``.

        Raises
        ------
        xappa.errors.XappaError
            As ``ds.appa.verify``, or if this DataArray has no name.

        Examples
        --------
        >>> forecast["t2m"].appa.verify(truth)  # doctest: +SKIP
        """
        from xappa.verification.verify import verify

        return verify(self._alone(), reference, metrics=metrics, baselines=baselines)

    def _alone(self) -> xr.Dataset:
        if self._obj.name is None:
            raise DatasetError(
                "This DataArray has no name; expected that of a quantity: use da.rename('2m_temperature')"
            )
        return self._obj.to_dataset()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            own = ", ".join(key for key in vars(AppaArrayAccessor) if not key.startswith("_"))
            if name.startswith("_") or not hasattr(AppaAccessor, name):
                raise AttributeError(f"da.appa has no {name!r}; it has {own}, and ds.appa of a Dataset has more")
            raise _NotOfOneVariable(
                f"da.appa.{name} was asked of one variable; expected a Dataset: use da.to_dataset().appa.{name}, or "
                f"that of the Dataset it comes from. A DataArray has {own}"
            )
