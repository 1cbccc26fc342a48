"""Forecasts beside the truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    unresolved : dict of str to DataArray
        By source, deviation of what its members do not hold, at reports.
    """

    forecasts: dict[str, xr.DataArray]
    truth: xr.DataArray
    error: xr.DataArray | None = None
    unresolved: dict[str, xr.DataArray] = field(default_factory=dict)

    def common(self) -> Pair:
        """The same where every source and the truth have values, so that all are scored at the same points."""
        there = [forecast.notnull() for forecast in self.forecasts.values()]
        known = reduce(
            lambda a, b: a & b, [self.truth.notnull(), *(t.all("member") if "member" in t.dims else t for t in there)]
        )
        fields = {name: forecast.where(known) for name, forecast in self.forecasts.items()}
        truth = self.truth.where(known)
        unresolved = {name: value.where(known) for name, value in self.unresolved.items()}
        return Pair(fields, truth, None if self.error is None else self.error.where(known), unresolved)

    def of(self, source: str) -> Pair:
        """The same for one source, whose ``unresolved`` alone is kept."""
        return replace(self, unresolved={k: v for k, v in self.unresolved.items() if k == source})
