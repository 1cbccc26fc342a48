"""Columns of an archive's reports while they are collected: values of an instant, and others over a period each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.flags import Flag
from xappa.observations.names import NameMap
from xappa.observations.readers.source_quality import SCHEMES, classify_codes
from xappa.observations.readers.tables.columns import parse_numbers
from xappa.observations.readers.tables.frames import from_frame
from xappa.observations.schema import concat, encode_counts

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
class ReportColumns:
    """Columns of reports while they are collected."""

    place: Mapping[str, Any]
    values: dict[str, pd.Series] = field(default_factory=dict)
    over: list[tuple[str, pd.Series, np.ndarray]] = field(default_factory=list)
    bad: dict[str, np.ndarray] = field(default_factory=dict)
    unreadable: Counter[str] = field(default_factory=Counter)

    def parse_numbers(
        self, name: str, column: pd.Series, scale: float = 1.0, missing: float | None = None
    ) -> pd.Series:
        """Scaled numbers of a column, NaN for the code of a missing one; what is none is counted, blanks are not."""
        blank = column.map(lambda value: isinstance(value, str) and not value.strip()).to_numpy(bool)
        values, count = parse_numbers(column.mask(blank))
        self.unreadable[name] += count
        series = pd.Series(values, column.index, name=column.name)
        return (series if missing is None else series.mask(series.abs() == missing)) / scale

    def add_values(self, name: str, values: pd.Series, codes: pd.Series, scheme: str) -> pd.Series:
        """The values of a quantity as they are; which of them the archive rejects is noted."""
        self.bad[name] = classify_codes(codes, SCHEMES[scheme])[0]
        return values

    def to_dataset(self) -> xr.Dataset:
        """Observations in the schema."""
        place, parts = pd.DataFrame(self.place).reset_index(drop=True), []
        instant = pd.DataFrame({name: column.to_numpy() for name, column in self.values.items()})
        instant = instant.loc[:, instant.notna().any()]
        if len(instant.columns):
            rows = instant.notna().any(axis=1)
            parts.append(_build_obs(place[rows], self._with_flags(instant)[rows]))
        for name, column, period in self.over:
            rows = column.notna().to_numpy() & ~np.isnat(period)
            if rows.any():
                there = place[rows].assign(period=period[rows])
                table = self._with_flags(pd.DataFrame({name: column.to_numpy()}), str(column.name))
                parts.append(_build_obs(there, table[rows]))
        if not parts:
            raise ObservationError("No report with a value: all are missing. Expected at least one")
        obs = concat(parts)
        return with_unreadable(obs, self.unreadable)

    def _with_flags(self, table: pd.DataFrame, key: str | None = None) -> pd.DataFrame:
        """The table with flags beside quantities of which the archive rejects values."""
        bad = {name: self.bad.get(key or name) for name in map(str, table)}
        flags = {f"{name}_flag": mask * int(Flag.REJECTED_BY_SOURCE) for name, mask in bad.items() if mask is not None}
        return table.assign(**flags)


def with_unreadable(obs: xr.Dataset, more: Mapping[str, int]) -> xr.Dataset:
    """Observations with the counts of values that are not numbers, added to counts that are recorded already."""
    unreadable = Counter(json.loads(obs.attrs.get("unreadable_values", "{}"))) + Counter(more)
    return obs.assign_attrs(unreadable_values=encode_counts(unreadable)) if unreadable else obs


def require_columns(frame: pd.DataFrame, archive: str, *names: str) -> None:
    """Complain about a table that seems to be an archive's, and lacks columns that all of them have.

    Raises
    ------
    ObservationError
    """
    if lacking := [name for name in names if name not in frame]:
        raise ObservationError(
            f"The table has columns of {archive}, but no {', '.join(lacking)}. Expected all of {', '.join(names)}: "
            f"fetch it anew, or say what its columns are, with rename={{'<its name>': '2m_temperature'}}"
        )


def _build_obs(place: pd.DataFrame, values: pd.DataFrame) -> xr.Dataset:
    table = pd.concat([place.reset_index(drop=True), values.reset_index(drop=True)], axis=1)
    return from_frame(table, NameMap(units=_UNITS))
