"""Forecasts beside the truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import xarray as xr


@dataclass(frozen=True)
class Pair:
    """Forecasts and truth of one quantity, over the same points.

    Parameters
    ----------
    forecasts : dict of str to DataArray
        By source, the analysis first; each with or without dimension ``member``.
    truth : DataArray
    error : DataArray, optional
        Error deviation of the truth, where it is reports.
    """

    forecasts: dict[str, xr.DataArray]
    truth: xr.DataArray
    error: xr.DataArray | None = None

    def common(self) -> Pair:
        """The same where every source and the truth have values, so that all are scored at the same points."""
        there = [field.notnull() for field in self.forecasts.values()]
        known = reduce(
            lambda a, b: a & b, [self.truth.notnull(), *(t.all("member") if "member" in t.dims else t for t in there)]
        )
        fields = {name: field.where(known) for name, field in self.forecasts.items()}
        truth = self.truth.where(known)
        return Pair(fields, truth, None if self.error is None else self.error.where(known))
