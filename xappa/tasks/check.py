"""Whether a model can use a Dataset, and every reason why not."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.grids import flatten_valid_time
from xappa.grids.axes import Layout, inspect
from xappa.grids.conventions import decode_with_messages
from xappa.grids.forecast_time import find_forecast_times
from xappa.model.state import StateSpec
from xappa.state.area import describe_grid_subset
from xappa.state.conversions import describe_conversions
from xappa.state.regridding import find_coverage_problems
from xappa.state.selection import describe_selection, find_model_time_problems, find_selection_problems
from xappa.state.units import find_unit_problems
from xappa.state.validation import find_value_problems
from xappa.tasks.state_spec import get_state_spec

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike


@dataclass(frozen=True)
class CheckReport:
    """What is wrong with a Dataset; true where nothing is.

    Parameters
    ----------
    problems : tuple of str
        Why its times and variables cannot be used: what was found, expected, and what to do.
    of_values : tuple of str
        Why its values cannot be used as states of the model. That matters only where a method uses values: to encode,
        as a background, or to forecast from; to assimilate it does not.
    notes : tuple of str
        What is converted, regridded or left out, in the user's names.
    """

    problems: tuple[str, ...]
    of_values: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the model can use the times and variables of the Dataset."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return "\n".join(
            line
            for title, problems in self._list_sections()
            for line in (title, *(f"- {problem}" for problem in problems))
        )

    def _repr_html_(self) -> str:
        return "".join(
            f"<p>{html.escape(title)}</p><ul>{''.join(f'<li>{html.escape(p)}</li>' for p in problems)}</ul>"
            for title, problems in self._list_sections()
        )

    def _list_sections(self) -> list[tuple[str, Sequence[str]]]:
        times = "The model can use its times and variables" if self.ok else "The model cannot use this Dataset"
        values = "Its values are not states of the model (needed only to encode, as a background or to forecast from):"
        rest = ((values, self.of_values), ("On the way in:", self.notes))
        return [(f"{times}{'.' if self.ok else ':'}", self.problems), *(part for part in rest if part[1])]


@check_arguments
@with_xarray_defaults
def check(ds: xr.Dataset, model: ModelLike | StateSpec | None = None) -> CheckReport:
    """Whether a model can use a Dataset, and every reason why not.

    Parameters
    ----------
    ds : xarray.Dataset
        A Dataset; however wrong, it raises nothing.
    model : str, Path or StateSpec, optional
        Name or folder of a model. Default: the option ``default_model``.

    Returns
    -------
    Report
        True where nothing is wrong; printed, a list of what was found, what was expected and what to do.

    Raises
    ------
    xappa.errors.ModelError
        If there is no such model; those known are listed.

    Examples
    --------
    >>> print(ds.appa.check())  # doctest: +SKIP
    """
    spec, (ds, settled) = get_state_spec(model), decode_with_messages(ds)
    forecasts, ds = find_forecast_times(ds)[0], flatten_valid_time(ds)
    layout, problems = inspect(ds, need=("time",))
    problems += _find_time_problems(ds, layout, spec)
    problems += find_selection_problems(ds, layout, spec)
    notes = (*settled, *describe_selection(ds, layout, spec), *([] if problems else describe_grid_subset(layout, spec)))
    notes += (forecasts.describe(),) if forecasts is not None else ()
    if not ds.data_vars:
        return CheckReport(tuple(problems), notes=notes)
    _, axes = inspect(ds)
    of_values = [problem for problem in axes if problem not in problems]
    of_values += [] if axes else find_coverage_problems(ds, spec, layout)
    of_values += find_unit_problems(ds, spec, layout) + find_value_problems(ds, spec, layout)
    return CheckReport(
        tuple(problems), tuple(of_values), notes + tuple(describe_conversions(ds, spec, layout, not axes))
    )


def _find_time_problems(ds: xr.Dataset, layout: Layout, spec: StateSpec) -> list[str]:
    if layout.time is None or ds[layout.time].dtype.kind != "M":
        return []
    times = np.atleast_1d(ds[layout.time].values)
    return find_model_time_problems(times[~np.isnat(times)], spec)
