"""Which states make up reports over a period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.model.state import StateSpec
from xappa.observations.names import QUANTITIES
from xappa.observations.periods import EXTREMES, NONE, PeriodStates, find_period_states, parse_cell_method


@dataclass(frozen=True)
class Period:
    """A period that is prescribed, whatever reports say.

    Parameters
    ----------
    hours : float
    method : {"sum", "mean", "maximum", "minimum"}
    """

    hours: float
    method: str


@dataclass(frozen=True)
class PeriodGroup:
    """Reports over periods of one length.

    Parameters
    ----------
    member : array of bool, (N,)
    states : PeriodStates or None
        None where the model's states cannot represent the period.
    seconds : float
        Length of the period; NaN for an instant.
    """

    member: Array
    states: PeriodStates | None
    seconds: float = np.nan


def group_by_period(name: str, obs: xr.Dataset, spec: StateSpec, told: Period | None = None) -> list[PeriodGroup]:
    """Reports of a quantity by the length of their period.

    Parameters
    ----------
    name : str
    obs : Dataset
        Observations in the schema; ``period`` is NaT for what holds for an instant.
    spec : StateSpec
    told : Period, optional
    """
    size = obs.sizes["obs"]
    if told is not None:
        number = told.hours / spec.step_hours
        extreme = told.method in EXTREMES
        fits = name in spec.variables and (number.is_integer() or extreme) and number >= 1
        states = PeriodStates(name, int(number) + extreme, told.method) if fits else None
        return [PeriodGroup(np.ones(size, bool), states, told.hours * 3600)]
    lengths = np.full(size, NONE)
    if "period" in obs.coords:
        lengths = np.asarray(obs["period"].values).astype("timedelta64[s]")
    codes = lengths.astype(np.int64)
    found = []
    for code in np.unique(codes):
        length: Any = np.array(code).astype("timedelta64[s]")[()]
        methods = str(obs[name].attrs.get("cell_methods", ""))
        seconds = np.nan if np.isnat(length) else float(length / np.timedelta64(1, "s"))
        found.append(PeriodGroup(codes == code, _find_states(name, length, spec, methods), seconds))
    return found


def _find_states(name: str, length: np.timedelta64, spec: StateSpec, methods: str) -> PeriodStates | None:
    if np.isnat(length) and name in spec.variables:
        return PeriodStates(name, 1, "mean")
    if name in QUANTITIES:
        return find_period_states(name, length, spec.variables, spec.step)
    # A user-defined quantity states itself what it is over its period.
    number, method = float(length / spec.step), parse_cell_method(methods)
    if name not in spec.variables or np.isnan(number) or number < 1:
        return None
    if method in EXTREMES:
        return PeriodStates(name, int(number) + 1, method)
    return PeriodStates(name, int(number), method) if number.is_integer() else None
