"""Units of a Dataset's variables against those of a model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from xappa.errors import UnitsError
from xappa.grids.axes import Layout, recognise
from xappa.models.state import StateSpec
from xappa.observations.units import Linear, linear
from xappa.vocabulary import VARIABLES


def check_units(ds: xr.Dataset, spec: StateSpec, layout: Layout | None = None) -> None:
    """Refuse a Dataset with variables whose units cannot be converted to the model's.

    Raises
    ------
    UnitsError
        Listing all of them.
    """
    refuse_units(unit_problems(ds, spec, layout or recognise(ds, need=())))


def unit_problems(ds: xr.Dataset, spec: StateSpec, layout: Layout) -> list[str]:
    """Variables whose units cannot be converted to the model's."""
    return unit_maps(ds, spec, layout)[1]


def unit_maps(ds: xr.Dataset, spec: StateSpec, layout: Layout) -> tuple[dict[str, Linear], list[str]]:
    """The user's names -> maps to the model's units, and what cannot be converted."""
    maps, problems = {}, []
    for user, name in layout.names.items():
        if name not in spec.variables:
            continue
        expected = VARIABLES[name].units
        try:
            maps[user] = linear(str(ds[user].attrs.get("units", expected)), expected)
        except UnitsError as error:
            problems.append(
                f"variable {user!r} ({name}): {error}; expected {expected}: set ds[{user!r}].attrs['units']"
            )
    return maps, problems


def refuse_units(problems: Iterable[str]) -> None:
    """Raise one UnitsError that lists all `problems`; do nothing if there are none."""
    if listed := list(problems):
        raise UnitsError("Units cannot be used:" + "".join(f"\n- {problem}" for problem in listed))


def implausible(user: str, name: str, values: np.ndarray) -> list[str]:
    """A variable without units whose middle value is out of the range of the quantity."""
    finite = values[np.isfinite(values)]
    known = VARIABLES[name]
    if not finite.size or known.valid_min <= (middle := float(np.median(finite))) <= known.valid_max:
        return []
    return [
        f"variable {user!r} has no units, and a median of {middle:.4g}; expected {name} in {known.units}, between "
        f"{known.valid_min:g} and {known.valid_max:g}: set ds[{user!r}].attrs['units']"
    ]
