"""Reports over a period: how long it is, and which states of a model make it up.

In the schema such a report has ``time`` at the end of its period and the length in the coordinate ``period``
(timedelta64; NaT for reports of an instant). What was done over the period follows from the quantity: amounts
(``cell_methods`` "time: sum" in the vocabulary) are sums, those named so are extremes, all others are means.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from xappa.errors import ObservationError
from xappa.observations.names import QUANTITIES
from xappa.observations.readers.missing_codes import are_codes

HOUR = np.timedelta64(3600, "s")
NONE = np.timedelta64("NaT", "s")
NO_LENGTH = np.timedelta64(0, "s")
"""Replacement of a given period that is no length of time."""
LONGEST = np.timedelta64(100 * 366 * 24 * 3600, "s")
"""Longest period that is accepted: a century."""

_HOURS = {"total_precipitation": 1, "total_precipitation_6hr": 6}
EXTREMES = ("maximum", "minimum")


@dataclass(frozen=True)
class PeriodStates:
    """States of a model that make up a report over a period.

    Parameters
    ----------
    variable : str
        The model's variable.
    number : int
        Consecutive states, the last of them at the report's time; of an extreme the most that a period can hold, those
        at both its ends included.
    method : str
        ``"sum"``, ``"mean"``, ``"maximum"`` or ``"minimum"`` of them.
    """

    variable: str
    number: int
    method: str


def get_method(name: str) -> str:
    """Statistic of a quantity over its period: ``"sum"``, ``"mean"``, ``"maximum"`` or ``"minimum"``."""
    return parse_cell_method(QUANTITIES[name].cell_methods)


def parse_cell_method(cell_methods: str) -> str:
    """Statistic over time by CF cell methods; ``"mean"`` if they have none of these."""
    found = re.search(r"\btime: (sum|maximum|minimum)", cell_methods)
    return found.group(1) if found else "mean"


def get_definition_period(name: str) -> np.timedelta64:
    """Period that is part of a quantity's definition (6 hours for ``total_precipitation_6hr``), else NaT."""
    return _HOURS[name] * HOUR if name in _HOURS else NONE


def find_period_states(
    name: str, period: np.timedelta64, variables: Container[str], step: np.timedelta64
) -> PeriodStates | None:
    """States that make up a report of `name` over `period`.

    Parameters
    ----------
    name : str
        Reported quantity.
    period : timedelta64
        Length of its period, which ends at the report's time; NaT: that of the quantity's definition, if any.
    variables : container of str
        Variables of the model.
    step : timedelta64
        Time between its states.

    Returns
    -------
    PeriodStates or None
        None if the model's states cannot represent the period: an amount that is no multiple of the model's own, a mean
        over less than a step or no multiple of it, an extreme over less than a step (of fewer than two states), or a
        variable that the model lacks.
    """
    period = get_definition_period(name) if np.isnat(period) else period
    method = get_method(name)
    if np.isnat(period):
        return PeriodStates(name, 1, "mean") if method == "mean" and name in variables else None
    if method == "sum":
        own = [v for v in sorted(_HOURS, key=_HOURS.__getitem__, reverse=True) if v in variables]
        for variable in own:
            # Amounts of successive states must neither overlap nor leave a gap, unless one is enough.
            number = period / get_definition_period(variable)
            if number == 1 or (number.is_integer() and number > 1 and get_definition_period(variable) == step):
                return PeriodStates(variable, int(number), method)
        return None
    extreme = method in EXTREMES
    source = name.split("_", 1)[1] if extreme else name
    number = period / step
    if source not in variables or number < 1 or not (extreme or number.is_integer()):
        return None
    return PeriodStates(source, int(number) + extreme, method)


def to_periods(values: Any, units: str | None = None, name: str = "period") -> np.ndarray:
    """Lengths of periods as timedelta64[s].

    Parameters
    ----------
    values : array-like, shape (n,)
        timedelta64, numbers, or text such as ``"6h"``.
    units : str, optional
        Units of numbers; default hours.
    name : str
        Name of the column, for messages. The sign of ``timePeriod``, a key of BUFR, which counts backwards, is not
        looked at.

    Returns
    -------
    array of timedelta64[s], shape (n,)
        NaT where missing or zero; 0 where something is given that is no length of time, which `check` rejects, as it
        does what is negative.

    Raises
    ------
    ObservationError
        If the units are no units of time, or if all values are times, true or false, or complex.
    """
    array = np.asarray(values)
    if array.dtype.kind in "bcM":
        raise ObservationError(
            f"{name}: found {array.dtype}, expected lengths of time: numbers with units={{{name!r}: 'hours'}}, or text "
            "such as '6h'"
        )
    if array.dtype.kind == "m":
        seconds = _mask_zero_periods(array.astype("timedelta64[s]"))
    elif array.dtype.kind in "iuf":
        seconds = _convert_period_numbers(array.astype(float), units or "hours", name)
    else:
        codes, texts = pd.factorize(array.astype(object))
        seconds = np.append(_parse_period_texts(pd.Series(texts, dtype=object), units or "hours", name), NONE)[codes]
    return abs(seconds) if name == "timePeriod" else seconds


def _parse_period_texts(texts: pd.Series, units: str, name: str) -> np.ndarray:
    """Lengths that are spelt out, and numbers among them."""
    numeric = np.array([isinstance(t, int | float) and not isinstance(t, bool) for t in texts], bool)
    spelt = np.array([isinstance(t, str | timedelta | np.timedelta64) for t in texts], bool)
    lengths = pd.to_timedelta(texts.where(spelt), errors="coerce").to_numpy().astype("timedelta64[s]")
    seconds = np.where(np.isnat(lengths), NO_LENGTH, _mask_zero_periods(lengths))
    seconds[np.array([isinstance(text, str) and not text.strip() for text in texts], bool)] = NONE
    if numeric.any():
        seconds[numeric] = _convert_period_numbers(texts[numeric].to_numpy(float), units, name)
    return seconds


def _mask_zero_periods(seconds: np.ndarray) -> np.ndarray:
    return np.where(seconds == NO_LENGTH, NONE, seconds)


def _convert_period_numbers(numbers: np.ndarray, units: str, name: str) -> np.ndarray:
    word = units.strip().casefold().removesuffix("s")
    known = {"second": 1, "sec": 1, "": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "h": 3600, "day": 86400}
    if word not in known:
        raise ObservationError(f"{name} has the units {units!r}; expected seconds, minutes, hours or days")
    # Codes for missing ones; 99 hours may be meant.
    good = np.isfinite(numbers) & ~(are_codes(numbers) & (numbers != 99))
    seconds = np.where(good, numbers, 0.0) * known[word]
    seconds = _mask_zero_periods(seconds.clip(-1e15, 1e15).round().astype("timedelta64[s]"))
    return np.where(np.isinf(numbers), NO_LENGTH, seconds)
