"""Default settings of xarray's arithmetic, whatever the session has set."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import xarray as xr

P = ParamSpec("P")
R = TypeVar("R")

OURS = {"arithmetic_join": "inner", "keep_attrs": "default", "use_new_combine_kwarg_defaults": False}
"""Options of xarray that decide which points of two arrays meet, and which attributes they keep."""


def with_xarray_defaults(function: Callable[P, R]) -> Callable[P, R]:
    """A function that runs with xarray's own defaults of how coordinates are aligned and attributes kept.

    Projects set ``arithmetic_join="exact"`` for safety. Here the points that are compared are chosen by name before.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        session = xr.get_options()
        changed = {name: value for name, value in OURS.items() if session.get(name, value) != value}
        if not changed:
            return function(*args, **kwargs)
        with xr.set_options(**changed):
            return function(*args, **kwargs)

    return wrapped
