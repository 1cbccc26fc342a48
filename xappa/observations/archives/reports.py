"""Columns of an archive's reports while they are collected: values of an instant, and others over a period each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.form import concat
from xappa.observations.frames import from_frame
from xappa.observations.names import Naming

T, TD, P = "2m_temperature", "2m_dewpoint_temperature", "mean_sea_level_pressure"
SPEED, DIRECTION = "10m_wind_speed", "10m_wind_from_direction"
_UNITS = {
    T: "degC",
    TD: "degC",
    P: "hPa",
    "surface_pressure": "hPa",
    "altimeter_setting": "hPa",
    "2m_relative_humidity": "percent",
    SPEED: "m s-1",
    DIRECTION: "degree",
    "total_precipitation": "mm",
    "maximum_2m_temperature": "degC",
    "minimum_2m_temperature": "degC",
}


@dataclass
class Reports:
    """Columns of reports while they are collected."""

    place: Mapping[str, Any]
    values: dict[str, pd.Series] = field(default_factory=dict)
    over: list[tuple[str, pd.Series, np.ndarray]] = field(default_factory=list)
    refused: int = 0

    def keep(self, values: pd.Series, bad: pd.Series) -> pd.Series:
        """Values that are not bad; those that are, are counted."""
        self.refused += int((bad & values.notna()).sum())
        return values.mask(bad)

    def to_obs(self) -> xr.Dataset:
        """Observations in the one form."""
        place, parts = pd.DataFrame(self.place).reset_index(drop=True), []
        instant = pd.DataFrame({name: column.to_numpy() for name, column in self.values.items()})
        instant = instant.loc[:, instant.notna().any()]
        if len(instant.columns):
            rows = instant.notna().any(axis=1)
            parts.append(_obs(place[rows], instant[rows]))
        for name, column, period in self.over:
            rows = column.notna().to_numpy() & ~np.isnat(period)
            if rows.any():
                there = place[rows].assign(period=period[rows])
                parts.append(_obs(there, pd.DataFrame({name: column.to_numpy()[rows]})))
        if not parts:
            raise ObservationError("No report with a value that the archive's own quality control accepts")
        obs = concat(parts)
        return obs.assign_attrs(reports_refused=self.refused) if self.refused else obs


def _obs(place: pd.DataFrame, values: pd.DataFrame) -> xr.Dataset:
    table = pd.concat([place.reset_index(drop=True), values.reset_index(drop=True)], axis=1)
    return from_frame(table, Naming(units=_UNITS))
