"""Selection of times, variables and levels by a Dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import suggest_names, warn
from xappa.grids.axes import Layout, format_time, recognise, refuse
from xappa.grids.variable_encoding import PRECIPITATION
from xappa.model.state import StateSpec

MOST = 12
"""Largest number of levels that messages list."""


@dataclass(frozen=True)
class OutputSelection:
    """Variables and levels of an output.

    Parameters
    ----------
    variables : tuple of str
        WeatherBench names.
    levels : tuple of int
        Pressure levels, hPa.
    """

    variables: tuple[str, ...]
    levels: tuple[int, ...]


def find_model_times(ds: xr.Dataset, spec: StateSpec, layout: Layout | None = None) -> tuple[Array, Array]:
    """Times of the trajectory that covers those of `ds`.

    Parameters
    ----------
    ds : Dataset
    spec : StateSpec
    layout : Layout, optional
        Of `ds`, where it is known already.

    Returns
    -------
    times : array of datetime64, (T,)
        Every model time from the first to the last of `ds`.
    selection : array of int
        Indices of the times of `ds` among them.

    Raises
    ------
    DatasetError
        If `ds` has no usable time axis, or times that are not model times.
    """
    layout = layout or recognise(ds, need=("time",))
    wanted = np.atleast_1d(ds[layout.time].values)
    refuse(find_model_time_problems(wanted, spec))
    count = int((wanted[-1] - wanted[0]) / spec.step) + 1
    times = wanted[0] + np.arange(count) * spec.step
    return times, np.searchsorted(times, wanted)


def find_model_time_problems(times: Array, spec: StateSpec) -> list[str]:
    """Times that are not model times, with the nearest that are."""
    past = (times - times.astype("datetime64[D]")) % spec.step
    wrong = past != np.timedelta64(0, "s")
    if not wrong.any():
        return []
    first = times[wrong][0]
    before = first - past[wrong][0]
    return [
        f"{int(wrong.sum())} of {len(times)} times are not model times, the first {format_time(first)}; expected "
        "multiples of "
        f"{spec.step_hours} h from 00 UTC: the nearest are {format_time(before)} and {format_time(before + spec.step)}"
    ]


def select_output(ds: xr.Dataset, layout: Layout, spec: StateSpec, drop_unknown: bool = False) -> OutputSelection:
    """Variables and levels of an output: those of `ds`, or all of the model's where it has none.

    Parameters
    ----------
    ds : Dataset
    layout : Layout
        Of `ds`.
    spec : StateSpec
    drop_unknown : bool
        Leave out variables that the model lacks. Levels that it lacks are left out with a warning, or without one where
        `drop_unknown` is true.

    Raises
    ------
    DatasetError
        Listing the variables that the model lacks, or if no variable or no level is left.
    """
    result, problems = _select_output(ds, layout, spec)
    asked = bool(layout.names or layout.unknown)
    if asked and not result.variables:
        problems, drop_unknown = problems or ["no variable is left; expected one of the model's"], False
    if not drop_unknown:
        refuse(problems, "The model lacks what this Dataset asks for")
        for note in describe_missing_levels(layout, spec, result.variables):
            warn(note)
    return result


def find_selection_problems(ds: xr.Dataset, layout: Layout, spec: StateSpec) -> list[str]:
    """Variables of `ds` that the model lacks, and whether it lacks all levels."""
    return _select_output(ds, layout, spec)[1]


def describe_selection(ds: xr.Dataset, layout: Layout, spec: StateSpec) -> list[str]:
    """Levels of `ds` that are left out because the model lacks them."""
    return describe_missing_levels(layout, spec, _select_output(ds, layout, spec)[0].variables)


def describe_missing_levels(layout: Layout, spec: StateSpec, variables: tuple[str, ...]) -> list[str]:
    """Levels that are left out because the model has none of `variables` there."""
    possible = {level for name in variables for level in spec.levels_of(name)}
    # Of reports, levels come many times, and are missing near the ground.
    levels = dict.fromkeys(p for p in layout.hectopascals if np.isfinite(p))
    extra = [p for p in levels if not any(np.isclose(level, p) for level in possible)]
    if not extra or not possible or layout.level is None:
        return []
    return [
        f"{len(extra)} of {len(levels)} levels are left out, since the model does not have them: "
        f"{_format_levels(extra)} hPa"
    ]


def _select_output(ds: xr.Dataset, layout: Layout, spec: StateSpec) -> tuple[OutputSelection, list[str]]:
    asked = {str(name): layout.names.get(str(name), str(name)) for name in ds.data_vars if name not in layout.static}
    lacking = [user for user, name in asked.items() if name not in spec.variables]
    problems = []
    if lacking:
        listed = ", ".join(f"{user!r}{_suggest_variable(user, asked[user], layout, spec)}" for user in lacking)
        problems.append(
            f"variables that the model does not have: {listed}; expected some of {', '.join(spec.variables)}: "
            f"use ds.drop_vars({lacking!r}), rename them, or drop_unknown=True"
        )
    variables = tuple(name for name in asked.values() if name in spec.variables) if asked else spec.variables
    possible = {level for name in variables for level in spec.levels_of(name)}
    levels = set(possible)
    if possible and layout.level is not None:
        levels = {level for level in possible if any(np.isclose(level, p) for p in layout.hectopascals)}
        if not levels:
            problems.append(
                f"the model has none of the levels {_format_levels(layout.hectopascals)} hPa; expected "
                f"some of {', '.join(f'{p:g}' for p in sorted(possible))} hPa: check the units of {layout.level!r}"
            )
    return OutputSelection(variables, tuple(sorted(levels))), problems


def _format_levels(levels: Iterable[float]) -> str:
    """Levels, each once, and no more of them than are read."""
    shown = list(dict.fromkeys(f"{p:g}" for p in levels))
    more = f" and {len(shown) - MOST} more" if len(shown) > MOST else ""
    return ", ".join(shown[:MOST]) + more


def _suggest_variable(user: str, name: str, layout: Layout, spec: StateSpec) -> str:
    """Why the model lacks a variable, or which of its own the user may have meant."""
    own = [known for known in PRECIPITATION if known in spec.variables]
    if name not in PRECIPITATION or not own:
        return suggest_names(user, spec.variables)
    written = layout.notation.get(user)
    hours = PRECIPITATION[name] if written is None or not written.accumulation_hours else written.accumulation_hours
    needed = PRECIPITATION[own[0]]
    mend = f"use data every {needed:g} h"
    if hours < needed:
        mend = f"sum it, and say so in its cell_methods, 'time: sum (interval: {needed:g} hours)'"
    return f" (over {hours:g} h, where the model's {own[0]!r} is over {needed:g} h: {mend})"
