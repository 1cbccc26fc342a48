"""What a Dataset asks of a model: times, variables, levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.errors import nearest_names
from xappa.grids.axes import Layout, recognise, refuse, text
from xappa.models.state import StateSpec

Array = np.ndarray


@dataclass(frozen=True)
class Wanted:
    """What an output holds.

    Parameters
    ----------
    variables : tuple of str
        WeatherBench names.
    levels : tuple of int
        Pressure levels, hPa.
    """

    variables: tuple[str, ...]
    levels: tuple[int, ...]


def model_times(ds: xr.Dataset, spec: StateSpec, layout: Layout | None = None) -> tuple[Array, Array]:
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
        Which of them are in `ds`.

    Raises
    ------
    DatasetError
        If `ds` has no usable time axis, or times that are not model times.
    """
    layout = layout or recognise(ds, need=("time",))
    wanted = np.atleast_1d(ds[layout.time].values)
    refuse(model_time_problems(wanted, spec))
    count = int((wanted[-1] - wanted[0]) / spec.step) + 1
    times = wanted[0] + np.arange(count) * spec.step
    return times, np.searchsorted(times, wanted)


def model_time_problems(times: Array, spec: StateSpec) -> list[str]:
    """Which times are not model times, with the nearest that are."""
    past = (times - times.astype("datetime64[D]")) % spec.step
    wrong = past != np.timedelta64(0, "s")
    if not wrong.any():
        return []
    first = times[wrong][0]
    before = first - past[wrong][0]
    return [
        f"{int(wrong.sum())} of {len(times)} times are not model times, the first {text(first)}; expected multiples of "
        f"{spec.step_hours} h from 00 UTC: the nearest are {text(before)} and {text(before + spec.step)}"
    ]


def wanted(ds: xr.Dataset, layout: Layout, spec: StateSpec, drop_unknown: bool = False) -> Wanted:
    """Variables and levels of an output: those of `ds`, or all of the model's where it has none.

    Parameters
    ----------
    ds : Dataset
    layout : Layout
        Of `ds`.
    spec : StateSpec
    drop_unknown : bool
        Leave out variables and levels that the model lacks.

    Raises
    ------
    DatasetError
        Listing the variables and levels that the model lacks, or if none is left.
    """
    result, problems = _wanted(ds, layout, spec)
    asked = bool(layout.names or layout.unknown)
    if asked and not result.variables:
        problems, drop_unknown = problems or ["no variable is left; expected one of the model's"], False
    if not drop_unknown:
        refuse(problems, "The model lacks what this Dataset asks for")
    return result


def wanted_problems(ds: xr.Dataset, layout: Layout, spec: StateSpec) -> list[str]:
    """Which variables and levels of `ds` the model lacks."""
    return _wanted(ds, layout, spec)[1]


def _wanted(ds: xr.Dataset, layout: Layout, spec: StateSpec) -> tuple[Wanted, list[str]]:
    asked = {str(name): layout.names.get(str(name), str(name)) for name in ds.data_vars if name not in layout.static}
    lacking = [user for user, name in asked.items() if name not in spec.variables]
    problems = []
    if lacking:
        listed = ", ".join(f"{user!r}{nearest_names(user, spec.variables)}" for user in lacking)
        problems.append(
            f"variables that the model does not have: {listed}; expected some of {', '.join(spec.variables)}: "
            f"use ds.drop_vars({lacking!r}), rename them, or drop_unknown=True"
        )
    variables = tuple(name for name in asked.values() if name in spec.variables) if asked else spec.variables
    possible = {level for name in variables for level in spec.levels_of(name)}
    levels = set(possible)
    if possible and layout.level is not None:
        levels = {level for level in possible if any(np.isclose(level, p) for p in layout.hectopascals)}
        extra = [p for p in layout.hectopascals if not any(np.isclose(level, p) for level in possible)]
        if extra:
            problems.append(
                f"levels that the model does not have: {', '.join(f'{p:g}' for p in extra)} hPa; expected some of "
                f"{', '.join(f'{p:g}' for p in sorted(possible))} hPa: use ds.sel, or drop_unknown=True"
            )
    return Wanted(variables, tuple(sorted(levels))), problems
