"""Where CF variables are in the vertical: near the ground only at their quantity's height, aloft only on pressures.

References
----------
CF conventions 1.11, section 4.3 (vertical coordinates), and the standard name table: ``height`` is above the surface.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.cf_roles import error_of, is_other_level
from xappa.observations.names import NEEDED, QUANTITIES, Naming, quantity_of
from xappa.observations.reported import NEAR_GROUND
from xappa.observations.units import conversions

TOLERANCE = 0.5
"""Metres within which a height is that of a quantity."""

_NAMES = ("height", "heightAboveGround")
# u_80m, 100m_u_component_of_wind; u100, ws80 (and t850, a pressure); 100u
_IN_NAME = re.compile(r"(?<![\d.])(\d+)_?m(?![a-z])|^[a-z]{1,2}(\d{2,4})$|^(\d{2,4})[a-z]{1,2}$", re.IGNORECASE)


def own_height(meaning: str) -> float | None:
    """Height, m, of a quantity, or of its namesake near the ground, which it is without levels; None if it has none."""
    near = QUANTITIES.get(NEAR_GROUND.get(meaning, f"10m_{meaning}"), QUANTITIES.get(meaning))
    return None if near is None else near.height


def _name_tells(name: str, meaning: str, naming: Naming) -> bool:
    """Whether a name says already at which height a quantity is: the caller's, or one such as ``t2m``."""
    spelt = quantity_of(name) == meaning and QUANTITIES[meaning].height is not None
    return name in naming.rename or spelt


def _dims_of_reports(ds: xr.Dataset, places: Mapping[str, str]) -> set[object]:
    return {dim for place in NEEDED for dim in ds[places[place]].dims}


def require_pressures(ds: xr.Dataset, meanings: Mapping[str, str], places: Mapping[str, str], naming: Naming) -> None:
    """Complain about variables on levels that are no pressures; parameters as in `at_own_heights`.

    Raises
    ------
    ObservationError
        With the levels and their standard names.
    """
    dims = _dims_of_reports(ds, places)
    others = [str(name) for name in ds.variables if name not in naming.rename and is_other_level(name, ds[name].attrs)]
    wrong = []
    for name, meaning in meanings.items():
        vertical = own_height(meaning) is not None or (meaning in QUANTITIES and QUANTITIES[meaning].upper_air)
        for level in others if vertical else ():
            along = set(ds[level].dims)
            if along <= set(ds[name].dims) and not (along <= dims and _name_tells(name, meaning, naming)):
                wrong.append((name, level, f"{name} lies on {level} ({ds[level].attrs['standard_name']})"))
    if wrong:
        name, level, _ = wrong[0]
        raise ObservationError(
            f"{'; '.join(text for *_, text in wrong)}. Expected levels of pressure (standard name air_pressure, in hPa "
            f"or Pa). Interpolate to such levels, give the pressure of each value as a coordinate, or drop {name!r}; "
            f"if {level!r} is a pressure, say rename={{{level!r}: 'level'}}"
        )


def at_own_heights(
    ds: xr.Dataset, meanings: Mapping[str, str], places: Mapping[str, str], naming: Naming
) -> tuple[xr.Dataset, dict[str, int], dict[str, str]]:
    """Variables at the heights of the quantities that they stand for.

    A coordinate with the standard name ``height`` tells where they are, or the name: ``t2m``, ``u100``. Of several
    heights along a dimension of their own, one is selected; names are worth more than other heights, which a file may
    have of another variable.

    Parameters
    ----------
    ds : Dataset
    meanings : mapping of str to str
        Name to quantity, without those that are on levels.
    places : mapping of str to str
        Coordinates: meaning to name.
    naming : Naming
        What the caller says.

    Returns
    -------
    ds : Dataset
    counts : dict of str to int
        Values left out of variables that have others.
    elsewhere : dict of str to str
        Variables that are nowhere at their quantity's height, and what is wrong.
    """
    counts: dict[str, int] = {}
    elsewhere: dict[str, str] = {}
    dims = _dims_of_reports(ds, places)
    for name, meaning in meanings.items():
        own, heights = own_height(meaning), _heights(ds[name], places.values(), dims, naming)
        if own is None or heights is None:
            continue
        if set(heights.dims) <= dims and _name_tells(name, meaning, naming):
            continue
        # What has no height may be at the right one.
        near = ~(abs(heights - own) > TOLERANCE)
        if not near.any():
            low, high = float(heights.min()), float(heights.max())
            found = f"{low:g} m" if low == high else f"{low:g} to {high:g} m"
            elsewhere[name] = f"{name} at {found} (expected {own:g} m for {meaning})"
        elif not near.all():
            counts[name] = _count(ds[name], ~near)
            ds = _selected(ds, name, near, dims)
    return ds, counts, elsewhere


def require_any(known: Iterable[str], elsewhere: Mapping[str, str]) -> None:
    """Complain if nothing is left but variables at other heights.

    Raises
    ------
    ObservationError
        With the heights found and expected.
    """
    if list(known) or not elsewhere:
        return
    name = next(iter(elsewhere))
    raise ObservationError(
        f"No known variable at its height: {'; '.join(elsewhere.values())}. If the quantity is meant all the same, say "
        f"rename={{{name!r}: '<quantity>'}}; if the coordinate is the height of a station above the sea, "
        "rename={'<its name>': 'altitude'}"
    )


def _heights(variable: xr.DataArray, places: Iterable[str], dims: set[object], naming: Naming) -> xr.DataArray | None:
    """Height, m, of a variable, by a dimension of its own, by its name, or by its coordinate; None if nothing tells."""
    taken = set(places)
    found = [coord for name, coord in variable.coords.items() if name not in taken and _is_height(coord)]
    found = [c for c in found if not set(c.dims) <= dims] or found
    if (match := _IN_NAME.search(str(variable.name))) and all(set(c.dims) <= dims for c in found):
        return xr.DataArray(float(match[match.lastindex or 0]))
    # Scalar coordinates of a file come with every variable; the encoding knows whose they are.
    named = str(variable.encoding.get("coordinates", "")).split()
    found = [c for c in found if c.name in named] or found
    if len(found) != 1:
        return None
    name = str(found[0].name)
    units = naming.told_units(name, name) or str(found[0].attrs.get("units", "m"))
    return conversions([(name, units, "m")])[name, units].value(found[0].astype(float))


def _is_height(coord: xr.DataArray) -> bool:
    named = coord.name in _NAMES and coord.dims == (coord.name,)
    return coord.attrs.get("standard_name", "height" if named else None) == "height" and coord.dtype.kind in "iuf"


def _count(variable: xr.DataArray, chosen: xr.DataArray) -> int:
    """How many values are chosen; missing ones too, where counting would compute."""
    if variable.chunks is not None:
        return round(variable.size * float(chosen.mean()))
    return int((variable.notnull() & chosen).sum())


def _selected(ds: xr.Dataset, name: str, near: xr.DataArray, dims: Iterable[object]) -> xr.Dataset:
    """The same with one variable, its error and flag at the height that is near; masked where that is no one row."""
    rows = np.flatnonzero(near)
    if near.ndim > 1 or len(rows) > 1 or set(near.dims) <= set(dims):
        return ds.assign({name: ds[name].where(near)})
    dim = near.dims[0]
    names = (name, error_of(ds, name), f"{name}_flag")
    related = [n for n in names if n is not None and n in ds and dim in ds[n].dims]
    return ds.assign({n: ds[n].isel({dim: rows[0]}, drop=True) for n in related})
