"""Bringing an analysis and its reference to the same names, coordinates and units."""

from __future__ import annotations

from collections.abc import Collection, Hashable

import numpy as np
import xarray as xr

from xappa.errors import DatasetError
from xappa.grids import tidy
from xappa.grids.axes import NAMES, Layout, recognise, refuse, text
from xappa.grids.conventions import encoding_problems, once_round
from xappa.grids.matching import positions
from xappa.labels.units import implausible, refuse_units, unit_maps
from xappa.vocabulary import VARIABLES

HALF_A_MINUTE = np.timedelta64(30, "s")
PRESSURE = 1e-2  # hPa


def canonical(ds: xr.Dataset, layout: Layout) -> xr.Dataset:
    """A Dataset by the names of the vocabulary: its known variables alone, along levels in hPa, be it but one.

    Parameters
    ----------
    ds : Dataset
    layout : Layout
        From `recognise`.
    """
    ds = ds[list(layout.names)]
    spelt: dict[str, str] = {axis: name for axis in NAMES if (name := getattr(layout, axis)) is not None}
    for axis, name in spelt.items():
        if name not in ds.coords:
            continue
        if ds[name].ndim == 0:
            ds = _along(ds, name, layout) if axis == "level" else ds.expand_dims(name)
        elif ds[name].dims != (name,):
            ds = ds.swap_dims({ds[name].dims[0]: name})
    own = {name: axis for axis, name in spelt.items() if name != axis}
    ds = ds.rename({name: axis for name, axis in own.items() if name in ds.coords or name in ds.dims})
    if "level" in ds.dims:
        ds = ds.assign_coords(level=("level", np.array(layout.hectopascals), {"units": "hPa"}))
    return ds.rename({user: known for user, known in layout.names.items() if user != known})


def _along(ds: xr.Dataset, level: str, layout: Layout) -> xr.Dataset:
    """The quantities aloft along their one level, which a selection leaves on those near the surface too."""
    aloft = [user for user, name in layout.names.items() if VARIABLES[name].upper_air]
    return ds.drop_vars(level).assign({user: ds[user].expand_dims(level) for user in aloft})


def matched(reference: xr.Dataset, analysis: xr.Dataset, what: str) -> tuple[xr.Dataset, xr.Dataset]:
    """Both where they meet: common variables, times and levels, on the analysis's grid.

    Parameters
    ----------
    reference, analysis : Dataset
        In canonical form, as `prepare` gives them.
    what : str
        How the reference is called in errors.

    Raises
    ------
    DatasetError
        If they have no variable, time or level in common, if only one of them tells its levels, or if the analysis has
        cells that the reference lacks.
    """
    common = [str(name) for name in analysis.data_vars if name in reference.data_vars]
    if not common:
        raise DatasetError(
            f"The analysis and {what} have no variable in common: found {_names(analysis)} and {_names(reference)}; "
            "rename variables to their WeatherBench names."
        )
    analysis, reference = analysis[common], reference[common]
    problems = _without_levels(reference, analysis, what)
    for axis in ("latitude", "longitude", "time", "level"):
        if axis not in analysis.dims or axis not in reference.dims:
            continue
        have, want = reference[axis].values, analysis[axis].values
        if axis in ("latitude", "longitude"):
            index = positions(want.tolist(), have.tolist(), 360 if axis == "longitude" else None)
            if index is None:
                problems.append(_different_grid(have, want, axis))
                continue
        else:
            index = same(have, want)
            if (index < 0).all():
                problems.append(_nothing_common(have, want, axis))
                continue
        analysis = analysis.isel({axis: index >= 0})
        reference = reference.isel({axis: index[index >= 0]}).assign_coords({axis: analysis[axis]})
    if problems:
        raise DatasetError(f"The analysis cannot be compared with {what}:" + "".join(f"\n- {p}" for p in problems))
    return reference, analysis


def same(have: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Index of each wanted time or level (hPa) among those that are there, -1 where it is not."""
    if len(have) == 0:
        return np.full(len(want), -1)
    tolerance = HALF_A_MINUTE if have.dtype.kind == "M" else PRESSURE
    apart = np.abs((want[:, None] - have[None]) / tolerance)
    index = apart.argmin(1)
    return np.where(apart[np.arange(len(index)), index] <= 1, index, -1)


def prepare(ds: xr.Dataset, among: Collection[Hashable]) -> tuple[xr.Dataset, Layout]:
    """A gridded Dataset in canonical form, and how it was spelt.

    Parameters
    ----------
    ds : Dataset
    among : collection of str
        WeatherBench names of what it is compared with: these are converted to the vocabulary's units, others are left
        alone.

    Raises
    ------
    DatasetError
        Listing every axis that is missing or not usable.
    UnitsError
        Listing all that cannot be converted, or, once they are computed, values without units that are none of the
        vocabulary's.
    """
    ds = once_round(tidy(ds))
    layout = recognise(ds)
    maps, problems = unit_maps(layout, among)
    refuse(encoding_problems(ds, maps))
    refuse_units(problems)
    fields = canonical(ds, layout)
    for user, forward in maps.items():
        name = layout.names[user]
        bare = layout.notation[user].units is None
        field = _plausible(fields[name], user) if bare else fields[name]
        fields[name] = forward.value(field).assign_attrs({**field.attrs, "units": VARIABLES[name].units})
    return fields, layout


def _plausible(field: xr.DataArray, user: str) -> xr.DataArray:
    """A field without units, which is refused where its values say that it has others; block by block if it is lazy."""

    def checked(block: xr.DataArray) -> xr.DataArray:
        levels = block["level"].values if "level" in block.dims else ()
        values = block.transpose("level", ..., missing_dims="ignore").values
        refuse_units(implausible(user, str(field.name), values[None], levels))
        return block

    return xr.map_blocks(checked, field, template=field)


def _without_levels(reference: xr.Dataset, analysis: xr.Dataset, what: str) -> list[str]:
    """Quantities aloft of which but one side tells the levels."""
    problems = []
    for whose, ds, other in (("the analysis", analysis, reference), (what, reference, analysis)):
        bare = [name for name in ds.data_vars if "level" in other[name].dims and "level" not in ds[name].dims]
        if names := [str(name) for name in bare if VARIABLES[str(name)].upper_air]:
            problems.append(
                f"{whose} has no level for {', '.join(names)}; expected one in hPa or Pa: use .assign_coords(level=...)"
            )
    return problems


def _names(ds: xr.Dataset) -> str:
    return ", ".join(map(str, ds.data_vars)) or "none"


def _different_grid(have: np.ndarray, want: np.ndarray, axis: str) -> str:
    return (
        f"not every {axis} of the analysis ({len(want)} from {want[0]:g} to {want[-1]:g}) is one of the other's "
        f"({len(have)} from {have[0]:g} to {have[-1]:g}); bring one to the other's grid first: ds.appa.regrid(other)"
    )


def _nothing_common(have: np.ndarray, want: np.ndarray, axis: str) -> str:
    show = text if axis == "time" else "{:g}".format
    return (
        f"no {axis} in common: the analysis has {show(want[0])} to {show(want[-1])}, the other "
        f"{f'{show(have[0])} to {show(have[-1])}' if len(have) else 'none'}; choose others with ds.sel({axis}=...)"
    )
