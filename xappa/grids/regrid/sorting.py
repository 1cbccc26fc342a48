"""Sorting of a file's variables by grid, with the reasons why some are left out."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import xarray as xr

from xappa.errors import DatasetError, warn
from xappa.grids.axes import NAMES, find_axis, refuse
from xappa.grids.conventions import find_encoding_problems
from xappa.grids.horizontal import CoordinatePair, drop_repeated_times, find_pair, find_pairs, is_bounds
from xappa.grids.validation import describe_missing_axis

MASK = "mask"
"""Name of what says where a grid has values, as xESMF has it: 1 there, 0 elsewhere."""
ROLES = ("bounds", "grid_mapping", "cell_measures")
OF_THE_GRID = "of the old grid"


@dataclass(frozen=True)
class SortedVariables:
    """The variables of a Dataset, sorted for regridding.

    Parameters
    ----------
    ds : Dataset
        With places that do not move.
    fields : dict
        Names of the fields by the pair of coordinates on which they lie; the one that `find_axis` prefers is first.
    left_out : dict
        Name of what is left out -> why.
    horizontal : set
        Dimensions and coordinates of all its grids.
    """

    ds: xr.Dataset
    fields: dict[CoordinatePair, list[Hashable]]
    left_out: dict[str, str]
    horizontal: set[Hashable]

    @property
    def unchanged(self) -> xr.Dataset:
        """Variables that are on none of the grids, and stay as they are."""
        return self.ds.drop_vars(
            [n for n, v in self.ds.variables.items() if self.horizontal & {n, *v.dims} or n in self.left_out]
        )

    def describe_left_out(self) -> str:
        """Description of variables that are left out, for an attribute."""
        return "; ".join(f"{name} ({why})" for name, why in self.left_out.items())


def sort_fields(ds: xr.Dataset) -> SortedVariables:
    """Sort the variables of a Dataset by the grids that they lie on.

    Raises
    ------
    DatasetError
        If there is no grid, nothing on it, or nothing tells on which a field lies.
    """
    ds = drop_repeated_times(ds)
    known = find_pairs(ds)
    first = {axis: find_axis(ds, axis) for axis in ("latitude", "longitude")}
    if not known:
        refuse(
            [describe_missing_axis(ds, axis, NAMES[axis]) for axis, name in first.items() if name is None],
            "No grid was found",
        )
        known = [CoordinatePair(*map(str, first.values()))]
    known.sort(key=lambda p: (p.latitude, p.longitude) != tuple(first.values()))
    places = {name for p in known for name in (p.latitude, p.longitude)}
    dims = {dim for name in places for dim in ds[name].dims}
    about = _list_grid_variables(ds)
    left: dict[str, str] = {}
    fields: dict[CoordinatePair, list[Hashable]] = {p: [] for p in known}
    for name, field in ds.data_vars.items():
        if name in places or not dims & set(field.dims):
            continue
        if name in about or is_bounds(name):
            left[str(name)] = OF_THE_GRID
        elif field.dtype.kind not in "fiub":
            left[str(name)] = f"no numbers, but {field.dtype}"
        elif (pair := find_pair(ds, name, known)) is not None:
            fields[pair].append(name)
        else:
            left[str(name)] = f"along {' and '.join(repr(str(d)) for d in field.dims if d in dims)} only"
    if left.get(MASK) and not any(fields.values()) and (pair := find_pair(ds, MASK, known)) is not None:
        fields[pair].append(MASK)  # alone it is a field like others
        del left[MASK]
    chosen = [name for names in fields.values() for name in names]
    if not chosen:
        wanted = tuple(dict.fromkeys(d for p in known[:1] for n in (p.latitude, p.longitude) for d in ds[n].dims))
        also = f": left out are {'; '.join(f'{k} ({v})' for k, v in left.items())}" if left else ""
        raise DatasetError(
            f"This Dataset cannot be regridded:\n- no variable has the dimensions {wanted}; expected fields of numbers "
            f"on the grid{also}"
        )
    refuse(find_encoding_problems(ds, chosen), "This Dataset cannot be regridded")
    return SortedVariables(ds, {p: names for p, names in fields.items() if names}, left, {*places, *dims})


def warn_left_out(left: dict[str, str]) -> None:
    """Warn of fields that are left out; not of what describes the old grid."""
    lost = [f"{name!r} ({why})" for name, why in left.items() if why != OF_THE_GRID]
    if lost:
        warn(f"Not regridded, and left out: {', '.join(lost)}.")


def find_mask(ds: xr.Dataset, dims: tuple[Hashable, ...], among: tuple[Hashable, ...]) -> xr.DataArray | None:
    """Mask of the points of a grid that have values, by its variable `mask`; None without one on these dimensions.

    Parameters
    ----------
    ds : Dataset
    dims : tuple of hashable
        Horizontal dimensions.
    among : tuple of hashable
        Dimensions of the field, which the mask may have too.
    """
    if MASK not in ds.variables or ds[MASK].dtype.kind not in "iufb":
        return None
    mask = ds[MASK]
    if not set(dims) <= set(mask.dims) <= set(among):
        return None
    return (mask.drop_vars(list(mask.coords)) != 0) & mask.drop_vars(list(mask.coords)).notnull()


def _list_grid_variables(ds: xr.Dataset) -> set[str]:
    """Variables that describe cells and coordinates, which a new grid has of its own."""
    texts = [str(v.attrs.get(r, v.encoding.get(r, ""))) for v in ds.variables.values() for r in ROLES]
    return {word for text in texts for word in text.split()} | {"lat_b", "lon_b", MASK}
