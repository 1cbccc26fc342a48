"""What operators know of the states that reports are read off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xappa._typing import Array
from xappa.model.state import StateSpec
from xappa.operators.periods import Period

if TYPE_CHECKING:
    from xappa.grids.axes import Layout


@dataclass(frozen=True, eq=False)
class StateContext:
    """A trajectory of states without its numbers: what they are, when, and how they are shown to a function.

    Parameters
    ----------
    spec : StateSpec
        Channels and grid.
    times : array of datetime64, (T,)
        Times of the trajectory, ascending.
    surface_height : array of float, (latitude, longitude), optional
        Height of the model's surface, m; functions of a Dataset see it as the coordinate ``surface_altitude``.
    mask : array of bool, (channel, latitude, longitude), optional
        True where the state has a value; default everywhere.
    layout : Layout, optional
        Names, order and units that functions of a Dataset are given; default the model's.
    period : Period, optional
        What reports are taken over instead of what they say.
    level_coordinate : mapping, optional
        Coordinate of the reports that chooses a variable's level, by variable: ``"level"`` (hPa, the default) or
        ``"channel"`` (a number, exactly).

    Examples
    --------
    >>> model = xappa.load()
    >>> context = StateContext(model.spec, ds.time.values, model.surface_height, model.mask)  # doctest: +SKIP
    >>> rows, flagged = xappa.operators.Interpolate()(obs, context)  # doctest: +SKIP
    """

    spec: StateSpec
    times: Array
    surface_height: Array | None = None
    mask: Array | None = None
    layout: Layout | None = None
    period: Period | None = None
    level_coordinate: Mapping[str, str] = field(default_factory=dict)

    def get_axis_name(self, name: str) -> str:
        """What an axis is called."""
        return (getattr(self.layout, name) if self.layout else None) or name
