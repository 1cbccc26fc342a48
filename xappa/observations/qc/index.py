"""Indices of the coordinates of reports, computed once for several checks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import xarray as xr

from xappa.observations.qc.batch import Array
from xappa.observations.qc.repeats import RepeatedReports, find_repeats
from xappa.observations.qc.windows import encode_names


@dataclass(frozen=True, eq=False)
class ReportIndex:
    """Stations and repeats of reports, found when they are first asked for.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema; their coordinates alone are used.
    """

    obs: xr.Dataset

    @cached_property
    def station(self) -> Array:
        """A number for each station in the order of names, -1 for reports without: int (obs,)."""
        return encode_names(self.obs, "station")

    @cached_property
    def repeats(self) -> RepeatedReports | None:
        """Reports that share station or place, time, level, period and channel with others; None if there are none."""
        return find_repeats(self.obs, self.station)
