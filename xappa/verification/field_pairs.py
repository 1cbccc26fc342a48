"""Forecasts beside the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import reduce

import xarray as xr

from xappa.vocabulary import PAIR


@dataclass(frozen=True)
class FieldPair:
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
    climatology : DataArray, optional
        From which anomalies are taken.
    """

    forecasts: dict[str, xr.DataArray]
    truth: xr.DataArray
    error: xr.DataArray | None = None
    unresolved: dict[str, xr.DataArray] = field(default_factory=dict)
    climatology: xr.DataArray | None = None

    def map(self, function: Callable[[xr.DataArray], xr.DataArray]) -> FieldPair:
        """The same with a function of each part."""
        return FieldPair(
            {name: function(forecast) for name, forecast in self.forecasts.items()},
            function(self.truth),
            None if self.error is None else function(self.error),
            {name: function(value) for name, value in self.unresolved.items()},
            None if self.climatology is None else function(self.climatology),
        )

    def mask_uncommon(self) -> FieldPair:
        """The same where every source and the truth have values, so that all are scored at the same points.

        Of members one is enough, but for antithetic pairs, which need both.
        """
        there = [_has_any_member(forecast) for forecast in self.forecasts.values()]
        known = reduce(lambda a, b: a & b, [self.truth.notnull(), *there])
        return self.map(lambda part: part.where(known))

    def select_source(self, source: str) -> FieldPair:
        """The same for one source, whose ``unresolved`` alone is kept."""
        return replace(self, unresolved={k: v for k, v in self.unresolved.items() if k == source})


def _has_any_member(forecast: xr.DataArray) -> xr.DataArray:
    there = forecast.notnull()
    if "member" not in there.dims:
        return there
    return there.all("member") if PAIR in forecast.coords else there.any("member")
