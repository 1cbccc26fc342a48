"""Specification of a model's state: variables, levels, grid, times. Names and numbers only, no tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xappa.errors import ModelError

LONGEST_WINDOW = 4096
"""Times that a denoiser may see at once."""

DEEPEST = 1024
"""Blocks that a network may have."""

FINEST = 1 << 16
"""Rows or columns that a grid may have: a hundredth of a degree has 36000 columns."""

_STEPS = (1, 2, 3, 4, 6, 8, 12, 24)


def describe_non_positive(**sizes: int | tuple[int, ...]) -> list[str]:
    """Sentences on sizes that are not above zero, by which nothing could be divided."""
    flat = {name: value if isinstance(value, tuple | list) else (value,) for name, value in sizes.items()}
    return [
        f"{name} is {sizes[name]}; expected 1 or more" for name, values in flat.items() if min(values, default=1) < 1
    ]


@dataclass(frozen=True)
class StateSpec:
    """The state of one time, and how times follow each other.

    Parameters
    ----------
    channels : tuple of (str, int or None)
        Variable and pressure level (hPa; None at the surface), in the order of the channel axis.
    latitude, longitude : tuple of float
        Cell centres, degrees north and east, in the order of the grid's rows and columns.
    step_hours : int
        Hours between model times, which are counted from 00 UTC.
    window : int
        Number of times that the denoiser sees at once.
    masked : tuple of str
        Variables that are missing over land.
    """

    channels: tuple[tuple[str, int | None], ...]
    latitude: tuple[float, ...]
    longitude: tuple[float, ...]
    step_hours: int
    window: int
    masked: tuple[str, ...] = ()

    def require_sensible(self) -> None:
        """Complain about what no model's state has; a user's fields may have other steps, and begin at any longitude.

        Raises
        ------
        ModelError
            All problems.
        """
        problems = [f"step_hours is {self.step_hours}; expected a divisor of 24"] * (self.step_hours not in _STEPS)
        problems += [f"window is {self.window}; expected 1 to {LONGEST_WINDOW}"] * (
            not 1 <= self.window <= LONGEST_WINDOW
        )
        if not self.channels or len(set(self.channels)) < len(self.channels):
            problems.append("channels are missing or named twice; expected each (variable, level) once")
        levels = [level for _, level in self.channels if level is not None and not 0 < level <= 1100]
        problems += [f"levels {levels} of channels; expected 1 to 1100 hPa"] * bool(levels)
        for name, values, most in (("latitude", self.latitude, 90.0), ("longitude", self.longitude, 360.0)):
            steps = np.diff(values)
            if len(values) > FINEST:
                problems.append(f"{name} has {len(values)} points; expected at most {FINEST}")
            if not len(values) or np.abs(values).max() > most or not ((steps > 0).all() or (steps < 0).all()):
                problems.append(f"{name} is not strictly monotonic within {-most:g} to {most:g} degrees")
        if problems:
            raise ModelError(f"State that makes no sense: {'; '.join(problems)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes (channel, latitude, longitude)."""
        return len(self.channels), len(self.latitude), len(self.longitude)

    @property
    def step(self) -> np.timedelta64:
        """Time between two states."""
        return np.timedelta64(self.step_hours, "h")

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables, each once, in the order of the channels."""
        return tuple(dict.fromkeys(name for name, _ in self.channels))

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """All pressure levels of any variable, hPa, ascending."""
        return tuple(sorted({level for _, level in self.channels if level is not None}))

    def index(self, name: str, level: int | None = None) -> int:
        """Position of a variable (on a level) on the channel axis; KeyError if the model has none."""
        try:
            return self.channels.index((name, level))
        except ValueError:
            raise KeyError((name, level)) from None

    def of(self, name: str) -> tuple[int, ...]:
        """Positions of all channels of a variable, in channel order."""
        return tuple(i for i, (n, _) in enumerate(self.channels) if n == name)

    def levels_of(self, name: str) -> tuple[int, ...]:
        """Pressure levels on which the model has `name`, in channel order (empty for a surface variable)."""
        return tuple(lev for n, lev in self.channels if n == name and lev is not None)
